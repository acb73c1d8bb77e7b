"""Growth: a finding that the detector missed, from one click into one of its supervoxels.

It takes in neighbours whose mean intensity is most like that of the supervoxel that was clicked into, and ends
where the next one is a large step away and all that surrounds it differs most: at the border of what was missed.
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from napari_anomaly.anomaly import Supervoxels

__all__ = ["REACH_MM", "grown"]

REACH_MM = 40.0
"""How far from the click it may grow, in mm, along each axis."""

_MOST = 1500
"""Supervoxels that are looked at, at most."""

_SPREADS = 1.5
"""How far from its surroundings it must be, in standard deviations of both, to have a border at all."""


def grown(supervoxels: Supervoxels, index: tuple[int, int, int]) -> Integer[np.ndarray, " voxels"]:
    """Grow from the supervoxel at a voxel along the proxy.

    Parameters
    ----------
    supervoxels
        The supervoxels and the proxy.
    index
        Voxel (z, y, x).

    Returns
    -------
    ndarray
        Flat C-order indices (z, y, x), rising: the supervoxel itself where no step around it stands out;
        none where there is no supervoxel.

    Notes
    -----
    Supervoxels are taken in by the smallest difference from the first one that must be passed on the way
    (the minimax path of watersheds: Meyer 1994, by Prim's algorithm). The border is where the step to the next
    one times the contrast with the neighbours is largest (average contrast: Hojjatoleslami & Kittler 1998).
    """
    seed = int(supervoxels.ids[index])
    if seed == 0:
        return np.empty(0, dtype=np.intp)
    box = _around(supervoxels, index)
    ids = supervoxels.ids[box]
    numbers, first = np.unique(ids, return_index=True)
    means = dict(zip(numbers.tolist(), supervoxels.image[box].reshape(-1)[first].tolist(), strict=True))
    order = _taken_in(means, _neighbours(ids), seed)
    whole = np.zeros(supervoxels.ids.shape, dtype=np.bool_)
    whole[box] = np.isin(ids, order)
    return np.flatnonzero(whole)


def _around(supervoxels: Supervoxels, index: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    reach = [int(np.ceil(REACH_MM / step)) for step in supervoxels.geometry.spacing]
    spans = [slice(max(0, i - r), i + r + 1) for i, r in zip(index, reach, strict=True)]
    return spans[0], spans[1], spans[2]


def _neighbours(ids: Integer[np.ndarray, "z y x"]) -> dict[int, list[int]]:
    """Give the supervoxels that share a face with each."""
    found: dict[int, list[int]] = {}
    pairs = []
    for axis in range(3):
        moved = np.moveaxis(ids, axis, 0).astype(np.int64)
        one, other = moved[:-1].reshape(-1), moved[1:].reshape(-1)
        touching = (one != other) & (one > 0) & (other > 0)
        one, other = one[touching], other[touching]
        pairs += [one << 32 | other, other << 32 | one]
    # As single numbers: pairs would be sorted many times slower.
    for pair in np.unique(np.concatenate(pairs)).tolist():
        found.setdefault(pair >> 32, []).append(pair & 0xFFFFFFFF)
    return found


def _taken_in(means: Mapping[int, float], neighbours: Mapping[int, list[int]], seed: int) -> list[int]:
    """Give the supervoxels within the border that stands out most; the first one alone where none does."""
    inside, ring, best = _Values(), _Values(), _Border(0.0, 1)
    waiting, seen = [(0.0, seed)], {seed}
    ring.put(means[seed])
    order: list[int] = []
    while waiting and len(order) < _MOST:
        cost, number = heappop(waiting)
        order.append(number)
        inside.put(means[number])
        ring.take(means[number])
        for other in neighbours.get(number, []):
            if other not in seen:
                seen.add(other)
                ring.put(means[other])
                heappush(waiting, (max(cost, abs(means[other] - means[seed])), other))
        contrast = abs(inside.mean - ring.mean)
        if waiting and contrast > _SPREADS * np.hypot(inside.spread, ring.spread):
            best = max(best, _Border((waiting[0][0] - cost) * contrast, len(order)))
    return order[: best.voxels_in]


class _Border(NamedTuple):
    strength: float
    voxels_in: int


class _Values:
    """Mean and standard deviation of values that come and go."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def put(self, value: float) -> None:
        self._count, self._sum, self._squares = (
            self._count + 1,
            self._sum + value,
            self._squares + value * value,
        )

    def take(self, value: float) -> None:
        self._count, self._sum, self._squares = (
            self._count - 1,
            self._sum - value,
            self._squares - value * value,
        )

    @property
    def mean(self) -> float:
        return self._sum / max(self._count, 1)

    @property
    def spread(self) -> float:
        return float(np.sqrt(max(self._squares / max(self._count, 1) - self.mean**2, 0.0)))
