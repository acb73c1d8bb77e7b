"""One training step's data: normals out of a pool, painted, cut into slices and a volume."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.detector.seen import as_seen
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.tissue import fit_tissues, plane_maps, volume_maps
from napari_anomaly.preprocess import REDUCTION, coarse_tissue, plane_inputs, volume_inputs
from napari_anomaly.pretask.task import Difficulty, Painted, Scenario, paint, sample
from napari_anomaly.training.contrast import BRIGHT, FAMILIES
from napari_anomaly.training.normals import Normal, Subject, make_normal
from napari_anomaly.training.tissue_task import plane_shares, volume_shares

ANOMALOUS = 0.85
"""Share of scans in a batch that carry anomalies."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Input and truth of one step."""

    slices: Tensor
    volume: Tensor
    where: Tensor
    scan_of: Tensor
    slice_truth: Tensor
    volume_truth: Tensor
    scan_truth: Tensor
    contrast: Tensor
    """Index of the kind of contrast of every scan in `FAMILIES`, int64, shape (scan,)."""
    inside: Tensor
    """Cells of 16 mm that lie in the brain, bool, shape (slice, cell)."""
    slice_tissue: Tensor
    """Share of the tissues, shape (slice, 3, y/2, x/2), see `tissue_task`."""
    volume_tissue: Tensor
    """The same, shape (scan, 3, z/6, y/6, x/6)."""


class Pool:
    """Synthesised normals, renewed one at a time, oldest first.

    Parameters
    ----------
    subjects : sequence of Subject
        People to synthesise from.
    size : int
        Normals kept.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where they are made and kept.
    """

    def __init__(
        self, subjects: Sequence[Subject], *, size: int, rng: np.random.Generator, device: torch.device
    ) -> None:
        self._subjects = subjects
        self._weights = subject_weights(subjects)
        self._rng = rng
        self._device = device
        self._size = size
        self._normals: deque[Normal] = deque(maxlen=size)

    @property
    def missing(self) -> int:
        """Normals still to be made before the pool is full."""
        return self._size - len(self._normals)

    def renew(self) -> None:
        """Make one new normal in place of the oldest."""
        chosen = int(self._rng.choice(len(self._subjects), p=self._weights))
        self._normals.append(make_normal(self._subjects[chosen], self._rng, self._device))

    def draw(self) -> Normal:
        """Return a normal at random, mirrored half of the time."""
        normal = self._normals[int(self._rng.integers(len(self._normals)))]
        if self._rng.random() < 0.5:
            return normal
        return normal.mirrored()


def subject_weights(subjects: Sequence[Subject]) -> np.ndarray:
    """Chance of each subject: label maps 45 %, real T1 45 %, real FLAIR 10 %, of those that are there."""
    share = {"labels": 0.45, "t1": 0.45, "flair": 0.1, "own": 1.0}
    counts = {kind: sum(subject.kind == kind for subject in subjects) for kind in share}
    weights = np.array([share[subject.kind] / counts[subject.kind] for subject in subjects])
    chance: np.ndarray = weights / weights.sum()
    return chance


def paint_normal(
    normal: Normal,
    rng: np.random.Generator,
    *,
    difficulty: Difficulty,
    library: Tensor | None,
    scenario: Scenario | None = None,
) -> Painted:
    """Paint a normal with random anomalies, of one kind of disease if asked for; it always carries a visible one."""
    image = normal.image.float()
    tissue = normal.mask & (image != 0)
    centres, white = (_some(region) for region in (tissue, normal.white & tissue))
    for _ in range(6):
        anomalies = sample(
            rng,
            centres,
            white=white if len(white) else centres,
            bright=BRIGHT[normal.family],
            difficulty=difficulty,
            templates=0 if library is None else len(library),
            scenario=scenario,
        )
        painted = paint(image, tissue, anomalies, library=library)
        if painted.truth.any():
            break
    return painted


def _some(region: Tensor) -> np.ndarray:
    """About 20 000 voxels of a region, (voxel, 3)."""
    places = torch.nonzero(region)
    chosen: np.ndarray = places[:: 1 + len(places) // 20_000].cpu().numpy()
    return chosen


def make_batch(
    pool: Pool,
    rng: np.random.Generator,
    *,
    scans: int,
    slices: int,
    difficulty: Difficulty,
    library: Tensor | None,
    atlas: Tensor | None = None,
) -> Batch:
    """Draw, paint and cut the scans of one step.

    Parameters
    ----------
    pool : Pool
        Normals.
    rng : numpy.random.Generator
        Source of randomness.
    scans, slices : int
        Scans, and slices of each.
    difficulty : Difficulty
        Stage of the curriculum.
    library : Tensor or None
        Real lesion shapes.
    atlas : Tensor, optional
        For the tissue model, see `networks.tissue`.
    """
    parts = []
    for index in range(scans):
        normal = pool.draw()
        if rng.random() < ANOMALOUS:
            painted = paint_normal(normal, rng, difficulty=difficulty, library=library)
        else:
            painted = Painted(normal.image.float(), torch.zeros_like(normal.mask))
        image = normalise(painted.image, normal.mask)
        positions = choose_slices(painted.truth, normal.mask, slices, rng)
        parts.append(_cut(image, normal, painted.truth, positions, index, atlas))
    joined = [torch.cat(column) for column in zip(*parts, strict=True)]
    joined[0] = joined[0].contiguous(memory_format=torch.channels_last)
    joined[1] = joined[1].contiguous(memory_format=torch.channels_last_3d)
    return Batch(*joined)


def choose_slices(truth: Tensor, mask: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Slice indices: two thirds through anomalies (the larger the likelier), the rest through the brain."""
    brain = mask.sum((1, 2)).float().sqrt().cpu().numpy()
    area = truth.sum((1, 2)).float().sqrt().cpu().numpy()
    wanted = count * 2 // 3 if area.sum() > 0 else 0
    chosen = list(rng.choice(len(area), size=wanted, p=area / area.sum())) if wanted else []
    chosen += list(rng.choice(len(brain), size=count - wanted, p=brain / brain.sum()))
    return torch.tensor(np.array(chosen), device=truth.device)


def _cut(
    image: Tensor,
    normal: Normal,
    truth: Tensor,
    positions: Tensor,
    index: int,
    atlas: Tensor | None,
) -> tuple[Tensor, ...]:
    mask = normal.mask
    image = as_seen(image, mask, atlas)
    coarse = functional.avg_pool3d(truth[None, None].float(), REDUCTION)
    whole = volume_inputs(image, mask)
    tissues = None if atlas is None else fit_tissues(atlas, whole[0, 0], *coarse_tissue(image, mask))
    cells = functional.avg_pool2d(mask[positions][:, None].float(), 16, ceil_mode=True).flatten(1) > 0.3
    return (
        torch.cat((plane_inputs(image, mask, positions), plane_maps(tissues, image, positions)), dim=1),
        torch.cat((whole, volume_maps(tissues, whole[0, 0])), dim=1),
        (2 * positions + 1) / image.shape[0] - 1,
        torch.full_like(positions, index),
        truth[positions][:, None].float(),
        coarse,
        truth.any().float()[None],
        torch.tensor([FAMILIES.index(normal.family)], device=truth.device),
        cells,
        plane_shares(normal.tissue[positions]),
        volume_shares(normal.tissue),
    )
