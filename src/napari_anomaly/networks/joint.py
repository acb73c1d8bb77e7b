"""The joint embedding of the 2D and the 3D network (Kang & Park 2022)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_anomaly.boxes import box_mean
from napari_anomaly.networks.blocks import ConvBlock, unfold, use_channels_last
from napari_anomaly.networks.plane import PLANE_CHANNELS, PlaneNetwork
from napari_anomaly.networks.volume import VOLUME_CHANNELS, VolumeFeatures, VolumeNetwork

EMBEDDING = 64
"""Length of the joint embedding vector."""

CONTRASTS = ("t1", "t2", "flair", "free")
"""Kinds of contrast that the scan head tells apart; "free" is any other."""

TISSUE_CHANNELS = 8
"""Input channels of both networks that the tissue model adds (`networks.tissue`).

Untypical; brighter than expected; what the voxel looks like, and what is expected there: white, grey matter, fluid.
"""

ATLAS_SHAPE = (6, 48, 56, 48)
"""Tissues and grid of the atlas that the tissue model needs."""

ATLAS_REACH = 1.05
"""The atlas' first and last voxel lie so far from the middle of the mask, whose own edges are at -1 and 1."""

_INTENSITIES = tuple(-0.6 + 0.15 * step for step in range(17))

_PLANE_LEVEL, _VOLUME_LEVEL = 3, 2  # cells of 16 mm in the plane, of 24 mm in the volume


class JointOutput(NamedTuple):
    """What the networks say of some slices of one or several scans."""

    joint: Tensor
    """Voxel logit of both networks together, shape (slice, 1, y, x)."""
    plane: Tensor
    """Voxel logit of the 2D network alone, shape (slice, 1, y, x)."""
    volume: Tensor
    """Voxel logit of the 3D network alone, shape (scan, 1, z/3, y/3, x/3)."""
    scan: Tensor
    """Scan-level logit, shape (scan,)."""
    contrast: Tensor
    """Logits of the kind of contrast, shape (scan, contrast), in the order of `CONTRASTS`."""
    embeddings: tuple[Tensor, Tensor]
    """Unit vectors of the 2D and the 3D network for the same cells, each (slice, cell, `EMBEDDING`)."""
    features: tuple[Tensor, Tensor]
    """Finest decoder features of both: (slice, channel, y/2, x/2) and (scan, channel, z/6, y/6, x/6)."""


