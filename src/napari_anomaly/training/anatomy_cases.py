"""Brains with known anatomy: read from label maps, and synthesised in any contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_anomaly.anatomy import MIRRORED, NAMES, Side
from napari_anomaly.detector.anatomy import anatomy_inputs
from napari_anomaly.intensities import normalise
from napari_anomaly.preprocess import FIELD, middle_of, place
from napari_anomaly.pretask.task import Difficulty, paint, sample
from napari_anomaly.training.acquisition import acquire
from napari_anomaly.training.atlases import MIDDLE, UNKNOWN, Region, freesurfer, muse, parts, truth_of
from napari_anomaly.training.contrast import CLASSES, CSF, brain_classes, draw_family
from napari_anomaly.training.normals import (
    deformation,
    jitter_mask,
    load_head,
    load_volume,
    recolour,
    synthesise,
)

FINE_MM = 1.5
"""Side of the voxels in which scans are synthesised: two along one voxel of the network."""

LABELS_SUFFIX = "_DLMUSE"
"""Ends the name of a label map with lobes that lies beside its scan."""

DISEASED = 0.4
"""Share of synthesised scans with anomalies, which anatomy must be told in spite of."""


@dataclass(frozen=True, slots=True, eq=False)
class AnatomyCase:
    """A brain with known anatomy, in 1 mm voxels; all arrays have the shape `FIELD`."""

    name: str
    classes: Tensor
    """Tissue classes to synthesise intensities from, uint8."""
    truth: Tensor
    """Label of the structure, uint8; `UNKNOWN` where none answers."""
    mask: Tensor
    """The brain, bool."""
    partition: Tensor
    """For every name the one that stands for it in `truth`, int64: lobes may not be told apart."""
    scan: Tensor | None = None
    """A real T1-weighted scan, normalised, float16."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One synthesised scan as the anatomy network sees it."""

    inputs: Tensor
    """Shape (1, channel, z, y, x)."""
    truth: Tensor
    """int64, shape (z, y, x)."""
    partition: Tensor


def read_whole(path: Path) -> AnatomyCase:
    """Read a whole-head label map with FreeSurfer's numbers."""
    raw = load_volume(path, spacing=1.0, labels=True).astype(np.int64)
    tissue = torch.from_numpy(np.isin(_looked_up(raw, CLASSES), brain_classes()))
    numbers = place(torch.from_numpy(raw), FIELD, middle_of(tissue)).numpy()
    classes = _looked_up(numbers, CLASSES)
    mask = _brain_of(classes)
    truth = _truth(numbers, freesurfer(), mask)
    return AnatomyCase(
        path.name.split(".")[0],
        torch.from_numpy(classes),
        truth,
        torch.from_numpy(mask),
        torch.tensor(parts()),
    )


