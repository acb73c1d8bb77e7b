"""The atlas of tissues in the frame of the global binary mask, averaged over label maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.networks.joint import ATLAS_REACH, ATLAS_SHAPE
from napari_anomaly.preprocess import REDUCTION
from napari_anomaly.training.normals import Subject

TISSUES: tuple[tuple[int, ...], ...] = (
    (1, 4),
    (2, 5),
    (6, 7, 8, 9, 12, 13),
    (3, 10),
    (15,),
    (11, 16),
)
"""Classes (`training.contrast`) of white matter, cortex, deep grey matter, ventricles, outer fluid, brainstem."""


def build_atlas(subjects: Sequence[Subject]) -> Tensor | None:
    """Average the label maps among some subjects, each as it is and mirrored.

    Parameters
    ----------
    subjects : sequence of Subject
        Those that are no label maps are left out.

    Returns
    -------
    Tensor or None
        Share of every tissue, shape `ATLAS_SHAPE`; None without a label map.
    """
    placed = [_placed(subject) for subject in subjects if subject.kind == "labels"]
    if not placed:
        return None
    mean = torch.stack(placed).mean(0)
    mean = (mean + mean.flip(-1)) / 2
    return functional.avg_pool3d(functional.pad(mean[None], (1,) * 6, mode="replicate"), 3, stride=1)[0]


def _placed(subject: Subject) -> Tensor:
    classes = subject.voxels * subject.mask
    shares = torch.stack([torch.isin(classes, torch.tensor(group)).float() for group in TISSUES])
    coarse = functional.avg_pool3d(shares[None], REDUCTION)[0]
    inside = functional.avg_pool3d(subject.mask.float()[None, None], REDUCTION)[0, 0] > 0.5
    axes = []
    for axis, side in enumerate(ATLAS_SHAPE[1:]):
        others = tuple(other for other in range(3) if other != axis)
        present = torch.nonzero(inside.any(dim=others[1]).any(dim=others[0])).flatten()
        low, high = float(present[0]), float(present[-1])
        index = (torch.linspace(-ATLAS_REACH, ATLAS_REACH, side) * (high - low) + low + high) / 2
        axes.append((2 * index + 1) / inside.shape[axis] - 1)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1)
    return functional.grid_sample(coarse[None], grid[None], align_corners=False)[0]
