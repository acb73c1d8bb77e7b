"""The 2D network: strong local features on slices at full resolution."""

from __future__ import annotations

from torch import Tensor, nn

from napari_anomaly.networks.blocks import UNet, fold, unfold

PLANE_CHANNELS = 10
"""Five slices, the middle slice mirrored, the global binary mask, and three coordinates within it."""


class PlaneNetwork(nn.Module):
    """U-Net over axial slices of 1 mm pixels.

    Parameters
    ----------
    widths : tuple of int, default (24, 48, 96, 160)
        Channels at pixels of 2, 4, 8 and 16 mm.
    inputs : int, default `PLANE_CHANNELS`
        Input channels.

    Notes
    -----
    Stands for the ResNet-50 of Kang & Park (2022, arXiv 2212.10939), which only taught the 3D network; ours also
    scores pixels, so that each network can be used alone.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 160), inputs: int = PLANE_CHANNELS) -> None:
        super().__init__()
        self.inputs = inputs
        self.widths = widths
        self.trunk = UNet(2, 4 * inputs, widths)
        self.head = nn.Conv2d(widths[0], 4, 1)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Score slices.

        Parameters
        ----------
        slices : Tensor
            Shape (slice, inputs, y, x); y and x divisible by 16.

        Returns
        -------
        logit : Tensor
            Shape (slice, 1, y, x).
        features : Tensor
            Finest decoder features, shape (slice, widths[0], y/2, x/2).
        levels : list of Tensor
            Encoder features, finest first.
        """
        features, levels = self.trunk(fold(slices))
        return unfold(self.head(features)), features, levels
