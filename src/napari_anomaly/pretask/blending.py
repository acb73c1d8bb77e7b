"""Ways to paint an anomaly: pure functions of a patch, its soft membership and a few numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.boxes import box_mean


def smooth(patch: Tensor, width: int) -> Tensor:
    """Box mean over `width` voxels (odd), reflecting nothing: the border counts fewer voxels."""
    if width < 2 or min(patch.shape) < width:
        return patch
    return box_mean(patch, width) / box_mean(torch.ones_like(patch), width)


def shift(patch: Tensor, alpha: Tensor, amount: float, texture: Tensor | None = None) -> Tensor:
    """Add `amount` (a share of the brain's range) where the anomaly is; `texture` varies it around 1."""
    change = alpha * amount
    return patch + (change if texture is None else change * (1 + texture).clamp(0.2, 2.0))


def replace(patch: Tensor, alpha: Tensor, target: float, texture: Tensor | None = None) -> Tensor:
    """Put tissue of intensity `target` in place: its own structure is lost, as in a cavity or a tumour."""
    fill = target if texture is None else target + texture
    return patch * (1 - alpha) + alpha * fill


def rim(patch: Tensor, alpha: Tensor, wall: float, core: float) -> Tensor:
    """Ring of intensity `wall` around a core of intensity `core`, as in an enhancing or necrotic lesion."""
    inner = ((alpha - 0.6) / 0.4).clamp(0, 1)
    return patch * (1 - alpha) + alpha * (wall * (1 - inner) + core * inner)


def transplant(patch: Tensor, alpha: Tensor, foreign: Tensor) -> Tensor:
    """Copy-paste of `foreign`, a patch of the same shape from elsewhere (Kang & Park 2022; softly blended)."""
    return patch * (1 - alpha) + alpha * foreign


def blur(patch: Tensor, alpha: Tensor, width: int) -> Tensor:
    """Local loss of detail."""
    return patch * (1 - alpha) + alpha * smooth(smooth(patch, width), width)


def displace(patch: Tensor, centre: tuple[float, float, float], radius: float, strength: float) -> Tensor:
    """Push tissue away from a centre (strength > 0, mass effect) or draw it in (strength < 0, shrinkage).

    Parameters
    ----------
    patch : Tensor
        Shape (z, y, x).
    centre : tuple of float
        Middle of the push in voxels of the patch.
    radius : float
        Reach of the push in voxels.
    strength : float
        Largest displacement as a share of the radius, -0.6 to 0.6.
    """
    sides = torch.tensor(patch.shape, device=patch.device, dtype=torch.float32)
    axes = [torch.arange(side, device=patch.device, dtype=torch.float32) for side in patch.shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    offset = index - torch.tensor(centre, device=patch.device)
    distance = offset.norm(dim=-1, keepdim=True) / radius
    bump = (1 - distance**2).clamp(min=0) ** 2
    source = index - offset * bump * strength
    unit = (2 * source + 1) / sides - 1
    return functional.grid_sample(
        patch[None, None], unit.flip(-1)[None], padding_mode="border", align_corners=False
    )[0, 0]
