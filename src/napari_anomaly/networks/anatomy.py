"""The anatomy network: labels the structures of a brain in any MR contrast, in voxels of 3 mm."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.anatomy import STRUCTURES
from napari_anomaly.networks.volume import VolumeNetwork
from napari_anomaly.preprocess import REDUCTION, coordinates

ANATOMY_CHANNELS = 5
"""The scan, the global binary mask, and three coordinates within it."""

ANATOMY_WIDTHS = (24, 40, 64, 96)


def anatomy_network(widths: tuple[int, ...] = ANATOMY_WIDTHS) -> VolumeNetwork:
    """Make the network: one logit for every structure.

    Parameters
    ----------
    widths : tuple of int
        Channels at cells of 6, 12, 24 and 48 mm.
    """
    return VolumeNetwork(ANATOMY_CHANNELS, len(STRUCTURES), widths)


def anatomy_inputs(image: Tensor, mask: Tensor, *, reduction: int = REDUCTION) -> Tensor:
    """Input of the anatomy network (after Kazemimoghadam et al. 2022, arXiv 2205.09107).

    Parameters
    ----------
    image : Tensor
        Normalised scan, shape (z, y, x).
    mask : Tensor
        Global binary mask, bool, same shape.
    reduction : int, default `REDUCTION`
        Voxels of the image along one of the network's; sides are even multiples of it.

    Returns
    -------
    Tensor
        Shape (1, 5, z / reduction, y / reduction, x / reduction).
    """
    coarse = functional.avg_pool3d(torch.stack((image.float(), mask.float()))[None], reduction)[0]
    inside = coarse[1] > 0.5
    z, y, x = coordinates(inside)
    places = [inside * z[:, None, None], inside * y[None, :, None], inside * x[None, None, :]]
    return torch.stack([coarse[0], coarse[1], *places])[None].contiguous(memory_format=torch.channels_last_3d)
