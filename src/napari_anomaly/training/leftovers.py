"""What programs leave around an extracted brain, and what they take from it: normal, and never an anomaly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_anomaly.pretask.shapes import field, share_around

CRESCENTS = 0.6
"""Share of the skull-stripped scans around which crescents of meninges, sinus or bone stay."""

BITES = 0.35
"""Share of the skull-stripped scans from which the extraction took pieces of the surface."""

SINUSES = 0.4
"""Share of the crescents that are the wall of a venous sinus: what lies between them and the brain is its flow void."""

_REACH = 17
"""Width in mm of the box mean that serves as distance; it knows about half of it on either side of a surface."""


def leave(image: Tensor, brain: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Put crescents around a brain, as brain extraction leaves them, and take bites out of its surface.

    A crescent is a shell of its own brightness and texture that follows the surface for a few centimetres. A gap of
    fluid or of nothing often parts it from the brain.

    Parameters
    ----------
    image : Tensor
        Intensities of the scan before anything is set to 0, shape (z, y, x).
    brain : Tensor
        The brain, bool, same shape.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    image : Tensor
        The scan with crescents.
    kept : Tensor
        What the extraction keeps: brain without the bites, crescents, gaps that hold fluid. Bool.
    """
    if not brain.any():
        return image, brain
    outward = distance(brain)
    kept = brain
    if rng.random() < CRESCENTS:
        inside = image[brain][::97].float()
        low, high = (float(value) for value in torch.quantile(inside, torch.tensor([0.05, 0.95]).to(inside)))
        # one scan, one contrast: its leftovers vary around a brightness of their own
        usual = float(rng.uniform(0.1, 1.4))
        for _ in range(int(rng.integers(1, 5))):
            level = low + (high - low) * float(np.clip(usual + rng.normal(0, 0.25), 0.05, 1.8))
            image, kept = _crescent(image, outward, (brain, kept), rng, level=level, low=low, span=high - low)
    if rng.random() < BITES:
        for _ in range(int(rng.integers(1, 4))):
            depth = float(rng.uniform(1, 6))
            bitten = _patch(outward, rng, radius=float(rng.uniform(8, 30)))
            kept = kept & ~((outward > -depth) & (outward <= 0) & (bitten > 0.5))
    return image, kept


def distance(brain: Tensor) -> Tensor:
    """Rough signed distance from the surface in voxels, positive outside, within about 8 voxels of it."""
    return (0.5 - share_around(brain, _REACH)) * _REACH


def _crescent(
    image: Tensor,
    outward: Tensor,
    regions: tuple[Tensor, Tensor],
    rng: np.random.Generator,
    *,
    level: float,
    low: float,
    span: float,
) -> tuple[Tensor, Tensor]:
    sides = tuple(image.shape)
    device = image.device
    patch = _patch(outward, rng, radius=float(np.exp(rng.uniform(np.log(8), np.log(45)))))
    gap = float(rng.choice([0.0, rng.uniform(0.5, 5.0)]))
    end = min(gap + float(rng.uniform(1.5, 5.0)), 8.0)
    wave = outward + float(rng.uniform(0, 1.2)) * field(
        sides, coarse=float(rng.uniform(6, 16)), seed=int(rng.integers(2**31)), device=device
    )
    brain, kept = regions
    around = (patch > 0.4) & ~brain & (outward > -1)
    shell = around & (wave > gap) & (wave < end)
    between = around & (wave <= gap) & ~shell
    if rng.random() < SINUSES:
        # a venous sinus lies in the angle of two folds of the brain, and is dark where blood flows
        void = (patch > 0.5) & (outward > -float(rng.uniform(2, 9))) & (outward < 8) & ~shell
        dark = low + span * float(rng.uniform(-0.15, 0.2))
        image = torch.where(void, dark + 0.1 * span * _grain(sides, rng, device), image)
        kept = kept | void
        between = between & ~void
    own = level + span * float(rng.uniform(0.03, 0.25)) * _grain(sides, rng, device)
    image = torch.where(shell, own.clamp(min=0.02 * span), image)
    kept = kept | shell
    if rng.random() < 0.5:
        # the gap is nothing, or it is dark, or it is what lies there in the scan
        if rng.random() < 0.5:
            image = torch.where(
                between, torch.full_like(image, low + span * float(rng.uniform(-0.1, 0.2))), image
            )
        kept = kept | between
    return image, kept


def _grain(sides: tuple[int, ...], rng: np.random.Generator, device: torch.device) -> Tensor:
    return field(sides, coarse=float(rng.uniform(2.5, 6)), seed=int(rng.integers(2**31)), device=device)


def _patch(outward: Tensor, rng: np.random.Generator, *, radius: float) -> Tensor:
    """Soft ball around a random place of the surface, with ragged borders; 1 in its middle."""
    surface = torch.nonzero(outward.abs() < 1)
    if not len(surface):
        return torch.zeros_like(outward)
    middle = surface[int(rng.integers(len(surface)))]
    axes = [
        ((torch.arange(side, device=outward.device) - int(place)) / radius) ** 2
        for side, place in zip(outward.shape, middle, strict=True)
    ]
    square = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]
    ragged = field(
        tuple(outward.shape),
        coarse=max(6.0, radius / 2),
        seed=int(rng.integers(2**31)),
        device=outward.device,
    )
    return torch.exp(-0.7 * square) * (1 + 0.25 * ragged)
