"""How well structures are labelled: overlap, and how far their centres of mass lie apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

__all__ = ["Overlap", "overlaps"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Agreement of one region.

    Parameters
    ----------
    dice
        Twice the overlap over the sum of both, 0 to 1.
    apart_mm
        Distance of the centres of mass in mm; None where nothing was labelled.
    """

    dice: float
    apart_mm: float | None


def overlaps(
    labelled: Integer[np.ndarray, "z y x"],
    truth: Integer[np.ndarray, "z y x"],
    regions: Mapping[str, Sequence[int]],
    *,
    spacing_mm: float,
) -> dict[str, Overlap]:
    """Compare labels with the truth, region by region.

    Parameters
    ----------
    labelled, truth
        Labels on the same grid of isotropic voxels.
    regions
        Labels that make up each region; those that the truth does not hold are left out.
    spacing_mm
        Side of a voxel.
    """
    found = {}
    for name, labels in regions.items():
        one, other = np.isin(labelled, labels), np.isin(truth, labels)
        if not other.any():
            continue
        dice = 2 * float((one & other).sum()) / float(one.sum() + other.sum())
        apart = None
        if one.any():
            apart = float(np.linalg.norm(_centre(one) - _centre(other))) * spacing_mm
        found[name] = Overlap(dice, apart)
    return found


def _centre(mask: np.ndarray) -> np.ndarray:
    return np.asarray(np.argwhere(mask).mean(axis=0))
