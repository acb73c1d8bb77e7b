"""Trains the network that finds the brain in a whole head of any contrast."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.boxes import box_max
from napari_anomaly.networks.blocks import use_channels_last
from napari_anomaly.networks.volume import VolumeNetwork
from napari_anomaly.preprocess import extraction_inputs
from napari_anomaly.pretask.task import Difficulty, paint, sample
from napari_anomaly.progress import Progress
from napari_anomaly.training.acquisition import acquire
from napari_anomaly.training.contrast import draw_family
from napari_anomaly.training.normals import Subject, deformation, recolour, synthesise

EXTRACTION_WIDTHS = (16, 32, 48, 64)


def train_extraction(
    subjects: Sequence[Subject], *, steps: int, rng: np.random.Generator, device: torch.device
) -> Generator[Progress, None, VolumeNetwork]:
    """Train the brain extraction.

    Parameters
    ----------
    subjects : sequence of Subject
        Those with a whole head are used.
    steps : int
        Training steps of one head each.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to train.

    Yields
    ------
    Progress
        Once a step.

    Returns
    -------
    VolumeNetwork
        In evaluation mode.
    """
    heads = [subject for subject in subjects if subject.head is not None]
    network = VolumeNetwork(inputs=2, widths=EXTRACTION_WIDTHS).to(device)
    use_channels_last(network, 3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        image, truth = make_head(heads[int(rng.integers(len(heads)))], rng, device)
        logit = network(extraction_inputs(image)).logit[0, 0]
        entropy = functional.binary_cross_entropy_with_logits(logit, truth)
        share = torch.sigmoid(logit)
        loss = entropy + 1 - 2 * (share * truth).sum() / (share.sum() + truth.sum() + 1)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        yield Progress(step + 1, steps, f"Brain extraction: loss {loss.item():.3f}")
    return network.eval()


def make_head(subject: Subject, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Synthesise a whole head, often stripped or cropped, and its brain.

    Parameters
    ----------
    subject : Subject
        With `head` and `head_mask`.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to compute.
    """
    if subject.head is None or subject.head_mask is None:
        raise ValueError(f"{subject.name} has no whole head")
    grid = deformation(subject.head.shape, rng, device)[None]
    truth = _warp(subject.head_mask.to(device).float(), grid, "nearest")
    if subject.kind == "labels":
        classes = _warp(subject.head.to(device).float(), grid, "nearest").long()
        image = synthesise(classes, draw_family(rng), rng, device)
        image = image * (classes > 0)
    else:
        raw = _warp(subject.head.to(device).float(), grid, "bilinear")
        inside = raw[truth > 0.5]
        low, high = torch.quantile(inside[::7], torch.tensor([0.05, 0.95], device=device))
        image, _ = recolour((raw - low) / (high - low), truth > 0.5, subject.kind, rng)
    anomalies = sample(
        rng, torch.nonzero(truth).cpu().numpy()[::11], bright=0.7, difficulty=Difficulty(0.2, 1.0)
    )
    if rng.random() < 0.5:
        # shapes are in mm at 1 mm voxels: at 3 mm only the large ones matter
        image = paint(image, truth > 0.5, anomalies[:2]).image
    image = acquire(image, rng, device)
    if rng.random() < 0.35:
        image = image * _grown(truth, rng)
    return _crop(image, truth, rng)


def _grown(truth: Tensor, rng: np.random.Generator) -> Tensor:
    reach = int(rng.integers(0, 3))
    return box_max(truth, 2 * reach + 1)


def _crop(image: Tensor, truth: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    # a field of view that ends below the brain, or within it
    if rng.random() < 0.4:
        low = int(rng.integers(0, 26))
        image, truth = image.clone(), truth.clone()
        image[:low], truth[:low] = 0, 0
    if rng.random() < 0.3:
        shift = [int(v) for v in rng.integers(-6, 7, 3)]
        image, truth = torch.roll(image, shift, (0, 1, 2)), torch.roll(truth, shift, (0, 1, 2))
    return image, truth


def _warp(volume: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(volume[None, None], grid, mode=mode, align_corners=True)[0, 0]
