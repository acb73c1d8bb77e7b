"""Six synthetic tasks that training never paints: they tell whether a detector has learned more than its pretask.

Source: the validation tasks of Kang & Park (2022, arXiv 2212.10939), in voxels of 1 mm, shapes cut to the brain.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.boxes import box_max
from napari_anomaly.pretask.task import Painted

Task = Literal["constant", "edges", "rotation", "copy", "permutation", "scar"]

TASKS: tuple[Task, ...] = get_args(Task)

SIDES_MM = (16, 48)
"""Shortest and longest side of a cuboid, a share of the head as in the paper (10 to 32 of 64)."""

LEAST_INSIDE = 0.3
"""Share of a cuboid that must lie in the brain."""


def paint_unseen(image: Tensor, mask: Tensor, task: Task, rng: np.random.Generator) -> Painted:
    """Paint one anomaly of a task.

    Parameters
    ----------
    image : Tensor
        Normal scan of 1 mm voxels, shape (z, y, x); the brain's p5 to p95 span 0 to 1.
    mask : Tensor
        The brain, bool, same shape.
    task : str
        One of `TASKS`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Painted
        New tensors; the arguments are left as they are.
    """
    if task == "scar":
        where, painted = _scar(image, mask, rng)
    else:
        cubic = task in ("rotation", "permutation")
        window = _cuboid(mask, rng, cubic=cubic)
        painted = image.clone()
        painted[window] = _CHANGES[task](image, window, mask, rng)
        where = torch.zeros_like(mask)
        where[window] = True
    truth = where & mask
    return Painted(torch.where(truth, painted, image), truth)


def _cuboid(mask: Tensor, rng: np.random.Generator, *, cubic: bool) -> tuple[slice, ...]:
    """Draw a box that lies in the brain by `LEAST_INSIDE` at least; after many tries, the fullest that came up."""
    places = torch.nonzero(mask)
    fullest, best = -1.0, (slice(0, 1),) * 3
    for _ in range(50):
        sides = rng.integers(SIDES_MM[0], SIDES_MM[1] + 1, 3)
        sides = np.minimum(np.full(3, sides[0]) if cubic else sides, min(mask.shape)) // 2 * 2
        centre = places[int(rng.integers(len(places)))].cpu().numpy()
        low = np.clip(centre - sides // 2, 0, np.asarray(mask.shape) - sides)
        window = tuple(slice(int(a), int(a + n)) for a, n in zip(low, sides, strict=True))
        inside = float(mask[window].float().mean())
        if inside > fullest:
            fullest, best = inside, window  # type: ignore[assignment]
        if inside >= LEAST_INSIDE:
            break
    return best


def _constant(image: Tensor, window: tuple[slice, ...], mask: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.full_like(image[window], float(rng.uniform(0, 1.2)))


def _edges(image: Tensor, window: tuple[slice, ...], mask: Tensor, rng: np.random.Generator) -> Tensor:
    patch = image[window][None, None]
    smooth = torch.tensor([1.0, 2.0, 1.0], device=image.device) / 4
    slope = torch.tensor([-1.0, 0.0, 1.0], device=image.device)
    parts = []
    for axis in range(3):
        vectors = [slope if other == axis else smooth for other in range(3)]
        kernel = torch.einsum("i,j,k->ijk", *vectors)[None, None]
        parts.append(functional.conv3d(functional.pad(patch, (1,) * 6, mode="replicate"), kernel))
    steepness: Tensor = torch.linalg.vector_norm(torch.cat(parts), dim=0)[0]
    return steepness


def _rotation(image: Tensor, window: tuple[slice, ...], mask: Tensor, rng: np.random.Generator) -> Tensor:
    first, second = rng.permutation(3)[:2]
    return image[window].rot90(1, (int(first), int(second)))


def _copy(image: Tensor, window: tuple[slice, ...], mask: Tensor, rng: np.random.Generator) -> Tensor:
    sides = [part.stop - part.start for part in window]
    for _ in range(50):
        starts = [int(rng.integers(0, n - side + 1)) for n, side in zip(image.shape, sides, strict=True)]
        source = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        if float(mask[source].float().mean()) >= LEAST_INSIDE:
            break
    return image[source]


def _permutation(image: Tensor, window: tuple[slice, ...], mask: Tensor, rng: np.random.Generator) -> Tensor:
    patch = image[window]
    half = patch.shape[0] // 2
    parts = (slice(0, half), slice(half, 2 * half))
    blocks = list(product(parts, repeat=3))
    order = rng.permutation(8)
    if (order == np.arange(8)).all():
        order = np.roll(order, 1)
    result = patch.clone()
    for target, source in zip(blocks, order, strict=True):
        result[target] = patch[blocks[int(source)]]
    return result


_CHANGES: dict[str, Callable[[Tensor, tuple[slice, ...], Tensor, np.random.Generator], Tensor]] = {
    "constant": _constant,
    "edges": _edges,
    "rotation": _rotation,
    "copy": _copy,
    "permutation": _permutation,
}


def _scar(image: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw a thin bent line, 3 to 5 mm wide and 20 to 60 mm long, clearly brighter or darker."""
    places = torch.nonzero(mask)
    centre = places[int(rng.integers(len(places)))].cpu().numpy()
    forward, across = (v / np.linalg.norm(v) for v in rng.normal(0, 1, (2, 3)))
    along = np.linspace(-0.5, 0.5, 121)[:, None] * rng.uniform(20, 60)
    bend = rng.uniform(0, 10) * (1 - (2 * along / np.ptp(along)) ** 2)
    line = np.zeros(mask.shape, bool)
    points = np.round(centre + along * forward + bend * across).astype(int)
    points = points[((points >= 0) & (points < mask.shape)).all(1)]
    line[tuple(points.T)] = True
    reach = int(rng.integers(1, 3))
    grown = box_max(torch.from_numpy(line).float().to(image.device), 2 * reach + 1)
    change = float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.0))
    return grown > 0.5, image + change * grown
