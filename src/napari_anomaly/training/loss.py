"""The loss of Kang & Park (2022): voxels, scan, an early pull towards recall, and NT-Xent in the joint embedding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.5
"""Temperature of NT-Xent, as in the paper's code."""


ANOMALY_WEIGHT = 0.25
"""All anomalous voxels of a batch together weigh this much against all normal ones, however few they are.

A fixed weight for each voxel lets small and faint anomalies vanish: they are one voxel in three hundred or fewer, and a
network that says nothing of them loses next to nothing.
"""

TAIL_SHARE = 1e-3
"""Share of the normal voxels of a batch, those that look most anomalous, that `tail_loss` counts."""

RIM = 3
"""Pixels around an anomaly in a slice that count as neither normal nor anomalous in `tail_loss`; one voxel in 3D."""


def voxel_loss(logit: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy, balanced between anomalous and normal voxels, plus soft Dice over the whole batch.

    Parameters
    ----------
    logit, truth : Tensor
        Same shape; truth is 0..1.
    """
    normal = 1 - truth
    missed = (functional.softplus(-logit) * truth).sum() / (truth.sum() + 1)
    wrong = (functional.softplus(logit) * normal).sum() / (normal.sum() + 1)
    share = torch.sigmoid(logit)
    overlap = 2 * (share * truth).sum() + 50
    dice = 1 - overlap / (share.sum() + truth.sum() + 50)
    return 2 * (ANOMALY_WEIGHT * missed + wrong) + 0.5 * dice


def tail_loss(logit: Tensor, truth: Tensor, *, share: float = TAIL_SHARE) -> Tensor:
    """Cross-entropy of the normal voxels that look most anomalous, away from anomalies.

    A threshold lies where normal scans are quiet, so a handful of their voxels decide where; the mean over all normal
    voxels hardly sees them (hard examples, after Shrivastava et al. 2016, doi 10.1109/CVPR.2016.89).

    Parameters
    ----------
    logit, truth : Tensor
        Same shape, (slice, 1, y, x) or (scan, 1, z, y, x); truth is 0..1.
    share : float, optional
        Share of the normal voxels of the batch that counts.

    Returns
    -------
    Tensor
        Mean over those voxels; 0 where there is no normal voxel.
    """
    pool = functional.max_pool2d if logit.dim() == 4 else functional.max_pool3d
    reach = RIM if logit.dim() == 4 else 1
    # an anomaly fades: what lies at its rim is neither
    normal = pool(truth, 2 * reach + 1, stride=1, padding=reach) == 0
    costs = functional.softplus(logit[normal])
    if not len(costs):
        return logit.sum() * 0
    return torch.topk(costs, max(1, round(share * len(costs)))).values.mean()


def recall_loss(logit: Tensor, truth: Tensor) -> Tensor:
    """Mean of (1 - p) t: missing an anomaly costs more than a false alarm while the weight lasts."""
    return ((1 - torch.sigmoid(logit)) * truth).mean()


def recall_weight(progress: float) -> float:
    """Weight of `recall_loss`: falls from 1 to .05 over the first 30 % (the paper's 100 to 5, per voxel mean)."""
    return max(0.05, 1 - progress / 0.3)


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """Normalised temperature-scaled cross-entropy between two views of the same cells (Chen et al. 2020).

    Parameters
    ----------
    first, second : Tensor
        Unit vectors, shape (cell, length); row i of both is the same place of the same scan.

    Returns
    -------
    Tensor
        Mean loss of both directions; log(cells) where nothing has been learned.
    """
    likeness = first @ second.T / TEMPERATURE
    target = torch.arange(len(first), device=first.device)
    return 0.5 * (functional.cross_entropy(likeness, target) + functional.cross_entropy(likeness.T, target))