def _brain_of(classes: np.ndarray) -> np.ndarray:
    """Tissue of the brain, and the fluid in its furrows."""
    tissue = np.isin(classes, brain_classes())
    closed = ndimage.binary_closing(np.pad(tissue, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    return np.asarray(tissue | (closed & (classes == CSF)))


def read_lobes(path: Path, labels: Path) -> AnatomyCase:
    """Read a T1-weighted head and its label map with the numbers of MUSE."""
    subject = load_head(path, labels)
    raw = load_volume(labels, spacing=1.0, labels=True).astype(np.int64)
    numbers = place(torch.from_numpy(raw), FIELD, middle_of(torch.from_numpy(raw > 0))).numpy()
    regions = muse()
    tissues = {number: CLASSES[region.tissue] for number, region in regions.items()}
    return AnatomyCase(
        subject.name,
        torch.from_numpy(_looked_up(numbers, tissues)),
        _truth(numbers, regions, subject.mask.numpy()),
        subject.mask,
        torch.arange(len(NAMES)),
        subject.voxels,
    )


def _looked_up(numbers: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    values = np.zeros(int(max(*table, numbers.max())) + 1, np.uint8)
    values[list(table)] = list(table.values())
    found: np.ndarray = values[numbers]
    return found


def _truth(numbers: np.ndarray, regions: Mapping[int, Region], mask: np.ndarray) -> Tensor:
    by_side: dict[Side, np.ndarray] = {
        side: _looked_up(numbers, {number: truth_of(region, side) for number, region in regions.items()})
        for side in ("left", "right")
    }
    sided = {number: "lr".index(r.side[0]) + 1 for number, r in regions.items() if r.side in by_side}
    plane = _left_of_midplane(_looked_up(numbers, sided))
    split = np.isin(numbers, [number for number, region in regions.items() if region.side == MIDDLE])
    truth = np.where(split & ~plane, by_side["right"], by_side["left"])
    return torch.from_numpy(np.where(mask, truth, 0).astype(np.uint8))


def _left_of_midplane(sides: np.ndarray) -> np.ndarray:
    """Tell which voxels lie left of the plane between what is left (1) and what is right (2)."""
    left, right = (np.argwhere(sides[::2, ::2, ::2] == number).mean(axis=0) * 2 for number in (1, 2))
    normal, middle = left - right, (left + right) / 2
    axes = np.ogrid[tuple(slice(0, side) for side in sides.shape)]
    height = sum((axis - m) * n for axis, m, n in zip(axes, middle, normal, strict=True))
    return np.asarray(height > 0)


def make_example(
    case: AnatomyCase,
    rng: np.random.Generator,
    device: torch.device,
    *,
    stripped: bool = True,
    diseased: float = DISEASED,
) -> Example:
    """Synthesise a scan of a brain with known anatomy.

    Parameters
    ----------
    case : AnatomyCase
        Whose.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to compute.
    stripped : bool, default True
        The scan is 0 outside the brain, as the networks of a detector see it.
    diseased : float, default `DISEASED`
        Chance of anomalies.
    """
    sides = tuple(round(side / FINE_MM) for side in FIELD)
    grid = deformation(sides, rng, device)
    coarse = functional.avg_pool3d(grid.permute(3, 0, 1, 2)[None], 2)[0].permute(1, 2, 3, 0)
    truth = _posed(case, coarse, device)
    brain = _warp(case.mask.to(device), grid, "nearest") > 0.5
    mask = jitter_mask(brain, rng) if rng.random() < 0.5 else brain
    image, inside = _image(case, grid, brain, rng, device)
    if rng.random() < diseased:
        image = _with_anomalies(image, brain, rng)
    image = normalise(acquire(image, rng, device), mask if stripped else inside)
    inputs = anatomy_inputs(image, mask, reduction=2)
    truth[inputs[0, 1] < 0.5] = 0
    return Example(inputs, truth, case.partition.to(device))


def make_pose(case: AnatomyCase, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Labels and mask of a brain in a random pose, in the voxels of the network, without a scan.

    Parameters
    ----------
    case : AnatomyCase
        Whose.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to compute.
    """
    grid = deformation(tuple(round(side / FINE_MM / 2) for side in FIELD), rng, device)
    return _posed(case, grid, device), _warp(case.mask.to(device), grid, "nearest") > 0.5


def _posed(case: AnatomyCase, grid: Tensor, device: torch.device) -> Tensor:
    truth = _warp(case.truth.to(device), grid, "nearest").long()
    return other_side(truth) if _is_mirrored(grid) else truth


def other_side(truth: Tensor) -> Tensor:
    """Labels of the same structures on the other side."""
    table = torch.arange(UNKNOWN + 1, device=truth.device)
    table[: len(MIRRORED)] = torch.tensor(MIRRORED, device=truth.device)
    return table[truth]


def _image(
    case: AnatomyCase, grid: Tensor, brain: Tensor, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Intensities before the scanner, and the silhouette of the head."""
    if case.scan is not None and rng.random() < 0.6:
        original = _warp(case.scan.to(device), grid, "bilinear")
        return recolour(original, brain, "t1", rng)[0], brain
    classes = _warp(case.classes.to(device), grid, "nearest").long()
    inside = classes > 0
    return synthesise(classes, draw_family(rng), rng, device) * inside, inside


def _with_anomalies(image: Tensor, brain: Tensor, rng: np.random.Generator) -> Tensor:
    centres = torch.nonzero(brain).cpu().numpy()[::11]
    anomalies = sample(rng, centres, bright=0.7, difficulty=Difficulty(0.2, 1.0))
    return paint(image, brain, anomalies[:3]).image


def mirrored(example: Example) -> Example:
    """The same scan seen in a mirror: sides are swapped, and the place along left to right turns round."""
    inputs = example.inputs.flip(-1)
    inputs[:, -1] *= -1
    return replace(example, inputs=inputs, truth=other_side(example.truth.flip(-1)))


def _is_mirrored(grid: Tensor) -> bool:
    z, y, x = (side // 2 for side in grid.shape[:3])
    return bool(grid[z, y, x + 1, 0] < grid[z, y, x - 1, 0])


def _warp(volume: Tensor, grid: Tensor, mode: Literal["nearest", "bilinear"]) -> Tensor:
    sampled = functional.grid_sample(volume.float()[None, None], grid[None], mode=mode, align_corners=True)
    return sampled[0, 0]
