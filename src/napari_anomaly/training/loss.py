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
