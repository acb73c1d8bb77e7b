"""Runs the networks over a prepared scan, slice batch by slice batch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.detector.engine import Engine
from napari_anomaly.networks.joint import CONTRASTS, context_at
from napari_anomaly.networks.tissue import TissueModel, fit_tissues, plane_maps, volume_maps
from napari_anomaly.networks.volume import VolumeFeatures
from napari_anomaly.preprocess import coarse_tissue, plane_inputs, volume_inputs
from napari_anomaly.progress import Progress

LIMIT = 12.0
"""Raw scores beyond this are saturated."""

SURE = 0.8
"""A kind of contrast is named from this share of belief on."""


class RawScores(NamedTuple):
    """Raw scores (logits) of all voxels of a prepared scan, one tensor for each way to use the networks."""

    joint: Tensor
    plane: Tensor
    volume: Tensor
    scan: float
    """Logit of the scan head."""
    contrast: str
    """Kind of contrast that the network takes the scan for, one of `CONTRASTS`; "free" where it is not `SURE`."""

    @property
    def mean(self) -> Tensor:
        """Average of the three."""
        return (self.joint + self.plane + self.volume) / 3


def score(
    engine: Engine,
    image: Tensor,
    mask: Tensor,
    *,
    tile: int = 12,
    slices: Sequence[float] | None = None,
    slice_step: int = 1,
) -> Generator[Progress, None, RawScores]:
    """Score every voxel.

    Parameters
    ----------
    engine : Engine
        Runs the networks on the device of `image`.
    image, mask : Tensor
        Normalised scan and region, see `preprocess.Prepared`.
    tile : int, default 12
        Slices at once.
    slices : sequence of float, optional
        Places along z, ascending, that are scored, see `preprocess.Prepared.slices`; every slice if left out. What lies
        between two of them gets the scores of the nearest.
    slice_step : int, default 1
        Every n-th of these only; what lies between is interpolated.

    Yields
    ------
    Progress
        Once a tile.

    Returns
    -------
    RawScores
        Same shape as `image`.
    """
    with torch.inference_mode():
        coarse_inputs = volume_inputs(image, mask)
        tissues = fit_tissues(engine.atlas, coarse_inputs[0, 0], *coarse_tissue(image, mask))
        maps = volume_maps(tissues, coarse_inputs[0, 0])
        seen, overall = engine.volume(torch.cat((coarse_inputs, maps), dim=1))
        contrast = _told(overall[1:])
        coarse = functional.interpolate(seen.logit, size=image.shape, mode="trilinear")[0, 0].float()
        wanted = _wanted(mask, slices)[slice_step // 2 :: slice_step]
        # a place between two slices of the image needs both
        positions = torch.cat((wanted.floor(), wanted.ceil())).long().unique()
        window = _window(mask)
        planes = torch.full((2, len(positions), *image.shape[1:]), -LIMIT, device=image.device)
    for start in range(0, len(positions), tile):
        yield Progress(start, len(positions), "Looking at slices")
        with torch.inference_mode():
            chosen = positions[start : start + tile]
            joint, plane = _tile(engine, seen, image, mask, tissues, chosen, window)
            planes[0, start : start + tile, window[0], window[1]] = joint
            planes[1, start : start + tile, window[0], window[1]] = plane
    with torch.inference_mode():
        depth = torch.arange(image.shape[0], device=image.device, dtype=torch.float32)
        index = torch.arange(len(wanted), device=image.device, dtype=torch.float32)
        places = torch.arange(len(positions), device=image.device, dtype=torch.float32)
        placed = _between(index, wanted, depth)
        if slices is not None and slice_step == 1:
            placed = placed.round()
        joint, plane = (
            _at(_at(values, _between(places, positions.float(), wanted)), placed).clamp(-LIMIT, LIMIT)
            for values in planes
        )
        return RawScores(joint, plane, coarse.clamp(-LIMIT, LIMIT), float(overall[0]), contrast)


def _tile(
    engine: Engine,
    seen: VolumeFeatures,
    image: Tensor,
    mask: Tensor,
    tissues: TissueModel | None,
    positions: Tensor,
    window: tuple[slice, slice],
) -> tuple[Tensor, Tensor]:
    inputs = (plane_inputs(image, mask, positions), plane_maps(tissues, image, positions))
    slices = torch.cat(inputs, dim=1)[:, :, window[0], window[1]]
    logit, features = engine.plane(slices)
    where = (2 * positions + 1) / image.shape[0] - 1
    half = torch.Size((image.shape[1] // 2, image.shape[2] // 2))
    context = context_at(seen, where, torch.zeros_like(positions), half)
    halved = [slice(part.start // 2, part.stop // 2) for part in window]
    joint = engine.fuse(logit, features, context[:, :, halved[0], halved[1]])
    return joint[:, 0].float(), logit[:, 0].float()


def _wanted(mask: Tensor, slices: Sequence[float] | None) -> Tensor:
    """Places along z to score, within the region."""
    seen = torch.nonzero(mask.flatten(1).any(1)).flatten().float()
    if not len(seen):
        return torch.tensor([float(mask.shape[0] // 2)], device=mask.device)
    if slices is None:
        return seen
    places = torch.tensor(slices, device=mask.device, dtype=torch.float32)
    within = places[(places > seen[0] - 1) & (places < seen[-1] + 1)]
    # a region thinner than a slice may lie between two middles
    return within if len(within) else seen


def _window(mask: Tensor) -> tuple[slice, slice]:
    # symmetric about the middle, so that the mirrored channel stays mirrored
    parts = []
    for axis, other in ((1, 2), (2, 1)):
        present = torch.nonzero(mask.any(0).any(other - 1)).flatten()
        side = mask.shape[axis]
        reach = (
            max(side // 2 - int(present[0]), int(present[-1]) + 1 - side // 2) if len(present) else side // 2
        )
        half = min(side // 2, -(-(reach + 2) // 16) * 16)
        parts.append(slice(side // 2 - half, side // 2 + half))
    return parts[0], parts[1]


def _between(index: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
    """Fractional index into ascending known places at which wanted places lie; the first or last beyond them."""
    if len(known) == 1:
        return torch.zeros_like(wanted)
    above = torch.searchsorted(known.contiguous(), wanted.contiguous()).clamp(1, len(known) - 1)
    below = above - 1
    share = ((wanted - known[below]) / (known[above] - known[below])).clamp(0, 1)
    return torch.lerp(index[below], index[above], share)


def _at(planes: Tensor, index: Tensor) -> Tensor:
    """Planes at fractional indices, interpolated."""
    below = index.floor().long()
    above = (below + 1).clamp(max=len(planes) - 1)
    return torch.lerp(planes[below], planes[above], (index - below)[:, None, None])


def _told(logits: Tensor) -> str:
    shares = torch.softmax(logits.float(), dim=0)
    best = int(shares.argmax())
    # a guess would take the wrong calibration: "free" takes the one on all normal scans
    return CONTRASTS[best] if float(shares[best]) >= SURE else "free"
