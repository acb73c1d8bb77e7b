"""The 3D network: the whole head at once, in voxels of 3 mm, for context."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from napari_anomaly.networks.blocks import UNet, fold, unfold

VOLUME_CHANNELS = 6
"""The scan, the scan mirrored left to right, the global binary mask, and three coordinates within it."""


class VolumeFeatures(NamedTuple):
    """What the 3D network says of a volume."""

    logit: Tensor
    """Voxel logits, shape (scan, outputs, z, y, x)."""
    features: Tensor
    """Finest decoder features at half the grid."""
    levels: list[Tensor]
    """Encoder features, finest first."""


class VolumeNetwork(nn.Module):
    """U-Net over a whole volume.

    Parameters
    ----------
    inputs : int, default `VOLUME_CHANNELS`
        Input channels.
    outputs : int, default 1
        Voxel outputs.
    widths : tuple of int, default (24, 48, 96, 128)
        Channels at cells of 2, 4, 8 and 16 voxels.

    Notes
    -----
    The 3D U-Net of Kang & Park (2022, arXiv 2212.10939), narrower, on a folded grid, with instance normalisation.
    """

    def __init__(
        self,
        inputs: int = VOLUME_CHANNELS,
        outputs: int = 1,
        widths: tuple[int, ...] = (24, 48, 96, 128),
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.widths = widths
        self.trunk = UNet(3, 8 * inputs, widths)
        self.head = nn.Conv3d(widths[0], 8 * outputs, 1)

    def forward(self, volume: Tensor) -> VolumeFeatures:
        """Score a volume of shape (scan, inputs, z, y, x), even sides."""
        features, levels = self.trunk(fold(volume))
        return VolumeFeatures(unfold(self.head(features)), features, levels)
