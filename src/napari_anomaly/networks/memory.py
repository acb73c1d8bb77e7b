"""ProxyAno (Zhou et al. 2021): from the scan to its proxy through a memory, and from the proxy back to the scan."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_anomaly.networks.blocks import ConvBlock, ResidualBlock, UNet, fold, unfold

SCAN_CHANNELS = 5
"""The slice, the global binary mask, and three coordinates within it."""

SHRINKAGE = 0.0025
"""Addresses below this are forgotten (Gong et al. 2019, MemAE)."""

_SHARPNESS = 12.0  # cosines lie within -1 and 1: without it every item is addressed alike


class Seen(NamedTuple):
    """What ProxyAno says of slices, each of shape (slice, 1, y, x)."""

    proxy: Tensor
    """Superpixel image as the memory knows it."""
    image: Tensor
    """The slice, made from the proxy."""


class Memory(nn.Module):
    """Patterns of normal scans; whatever passes is put together from a few of them.

    Parameters
    ----------
    items : int
        Number of patterns.
    channels : int
        Length of a pattern.

    Notes
    -----
    Softmax addressing by cosine, hard shrinkage and L1 normalisation as in MemAE (Gong et al. 2019,
    arXiv 1904.02639). The sharpness of the softmax is learned.
    """

    def __init__(self, items: int, channels: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.randn(items, channels))
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS))

    def address(self, features: Tensor) -> Tensor:
        """Return the share of every item in every cell, shape (slice, y, x, item); shares add up to 1.

        Parameters
        ----------
        features : Tensor
            Shape (slice, channel, y, x).
        """
        query = functional.normalize(features.permute(0, 2, 3, 1), dim=-1)
        likeness = query @ functional.normalize(self.items, dim=-1).T
        share = torch.softmax(self.sharpness * likeness, dim=-1)
        # Softmax leaves a trace of every item, and many traces add up to an anomaly.
        kept = functional.hardshrink(share, SHRINKAGE)
        return kept / kept.sum(-1, keepdim=True).clamp(min=SHRINKAGE)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, made of items only."""
        return (self.address(features) @ self.items).permute(0, 3, 1, 2)


class ProxyExtraction(nn.Module):
    """Proxy Extraction Module: slice to superpixel image; all that is seen of the slice goes through the memory.

    There are no skip connections around the memory, but for mask and coordinates: they say nothing of lesions.

    Parameters
    ----------
    widths : tuple of int
        Channels at cells of 2, 4, ... pixels; the memory keeps patterns of cells of 4, seen in the context of all
        coarser ones.
    items : int
        Items of the memory; 0 leaves it out.
    """

    def __init__(self, widths: tuple[int, ...], items: int) -> None:
        super().__init__()
        fine, coarse = widths[:2]
        self.stem = nn.Sequential(ConvBlock(2, 4 * SCAN_CHANNELS, fine), ConvBlock(2, fine, coarse, stride=2))
        self.context = UNet(2, coarse, widths[1:])
        self.query = nn.Conv2d(coarse, coarse, 1)
        self.memory = Memory(items, coarse) if items else nn.Identity()
        self.decoder = nn.Sequential(
            ResidualBlock(2, coarse),
            nn.Upsample(scale_factor=2.0, mode="bilinear"),
            ConvBlock(2, coarse, fine),
        )
        self.head = nn.Sequential(ConvBlock(2, fine + 4 * (SCAN_CHANNELS - 1), fine), nn.Conv2d(fine, 4, 1))

    def forward(self, slices: Tensor) -> Tensor:
        """Return the proxy, shape (slice, 1, y, x).

        Parameters
        ----------
        slices : Tensor
            Shape (slice, `SCAN_CHANNELS`, y, x); sides are multiples of the coarsest cell.
        """
        features, _ = self.context(self.stem(fold(slices)))
        remembered = self.decoder(self.memory(self.query(features)))
        return unfold(self.head(torch.cat((remembered, fold(slices[:, 1:])), dim=1)))


class ImageReconstruction(nn.Module):
    """Image Reconstruction Module: proxy to slice, a U-Net whose skip connections carry the proxy alone.

    Parameters
    ----------
    widths : tuple of int
        Channels at cells of 2, 4, ... pixels.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = UNet(2, 4 * SCAN_CHANNELS, widths)
        self.head = nn.Conv2d(widths[0], 4, 1)

    def forward(self, proxy: Tensor, region: Tensor) -> Tensor:
        """Return the slice, shape (slice, 1, y, x).

        Parameters
        ----------
        proxy : Tensor
            Shape (slice, 1, y, x).
        region : Tensor
            Mask and coordinates, shape (slice, `SCAN_CHANNELS` - 1, y, x).
        """
        features, _ = self.trunk(fold(torch.cat((proxy, region), dim=1)))
        return unfold(self.head(features))


class ProxyNetwork(nn.Module):
    """Both modules.

    Parameters
    ----------
    widths : tuple of int, default (16, 32, 64, 96)
        Channels at cells of 2, 4, ... pixels.
    items : int, default 256
        Items of the memory; 0 leaves it out.

    Notes
    -----
    Zhou et al. 2021, Proxy-bridged Image Reconstruction Network for Anomaly Detection in Medical Images
    (arXiv 2110.01761). The global binary mask and the coordinates within it are added to both modules.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96), items: int = 256) -> None:
        super().__init__()
        self.widths = widths
        self.items = items
        self.extraction = ProxyExtraction(widths, items)
        self.reconstruction = ImageReconstruction(widths)

    @property
    def multiple(self) -> int:
        """Sides of a slice must be multiples of this."""
        return int(2 ** len(self.widths))

    def forward(self, slices: Tensor) -> Seen:
        """Look at slices of shape (slice, `SCAN_CHANNELS`, y, x)."""
        region = slices[:, 1:]
        proxy = self.extraction(slices) * region[:, :1]
        return Seen(proxy, self.rebuild(proxy, region))

    def rebuild(self, proxy: Tensor, region: Tensor) -> Tensor:
        """Make slices from their proxy, see `ImageReconstruction`; 0 outside the mask."""
        rebuilt: Tensor = self.reconstruction(proxy, region) * region[:, :1]
        return rebuilt
