"""Convolution blocks shared by the plane (2D) and the volume (3D) network."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Dimensions = Literal[2, 3]

_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}


def normalisation(dimensions: Dimensions, channels: int) -> nn.Module:
    """Normalisation layer: batch statistics on slices, instance statistics on volumes.

    A step sees many slices but only one or two volumes, too few for batch statistics.

    Parameters
    ----------
    dimensions : {2, 3}
        Spatial dimensions of the features.
    channels : int
        Number of feature channels.
    """
    if dimensions == 2:
        return nn.BatchNorm2d(channels, momentum=0.03)
    return InstanceNorm(channels)


class InstanceNorm(nn.Module):
    """Instance normalisation (Ulyanov et al. 2016) that keeps the channels-last layout.

    Parameters
    ----------
    channels : int
        Number of feature channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of mean 0 and variance 1 per scan and channel, then scaled and shifted."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # public, and not listed
            return functional.instance_norm(features, weight=self.weight, bias=self.bias)
        # batch statistics of one scan are its instance statistics, without the copies of instance_norm
        return torch.cat(
            [
                functional.batch_norm(scan[None], None, None, self.weight, self.bias, training=True)
                for scan in features
            ]
        )


class ConvBlock(nn.Sequential):
    """Convolution of side 3, normalisation, ReLU.

    Parameters
    ----------
    dimensions : {2, 3}
        Spatial dimensions.
    inputs, outputs : int
        Channels.
    stride : int, default 1
        2 halves the grid.
    """

    def __init__(self, dimensions: Dimensions, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(
            _CONVOLUTION[dimensions](inputs, outputs, 3, stride=stride, padding=1, bias=False),
            normalisation(dimensions, outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3-convolutions around an identity (He et al. 2016).

    Parameters
    ----------
    dimensions : {2, 3}
        Spatial dimensions.
    channels : int
        Channels in and out.
    """

    def __init__(self, dimensions: Dimensions, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(dimensions, channels, channels)
        self.second = nn.Sequential(
            _CONVOLUTION[dimensions](channels, channels, 3, padding=1, bias=False),
            normalisation(dimensions, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        return functional.relu(features + self.second(self.first(features)))


class UNet(nn.Module):
    """U-Net trunk on a folded grid: features in, features out, every level returned.

    Parameters
    ----------
    dimensions : {2, 3}
        Spatial dimensions.
    inputs : int
        Channels of the (already folded) input.
    widths : tuple of int
        Channels of each level, finest first.
    """

    def __init__(self, dimensions: Dimensions, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.mode = "bilinear" if dimensions == 2 else "trilinear"
        self.stem = ConvBlock(dimensions, inputs, widths[0])
        # the finest level costs the most and learns the least: its stem is its encoder
        self.encoders = nn.ModuleList(ResidualBlock(dimensions, width) for width in widths[1:])
        self.downs = nn.ModuleList(
            ConvBlock(dimensions, fine, coarse, stride=2) for fine, coarse in pairwise(widths)
        )
        self.laterals = nn.ModuleList(
            _CONVOLUTION[dimensions](coarse, fine, 1) for fine, coarse in pairwise(widths)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(ConvBlock(dimensions, 2 * width, width), ConvBlock(dimensions, width, width))
            for width in widths[:-1]
        )

    def forward(self, folded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the finest decoder features and the encoder features of every level, finest first."""
        features = self.stem(folded)
        levels = [features]
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            features = encoder(down(features))
            levels.append(features)
        for level in range(len(levels) - 2, -1, -1):
            narrowed = self.laterals[level](features)
            risen = functional.interpolate(narrowed, size=levels[level].shape[2:], mode=self.mode)
            features = self.decoders[level](torch.cat((risen, levels[level]), dim=1))
        return features, levels


def use_channels_last(module: nn.Module, dimensions: Dimensions) -> None:
    """Lay the weights of a module out so that convolutions run fastest.

    Parameters
    ----------
    module : Module
        Changed in place.
    dimensions : {2, 3}
        Spatial dimensions of its convolutions.
    """
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    module.to(memory_format=layout)  # type: ignore[call-overload]  # documented, and not annotated


def fold(image: Tensor) -> Tensor:
    """Move every 2x2 (or 2x2x2) cell of the grid into channels: half the grid, no voxel lost.

    The finest level of a U-Net costs the most arithmetic and learns the least; folded input spares it.

    Parameters
    ----------
    image : Tensor
        Shape (batch, channel, y, x) or (batch, channel, z, y, x), even sides.
    """
    if image.dim() == 4:
        return functional.pixel_unshuffle(image, 2)
    batch, channels, depth, height, width = image.shape
    cells = image.reshape(batch, channels, depth // 2, 2, height // 2, 2, width // 2, 2)
    return cells.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(
        batch, channels * 8, depth // 2, height // 2, width // 2
    )


def unfold(features: Tensor) -> Tensor:
    """Undo `fold`: 4 (or 8) channels of the half grid become one channel of the full grid."""
    if features.dim() == 4:
        return functional.pixel_shuffle(features, 2)
    batch, channels, depth, height, width = features.shape
    cells = features.reshape(batch, channels // 8, 2, 2, 2, depth, height, width)
    return cells.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(
        batch, channels // 8, 2 * depth, 2 * height, 2 * width
    )