class JointNetwork(nn.Module):
    """2D and 3D network, projections into the joint embedding, fused voxel head and scan head.

    Parameters
    ----------
    plane_widths, volume_widths : tuple of int
        Channels of the two U-Nets.

    Notes
    -----
    Cells of 16 mm of the 2D network are paired with the cell of the 3D network at the same place of the same scan;
    every other cell is a negative. Kang & Park pair whole volumes; a pair per cell gives hundreds of negatives
    from a batch of two scans.
    """

    atlas: Tensor
    """Share of every tissue in the frame of the mask, `ATLAS_SHAPE`; all 0 where none was learned."""

    def __init__(
        self,
        plane_widths: tuple[int, ...] = (24, 48, 96, 160),
        volume_widths: tuple[int, ...] = (24, 48, 96, 128),
    ) -> None:
        super().__init__()
        self.plane = PlaneNetwork(plane_widths, PLANE_CHANNELS + TISSUE_CHANNELS)
        self.volume = VolumeNetwork(VOLUME_CHANNELS + TISSUE_CHANNELS, widths=volume_widths)
        self.register_buffer("atlas", torch.zeros(ATLAS_SHAPE))
        self.plane_projection = _projection(plane_widths[_PLANE_LEVEL])
        self.volume_projection = _projection(volume_widths[_VOLUME_LEVEL])
        self.scan_head = nn.Sequential(
            nn.Linear(volume_widths[-1] * 2, 64), nn.ReLU(inplace=True), nn.Linear(64, 1)
        )
        fused = plane_widths[0] + volume_widths[0] + 2
        self.fusion = nn.Sequential(ConvBlock(2, fused, plane_widths[0]), ConvBlock(2, plane_widths[0], 24))
        self.head = nn.Conv2d(24, 4, 1)
        self.contrast_head = nn.Sequential(
            nn.Linear(3 * len(_INTENSITIES), 48), nn.ReLU(inplace=True), nn.Linear(48, len(CONTRASTS))
        )

    def use_channels_last(self) -> None:
        """Lay the weights out so that both networks run fastest."""
        use_channels_last(self.plane, 2)
        use_channels_last(self.fusion, 2)
        use_channels_last(self.volume, 3)

    def forward(self, slices: Tensor, volume: Tensor, where: Tensor, scan_of: Tensor) -> JointOutput:
        """Score slices of scans.

        Parameters
        ----------
        slices : Tensor
            Shape (slice, `PLANE_CHANNELS` + `TISSUE_CHANNELS`, y, x), pixels of 1 mm.
        volume : Tensor
            Shape (scan, `VOLUME_CHANNELS` + `TISSUE_CHANNELS`, z/3, y/3, x/3), voxels of 3 mm over the same field.
        where : Tensor
            Position of every slice along z, -1 (first edge) to 1 (last edge), shape (slice,).
        scan_of : Tensor
            Index of the scan of every slice, shape (slice,).
        """
        seen = self.volume(volume)
        plane_logit, plane_features, plane_levels = self.plane(slices)
        context = context_at(seen, where, scan_of, plane_features.shape[2:])
        overall = self.overall(volume, seen)
        return JointOutput(
            joint=self.fuse(plane_logit, plane_features, context),
            plane=plane_logit,
            volume=seen.logit,
            scan=overall[:, 0],
            contrast=overall[:, 1:],
            embeddings=self._embed(plane_levels[_PLANE_LEVEL], seen.levels[_VOLUME_LEVEL], where, scan_of),
            features=(plane_features, seen.features),
        )

    def fuse(self, plane_logit: Tensor, plane_features: Tensor, context: Tensor) -> Tensor:
        """Voxel logit from the 2D features and the 3D context (features and logit) of the same slices."""
        own = functional.avg_pool2d(plane_logit, 2)
        return unfold(self.head(self.fusion(torch.cat((plane_features, own, context), dim=1))))

    def overall(self, volume: Tensor, seen: VolumeFeatures) -> Tensor:
        """Logits of the scan: unusual or not, then the kinds of contrast; shape (scan, 1 + contrasts).

        The first comes from the coarsest 3D features, mean and maximum over the volume; the others from how
        intensities are spread near the surface and in the depth, which instance normalisation hides from the features.

        Parameters
        ----------
        volume : Tensor
            Input of the 3D network.
        seen : VolumeFeatures
            What it made of it.
        """
        coarse = seen.levels[-1].flatten(2)
        unusual = self.scan_head(torch.cat((coarse.mean(2), coarse.amax(2)), dim=1))
        # pooling of half precision is not everywhere
        profile = intensity_profile(volume.float()).to(unusual.dtype)
        return torch.cat((unusual, self.contrast_head(profile)), dim=1)

    def _embed(self, flat: Tensor, deep: Tensor, where: Tensor, scan_of: Tensor) -> tuple[Tensor, Tensor]:
        placed = planes_of(deep, where, scan_of, flat.shape[2:])
        return (
            functional.normalize(self.plane_projection(flat.flatten(2).mT), dim=2),
            functional.normalize(self.volume_projection(placed.flatten(2).mT), dim=2),
        )


def intensity_profile(volume: Tensor) -> Tensor:
    """Share of the voxels at each of a row of intensities: at the surface of the brain, below it, in its depth.

    Parameters
    ----------
    volume : Tensor
        Input of the 3D network, shape (scan, channel, z, y, x).

    Returns
    -------
    Tensor
        Shape (scan, 3 * intensities), about 0 to 1.
    """
    image, mask = volume[:, 0:1], volume[:, 2:3]
    depth = box_mean(mask, 9)
    shells = [mask * (depth < 0.55), mask * (depth >= 0.55) * (depth < 0.95), mask * (depth >= 0.95)]
    parts = []
    for level in _INTENSITIES:
        near = torch.exp(-(((image - level) / 0.15) ** 2))
        parts += [(near * shell).sum((1, 2, 3, 4)) / (shell.sum((1, 2, 3, 4)) + 1) for shell in shells]
    return torch.stack(parts, dim=1) * 4


def context_at(seen: VolumeFeatures, where: Tensor, scan_of: Tensor, size: torch.Size) -> Tensor:
    """3D features and logit, cut at the given slices, shape (slice, channel, *size)."""
    features = planes_of(seen.features, where, scan_of, size)
    return torch.cat((features, planes_of(seen.logit, where, scan_of, size)), dim=1)


def planes_of(volume: Tensor, where: Tensor, scan_of: Tensor, size: torch.Size) -> Tensor:
    """Cut planes out of volumes by linear interpolation along z, then bring them to `size`.

    Parameters
    ----------
    volume : Tensor
        Shape (scan, channel, z, y, x).
    where : Tensor
        Positions along z, -1 (first edge) to 1 (last edge), shape (plane,).
    scan_of : Tensor
        Scan of each plane, shape (plane,).
    size : torch.Size
        Sides (y, x) of the planes.
    """
    depth = volume.shape[2]
    position = ((where + 1) * depth / 2 - 0.5).clamp(0, depth - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=depth - 1)
    share = (position - below).to(volume.dtype)[:, None, None, None]
    plane = volume[scan_of, :, below] * (1 - share) + volume[scan_of, :, above] * share
    return functional.interpolate(plane, size=size, mode="bilinear")


def _projection(channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels, 96), nn.ReLU(inplace=True), nn.Linear(96, EMBEDDING))
