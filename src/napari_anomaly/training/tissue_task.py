"""A second task of the training: tell white matter, grey matter and fluid, also beneath a painted anomaly.

An anomaly is one voxel in hundreds; the tissues are everywhere. A network that has to name them in any contrast learns
quickly where fluid is normal, which is most of what it takes to tell a lesion on T2.
Only the normals' own label maps, or the tissue classes of a T1 scan by intensity, are needed (after Billot et al. 2023,
SynthSeg, doi 10.1016/j.media.2023.102789). The heads are used in training only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

TISSUES = 3
"""White matter, grey matter, fluid: 1, 2 and 3 in a tissue map, where 0 is unknown."""

WEIGHTS = (0.5, 0.25)
"""Weights of the 2D and of the 3D network's part of the loss."""


class TissueHeads(nn.Module):
    """Tissue logits from the finest features of both networks.

    Parameters
    ----------
    plane_width, volume_width : int
        Channels of those features.
    """

    def __init__(self, plane_width: int, volume_width: int) -> None:
        super().__init__()
        self.plane = nn.Conv2d(plane_width, TISSUES, 1)
        self.volume = nn.Conv3d(volume_width, TISSUES, 1)

    def forward(self, plane: Tensor, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Tissue logits, each with 3 channels on the grid of the features."""
        return self.plane(plane), self.volume(volume)


def plane_shares(tissue: Tensor) -> Tensor:
    """Share of every tissue in cells of 2 x 2 pixels.

    Parameters
    ----------
    tissue : Tensor
        Tissue maps of slices, uint8, shape (slice, y, x).

    Returns
    -------
    Tensor
        Shape (slice, 3, y/2, x/2); the shares of a cell add up to what is known of it.
    """
    return functional.avg_pool2d(_separate(tissue), 2)


def volume_shares(tissue: Tensor) -> Tensor:
    """Share of every tissue in cells of 6 x 6 x 6 voxels, shape (1, 3, z/6, y/6, x/6).

    Parameters
    ----------
    tissue : Tensor
        Tissue map of a scan, uint8, shape (z, y, x).
    """
    # every second voxel along each axis says as much, eight times faster
    return functional.avg_pool3d(_separate(tissue[None, ::2, ::2, ::2]), 3)


def _separate(tissue: Tensor) -> Tensor:
    return torch.stack([(tissue == number).float() for number in range(1, TISSUES + 1)], dim=1)


def tissue_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy with soft shares, averaged over what is known; 0 where nothing is.

    Parameters
    ----------
    logits, shares : Tensor
        Shape (item, 3, *grid).
    """
    likely = functional.log_softmax(logits, dim=1)
    return -(shares * likely).sum() / (shares.sum() + 1)
