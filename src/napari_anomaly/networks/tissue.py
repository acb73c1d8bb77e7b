"""A tissue model of one scan: where each tissue usually lies, and how bright it is in this very scan.

The same lesion is brighter than everything on FLAIR, between white matter and fluid on T2, and darker than white matter
on T1. Measured against the tissues of its own scan it is an outlier on all of them, so the networks see that, too.

Sources: Van Leemput et al. 2001 (doi 10.1109/42.938237), outliers to a mixture with an atlas; the frame of the atlas
is the global binary mask (Kazemimoghadam et al. 2022, arXiv 2205.09107), so that no registration is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.networks.joint import ATLAS_REACH, TISSUE_CHANNELS, planes_of

_FLOOR = 0.01
"""Share of every tissue everywhere: people differ more than an atlas knows."""

_OUTLIER = 0.025
"""Likelihood of intensities that belong to no tissue."""

GROUPS = ((0, 5), (1, 2), (3, 4))
"""Tissues of the atlas that are white matter (and brainstem), grey matter (cortex and deep), fluid."""

_SPREADS = (0.03, 0.3)


class TissueModel(NamedTuple):
    """Tissues of one scan: share of each in every voxel of the coarse grid, intensity and its standard deviation."""

    prior: Tensor
    mean: Tensor
    spread: Tensor


def fit_tissues(atlas: Tensor, image: Tensor, share: Tensor, axes: Sequence[Tensor]) -> TissueModel | None:
    """Fit the intensities of the atlas' tissues to a scan by expectation and maximisation.

    Parameters
    ----------
    atlas : Tensor
        Share of every tissue in the frame of the mask, shape (tissue, z, y, x); all 0 where none is known.
    image : Tensor
        Normalised scan on the coarse grid, shape (z, y, x).
    share : Tensor
        Share of every voxel that is tissue, same shape.
    axes : sequence of Tensor
        Position within the mask along z, y and x, see `preprocess.coordinates`.

    Returns
    -------
    TissueModel or None
        None without an atlas, or where nothing is to be seen.
    """
    inside = share > 0.9
    if not bool(atlas.any()) or not bool(inside.any()):
        return None
    prior = prior_of(atlas, image, axes)
    values, shares = image[inside][::2].float(), prior[:, inside][:, ::2]
    return TissueModel(prior, *mixture(shares, values, *rough_start(shares, values)))


def prior_of(atlas: Tensor, image: Tensor, axes: Sequence[Tensor]) -> Tensor:
    """Share of every tissue in the voxels of a scan before its intensities are known, (tissue, z, y, x)."""
    return _placed(atlas.to(image.device, torch.float32), axes)


def rough_start(shares: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of every tissue by the atlas alone.

    Parameters
    ----------
    shares : Tensor
        Share of every tissue by the atlas, shape (tissue, voxel).
    values : Tensor
        Intensities, shape (voxel,).
    """
    weights = shares**4
    mean = _tied((weights * values).sum(1) / weights.sum(1), weights.sum(1))
    return mean, torch.full_like(mean, 0.25)


def mixture(
    shares: Tensor, values: Tensor, mean: Tensor, spread: Tensor, *, rounds: int = 12
) -> tuple[Tensor, Tensor]:
    """Mean and spread of every tissue by expectation and maximisation, from a start; see `rough_start`."""
    for _ in range(rounds):
        belongs = belonging(shares, values, mean, spread)
        count = belongs.sum(1) + 1e-3
        mean = _tied((belongs * values).sum(1) / count, count)
        variance = _tied((belongs * (values - mean[:, None]) ** 2).sum(1) / count, count)
        spread = variance.sqrt().clamp(*_SPREADS)
    return mean, spread


def belonging(shares: Tensor, values: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Belief that a voxel is of a tissue, shape (tissue, voxel); less than 1 in all where it is of none."""
    distance = (values - mean[:, None]) / spread[:, None]
    likely = shares * torch.exp(-0.5 * distance**2) / spread[:, None]
    return likely / (likely.sum(0) + _OUTLIER)


def _tied(figures: Tensor, counts: Tensor) -> Tensor:
    """Give the fluid in the ventricles and outside the brain one figure: it is the same fluid."""
    fluid = list(GROUPS[-1])
    figures = figures.clone()
    figures[fluid] = (figures[fluid] * counts[fluid]).sum() / counts[fluid].sum().clamp(min=1e-6)
    return figures


def volume_maps(model: TissueModel | None, image: Tensor) -> Tensor:
    """Input channels for the 3D network, shape (1, `TISSUE_CHANNELS`, z, y, x); see `_maps`.

    Parameters
    ----------
    model : TissueModel or None
        All 0 without one.
    image : Tensor
        Normalised scan on the coarse grid, 0 where nothing is, shape (z, y, x).
    """
    if model is None:
        return image.new_zeros(1, TISSUE_CHANNELS, *image.shape)
    return _maps(model, image, model.prior)[None]


def plane_maps(model: TissueModel | None, image: Tensor, positions: Tensor) -> Tensor:
    """Input channels for the 2D network, shape (slice, `TISSUE_CHANNELS`, y, x).

    Parameters
    ----------
    model : TissueModel or None
        0 everywhere without one.
    image : Tensor
        Normalised scan of 1 mm voxels, shape (z, y, x).
    positions : Tensor
        Slice indices.
    """
    slices = image[positions]
    if model is None:
        return slices.new_zeros(len(positions), TISSUE_CHANNELS, *slices.shape[1:])
    where = (2 * positions + 1) / image.shape[0] - 1
    prior = planes_of(model.prior[None], where, torch.zeros_like(positions), slices.shape[1:])
    return _maps(model, slices, prior.transpose(0, 1)).transpose(0, 1)


def _maps(model: TissueModel, image: Tensor, prior: Tensor) -> Tensor:
    """Stack what the model says of every voxel, see `TISSUE_CHANNELS`: a lesion is the same on every contrast."""
    shape = (-1,) + (1,) * image.dim()
    mean, spread = model.mean.view(shape), model.spread.view(shape)
    likely = prior * torch.exp(-0.5 * ((image - mean) / spread) ** 2) / spread
    total = likely.sum(0)
    untypical = -torch.log(total + 1e-3) / 5
    excess = (image - (prior * mean).sum(0)).clamp(-2, 2)
    belongs = likely / (total + _OUTLIER)
    kinds = [values[list(group)].sum(0) for values in (belongs, prior) for group in GROUPS]
    return torch.stack((untypical, excess, *kinds)) * (image != 0)


def _placed(atlas: Tensor, axes: Sequence[Tensor]) -> Tensor:
    """Bring the atlas to the grid of a scan."""
    sides = atlas.shape[1:]
    # grid_sample counts from the outer edges, the atlas from the middles of its first and last voxel
    units = [axis / ATLAS_REACH * ((side - 1) / side) for axis, side in zip(axes, sides, strict=True)]
    grid = torch.stack(torch.meshgrid(*units, indexing="ij"), dim=-1).flip(-1)
    drawn = functional.grid_sample(atlas[None], grid[None], align_corners=False, padding_mode="border")[0]
    floored = drawn + _FLOOR
    return floored / floored.sum(0, keepdim=True)
