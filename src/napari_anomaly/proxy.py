"""Supervoxels and the superpixel image: the proxy of a scan (Zhou et al. 2021, ProxyAno)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name everybody uses)
from jaxtyping import Bool, Float32, Num, UInt16

_MOST = 60_000


def supervoxels(
    voxels: Num[np.ndarray, "z y x"],
    mask: Bool[np.ndarray, "z y x"],
    *,
    spacing: tuple[float, float, float],
    size_mm3: float,
    iterations: int = 3,
) -> UInt16[np.ndarray, "z y x"]:
    """Over-segment a scan within a mask.

    Parameters
    ----------
    voxels : ndarray
        Intensities.
    mask : ndarray
        Voxels that get a supervoxel.
    spacing : tuple of float
        Voxel spacing (z, y, x) in mm.
    size_mm3 : float
        Size of a supervoxel; larger where there would be more than 60,000 of them.
    iterations : int, default 3
        Iterations of SLIC.

    Returns
    -------
    ndarray
        Ids from 1, 0 outside the mask.

    Notes
    -----
    Simple linear iterative clustering (Achanta et al. 2012) by SimpleITK, on the box around the mask.
    """
    result = np.zeros(mask.shape, np.uint16)
    if not mask.any():
        return result
    window = _box(mask)
    inside = mask[window]
    grid = _grid(inside.shape, spacing, size_mm3 ** (1 / 3))
    patch = np.where(inside, voxels[window], 0).astype(np.float32)
    low, high = np.percentile(patch[inside], (2, 98))
    image = sitk.GetImageFromArray(np.clip((patch - low) / max(high - low, 1e-6), -0.5, 1.5) * 100)
    labels = sitk.GetArrayFromImage(
        sitk.SLIC(
            image,
            superGridSize=grid[::-1],
            spatialProximityWeight=float(np.mean(grid)) * 2.5,
            maximumNumberOfIterations=iterations,
            enforceConnectivity=False,
            initializationPerturbation=True,
        )
    )
    result[window] = _compact(labels, inside)
    return result


def superpixel_image(
    voxels: Num[np.ndarray, "z y x"], ids: UInt16[np.ndarray, "z y x"]
) -> Float32[np.ndarray, "z y x"]:
    """Set every supervoxel to its mean intensity; 0 where there is none.

    Parameters
    ----------
    voxels : ndarray
        Intensities.
    ids : ndarray
        From `supervoxels`.
    """
    flat = ids.reshape(-1)
    places = np.flatnonzero(flat)
    chosen = flat[places]
    count = np.maximum(np.bincount(chosen), 1)
    means = (np.bincount(chosen, voxels.reshape(-1)[places]) / count).astype(np.float32)
    image = np.zeros(ids.shape, np.float32)
    image.reshape(-1)[places] = means[chosen]
    return image


def _grid(shape: tuple[int, ...], spacing: tuple[float, float, float], side_mm: float) -> list[int]:
    """Sides of a supervoxel in voxels, larger than asked for where their number would not fit 16 bits."""
    while True:
        grid = [max(1, min(n, round(side_mm / s))) for n, s in zip(shape, spacing, strict=True)]
        if np.prod([-(-n // side) for n, side in zip(shape, grid, strict=True)]) <= _MOST:
            return grid
        side_mm *= 1.05


def _box(mask: Bool[np.ndarray, "z y x"]) -> tuple[slice, slice, slice]:
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        present = np.flatnonzero(mask.any(axis=others))
        spans.append(slice(int(present[0]), int(present[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _compact(
    labels: Num[np.ndarray, "_ _ _"], inside: Bool[np.ndarray, "_ _ _"]
) -> UInt16[np.ndarray, "_ _ _"]:
    kept = np.where(inside, labels.astype(np.int64) + 1, 0)
    present = np.bincount(kept.reshape(-1)) > 0
    present[0] = False
    table = np.where(present, np.cumsum(present), 0).astype(np.uint16)
    return table[kept]
