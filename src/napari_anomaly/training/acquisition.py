"""What a scanner makes of what lies in it: resolution, gain, ghosts and noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def acquire(image: Tensor, rng: np.random.Generator, device: torch.device) -> Tensor:
    """What a scanner adds: resolution (thick slices too), bias field, noise, ghosts."""
    result = image[None, None]
    if rng.random() < 0.6:
        width = float(rng.uniform(0.35, 0.9))
        result = _gauss(result, width)
    if rng.random() < 0.35:
        result = _thicken(result, rng)
    if rng.random() < 0.25:
        small = functional.interpolate(result, scale_factor=float(rng.uniform(0.5, 0.85)), mode="trilinear")
        result = functional.interpolate(small, size=image.shape, mode="trilinear")
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**31)))
    if rng.random() < 0.8:
        knots = torch.randn((1, 1, 4, 4, 4), generator=generator, device=device) * float(
            rng.uniform(0.02, 0.22)
        )
        result = (
            result
            * functional.interpolate(knots, size=image.shape, mode="trilinear", align_corners=True).exp()
        )
    if rng.random() < 0.08:
        ghost = torch.roll(result, int(rng.integers(15, 70)), dims=int(rng.integers(3, 5)))
        result = result + float(rng.uniform(0.02, 0.07)) * ghost
    if rng.random() < 0.85:
        level = float(np.exp(rng.uniform(np.log(0.004), np.log(0.07))))
        result = result + level * torch.randn(image.shape, generator=generator, device=device)
    return result[0, 0]


def _thicken(image: Tensor, rng: np.random.Generator) -> Tensor:
    axis = int(rng.choice([0, 1, 2], p=[0.75, 0.1, 0.15]))
    thickness = int(rng.integers(2, 9))
    kernel, stride = [1, 1, 1], [1, 1, 1]
    kernel[axis], stride[axis] = max(1, round(thickness * rng.uniform(0.7, 1))), thickness
    return functional.interpolate(
        functional.avg_pool3d(image, kernel, stride), size=image.shape[2:], mode="trilinear"
    )


def _gauss(image: Tensor, sigma: float) -> Tensor:
    reach = 2
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma) ** 2)
    weights = weights / weights.sum()
    for axis in range(3):
        sides = [1, 1, 1]
        sides[axis] = 2 * reach + 1
        padding = [reach if other == axis else 0 for other in range(3)]
        image = functional.conv3d(image, weights.view(1, 1, *sides), padding=padding)
    return image
