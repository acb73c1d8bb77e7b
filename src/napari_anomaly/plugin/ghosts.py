"""Ghosts: dashed outlines of what was judged false, which is no longer in the mask."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

__all__ = ["dashed"]

_DASH = 3.0
"""Length of a dash, and of a gap, in voxels."""

_TINY = 10
"""Voxels of an outline that is too short for dashes."""


def dashed(inside: Bool[np.ndarray, "z y x"], axis: int | None) -> Bool[np.ndarray, "z y x"]:
    """Give the dashed outline of a region on every slice.

    Parameters
    ----------
    inside
        The region.
    axis
        Axis across the slices: 0 for axial ones; None for 3D, where the whole surface is given.
    """
    if axis is None:
        surface: Bool[np.ndarray, "z y x"] = inside & ~ndimage.binary_erosion(inside)
        return surface
    around = ndimage.generate_binary_structure(3, 1)
    # Neighbours on the same slice only.
    across = np.moveaxis(around, axis, 0)
    across[0] = across[2] = False
    outline: Bool[np.ndarray, "z y x"] = inside & ~ndimage.binary_erosion(inside, around)
    for number, one in enumerate(np.moveaxis(outline, axis, 0)):
        rows, columns = np.nonzero(one)
        if rows.size >= _TINY:
            np.moveaxis(outline, axis, 0)[number][rows, columns] = _dashes(rows, columns)
    return outline


def _dashes(rows: np.ndarray, columns: np.ndarray) -> Bool[np.ndarray, " voxels"]:
    """Tell dash from gap by the angle that voxels are seen at from the middle."""
    down, right = rows - rows.mean(), columns - columns.mean()
    pairs = max(2, round(rows.size / (2 * _DASH)))
    turn = (np.arctan2(down, right) / (2 * np.pi)) % 1.0
    on: Bool[np.ndarray, " voxels"] = np.floor(turn * 2 * pairs).astype(np.int64) % 2 == 0
    return on
