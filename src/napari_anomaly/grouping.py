"""Grouping: which voxels of a mask are one finding.

Those that touch are, unless the reader has split what touches or merged what does not. The reader's word is
kept as a number on voxels: equal numbers are one finding, different ones never are. Voxels without a number
that touch numbered ones, because the threshold has been lowered since or something was painted there, go with
the number that they are reached from first when the scores are flooded from their peaks downwards.
"""

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Float32, Integer, UInt8, UInt32
from scipy import ndimage

__all__ = ["divide", "grouped_sizes", "number_regions"]

_AROUND = np.ones((3, 3, 3), dtype=np.bool_)

_LEVELS = 48
"""Heights at which a region is looked at to see where it comes apart."""

_GOOD = 0.05
"""Share of a region that its second part must have for the scores to have told the parts."""

_LEAST = 0.01
"""Share of a region below which nothing is a part."""


def number_regions(
    chosen: Bool[np.ndarray, "z y x"],
    groups: Integer[np.ndarray, "z y x"] | None,
    values: Float[np.ndarray, "z y x"],
) -> UInt32[np.ndarray, "z y x"]:
    """Number the findings of a mask, from 1 without gaps.

    Parameters
    ----------
    chosen
        The mask.
    groups
        Numbers that the reader has given, 0 where none; None for nowhere.
    values
        Scores: voxels without a number go to the peak that they belong to.
    """
    labels: UInt32[np.ndarray, "z y x"] = cc3d.connected_components(
        chosen, connectivity=26, out_dtype=np.uint32
    )
    if groups is None:
        return labels
    regions, numbers = _pairs(labels, groups)
    if not regions.size:
        return labels
    highest = int(labels.max())
    table = np.arange(highest + 1, dtype=np.uint32)
    held = np.bincount(regions, minlength=highest + 1)
    alone = held[regions] == 1
    table[regions[alone]] = highest + numbers[alone]
    several = np.unique(regions[~alone])
    boxes = ndimage.find_objects(labels) if several.size else []
    shared = [(boxes[region - 1], labels[boxes[region - 1]] == region) for region in several]
    labels = table[labels]
    for box, inside in shared:
        labels[box][inside] = (
            highest + _flooded(values[box], np.where(inside, groups[box], 0), inside)[inside]
        )
    present = np.bincount(labels.reshape(-1)) > 0
    present[0] = False
    compact: UInt32[np.ndarray, "z y x"] = np.where(present, np.cumsum(present), 0).astype(np.uint32)[labels]
    return compact


def grouped_sizes(
    labels: UInt32[np.ndarray, "z y x"],
    counts: Integer[np.ndarray, " regions"],
    groups: Integer[np.ndarray, "z y x"],
) -> Integer[np.ndarray, " regions"]:
    """Give the sizes of connected regions, where those that the reader has merged count together.

    Parameters
    ----------
    labels
        Connected regions, from 1.
    counts
        Voxels of each.
    groups
        See `number_regions`.
    """
    regions, numbers = _pairs(labels, groups)
    if not regions.size:
        return counts
    together = np.bincount(numbers, counts[regions - 1]).astype(counts.dtype)
    sizes = counts.copy()
    np.maximum.at(sizes, regions - 1, together[numbers])
    return sizes


def divide(
    values: Float[np.ndarray, "z y x"],
    inside: Bool[np.ndarray, "z y x"],
    supervoxels: Integer[np.ndarray, "z y x"] | None = None,
) -> UInt8[np.ndarray, "z y x"]:
    """Divide a region into the parts that its scores show, or else its shape.

    What does not touch, because it was merged, comes apart again as it was. Else the region is looked at from
    rising heights; where its second largest part is largest, its parts are told apart, and a watershed gives
    every voxel to one of them. Where no height divides it, the same is done with the distance from its border,
    which comes apart at a waist.

    Parameters
    ----------
    values
        Scores.
    inside
        The region.
    supervoxels
        Where given, each goes to one part as a whole; 0 for none.

    Returns
    -------
    ndarray
        Parts from 1, the largest first; all 1 where the region cannot be divided.

    Notes
    -----
    Watershed by scikit-image (Soille & Ansoult 1990).
    """
    pieces = cc3d.connected_components(inside, connectivity=26, out_dtype=np.uint32)
    if int(pieces.max()) > 1:
        return _by_size(pieces)
    heights = (
        _smooth(values, inside) if supervoxels is None else _supervoxel_means(values, inside, supervoxels)
    )
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(inside, 1)))[1:-1, 1:-1, 1:-1]
    found = [(height, *_told_apart(height, inside)) for height in (heights, depth.astype(np.float32))]
    whole = int(np.count_nonzero(inside))
    # Scores that come apart well go before a waist; else whatever divides better.
    height, markers, second = found[0] if found[0][2] >= _GOOD * whole else max(found, key=lambda one: one[2])
    if second < max(1.0, _LEAST * whole):
        return inside.astype(np.uint8)
    parts = _flooded(height, markers, inside)
    if supervoxels is not None:
        parts = _whole_supervoxels(parts, inside, supervoxels)
    return _by_size(parts)


