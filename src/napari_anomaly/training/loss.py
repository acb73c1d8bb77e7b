"""The loss of Kang & Park (2022): voxels, scan, an early pull towards recall, and NT-Xent in the joint embedding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.5
"""Temperature of NT-Xent, as in the paper's code."""


ANOMALY_WEIGHT = 10.0
"""An anomalous voxel counts as much as ten normal ones, which are a hundred times as many.

Without it a network learns within a hundred steps that nothing is an anomaly, and stays there for hundreds more.
"""


def voxel_loss(logit: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice over the whole batch.

    Parameters
    ----------
    logit, truth : Tensor
        Same shape; truth is 0..1.
    """
    rare = torch.tensor(ANOMALY_WEIGHT, device=logit.device)
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, pos_weight=rare)
    share = torch.sigmoid(logit)
    overlap = 2 * (share * truth).sum() + 50
    dice = 1 - overlap / (share.sum() + truth.sum() + 50)
    return 2 * entropy + dice


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
