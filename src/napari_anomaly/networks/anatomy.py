"""The anatomy network: labels the structures of a brain in any MR contrast, in voxels of 3 mm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_anomaly.anatomy import STRUCTURES
from napari_anomaly.networks.volume import VolumeNetwork
from napari_anomaly.preprocess import REDUCTION, coordinates

ANATOMY_CHANNELS = 5
"""The scan, the global binary mask, and three coordinates within it."""

ANATOMY_WIDTHS = (24, 40, 64, 80)

ATLAS = (18, 22, 18)
"""Cells of the atlas along the bounding box of the mask: 7 to 8 mm each in a brain."""


class AnatomyNetwork(nn.Module):
    """Labels structures: an atlas in the frame of the global binary mask says where they mostly are, a U-Net the rest.

    Parameters
    ----------
    outputs : int, optional
        Number of structures.
    widths : tuple of int
        Channels at cells of 6, 12, 24 and 48 mm.
    """

    atlas: Tensor
    """Logarithm of the share of every structure at places within the mask, shape (1, structure, z, y, x)."""

    def __init__(self, outputs: int = len(STRUCTURES), widths: tuple[int, ...] = ANATOMY_WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        self.volume = VolumeNetwork(ANATOMY_CHANNELS, outputs, widths)
        self.register_buffer("atlas", torch.zeros(1, outputs, *ATLAS))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (scan, structure, z, y, x), of inputs from `anatomy_inputs`."""
        # grid_sample counts x first
        places = inputs[:, 2:5].flip(1).permute(0, 2, 3, 4, 1)
        prior = functional.grid_sample(
            self.atlas, places, mode="bilinear", padding_mode="border", align_corners=False
        )
        logit: Tensor = self.volume(inputs).logit
        return logit + prior


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