def _pairs(
    labels: UInt32[np.ndarray, "z y x"], groups: Integer[np.ndarray, "z y x"]
) -> tuple[Integer[np.ndarray, " pairs"], Integer[np.ndarray, " pairs"]]:
    """Give each pair of a region and a number that occurs in it, once."""
    flat = np.flatnonzero(groups)
    regions, numbers = labels.reshape(-1)[flat].astype(np.int64), groups.reshape(-1)[flat].astype(np.int64)
    found = np.unique(np.stack([regions, numbers])[:, regions > 0], axis=1)
    return found[0], found[1]


def _flooded(
    heights: Float[np.ndarray, "z y x"],
    markers: Integer[np.ndarray, "z y x"],
    inside: Bool[np.ndarray, "z y x"],
) -> Integer[np.ndarray, "z y x"]:
    # Here and not above: whoever splits nothing need not wait for it.
    from skimage.segmentation import watershed

    flooded = watershed(-heights, markers.astype(np.int32), connectivity=_AROUND, mask=inside)
    return np.asarray(flooded)


def _told_apart(
    heights: Float[np.ndarray, "z y x"], inside: Bool[np.ndarray, "z y x"]
) -> tuple[Integer[np.ndarray, "z y x"], float]:
    """Give the parts above the height that tells them best, and the size of the second largest."""
    here = heights[inside]
    best: Integer[np.ndarray, "z y x"] = inside.astype(np.uint32)
    second = 0.0
    for level in np.unique(np.quantile(here, np.linspace(0, 1, _LEVELS, endpoint=False))):
        above = inside & (heights >= level)
        labels = cc3d.connected_components(above, connectivity=26, out_dtype=np.uint32)
        counts = np.sort(np.bincount(labels.reshape(-1))[1:])
        if counts.size > 1 and counts[-2] > second:
            best, second = labels, float(counts[-2])
    # What is small beside the second part is noise on the way there.
    counts = np.bincount(best.reshape(-1))
    kept = counts >= max(1.0, second / 3)
    kept[0] = False
    return np.where(kept, np.arange(kept.size), 0)[best], second


def _smooth(
    values: Float[np.ndarray, "z y x"], inside: Bool[np.ndarray, "z y x"]
) -> Float32[np.ndarray, "z y x"]:
    """Smooth within a region by about a voxel, so that noise makes no parts."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), 0.8)
    smooth = ndimage.gaussian_filter(np.where(inside, values, 0).astype(np.float32), 0.8)
    evened: Float32[np.ndarray, "z y x"] = np.where(inside, smooth / np.maximum(weight, 1e-6), smooth.min())
    return evened.astype(np.float32)


def _supervoxel_means(
    values: Float[np.ndarray, "z y x"],
    inside: Bool[np.ndarray, "z y x"],
    supervoxels: Integer[np.ndarray, "z y x"],
) -> Float32[np.ndarray, "z y x"]:
    _, ids = np.unique(np.where(inside, supervoxels, 0), return_inverse=True)
    flat = ids.reshape(-1)
    weights = inside.reshape(-1)
    counts = np.maximum(np.bincount(flat, weights), 1)
    means = np.bincount(flat, np.where(weights, values.reshape(-1), 0)) / counts
    loose = inside & (supervoxels == 0)
    return np.where(loose, values, means[flat].reshape(values.shape)).astype(np.float32)


def _whole_supervoxels(
    parts: Integer[np.ndarray, "z y x"],
    inside: Bool[np.ndarray, "z y x"],
    supervoxels: Integer[np.ndarray, "z y x"],
) -> Integer[np.ndarray, "z y x"]:
    """Give each supervoxel to the part that holds most of it."""
    held = inside & (supervoxels > 0)
    _, ids = np.unique(supervoxels[held], return_inverse=True)
    votes = np.zeros((int(ids.max(initial=0)) + 1, int(parts.max()) + 1), dtype=np.int64)
    np.add.at(votes, (ids, parts[held]), 1)
    whole = parts.copy()
    whole[held] = votes.argmax(axis=1)[ids]
    return whole


def _by_size(parts: Integer[np.ndarray, "z y x"]) -> UInt8[np.ndarray, "z y x"]:
    counts = np.bincount(parts.reshape(-1))
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    table = np.zeros(counts.size, dtype=np.uint8)
    # Numbers of a byte are more parts than anybody has use for; the smallest ones stay together.
    table[order] = np.minimum(np.arange(1, order.size + 1), 255)
    ranked: UInt8[np.ndarray, "z y x"] = table[parts]
    return ranked
