"""Shapes of synthetic anomalies: soft memberships on a local box of voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.boxes import box_mean


@dataclass(frozen=True, slots=True)
class Shape:
    """Where an anomaly is and what its outline looks like, as plain numbers.

    Parameters
    ----------
    centre : tuple of int
        Voxel index (z, y, x) of the middle; the grid has 1 mm voxels.
    radii : tuple of float
        Half axes in mm.
    turn : tuple of float
        Rotation vector in radians.
    rough : float
        0 is an ellipsoid, 1 is ragged.
    edge : float
        Width of the soft border in mm.
    seed : int
        Seed of the outline's irregularity.
    template : int
        Index into the library of real lesion shapes, -1 for a random shape.
    """

    centre: tuple[int, int, int]
    radii: tuple[float, float, float]
    turn: tuple[float, float, float]
    rough: float
    edge: float
    seed: int
    template: int = -1


def box(shape: Shape, grid: tuple[int, ...], *, margin: float = 1.6) -> tuple[slice, slice, slice]:
    """Voxels that a shape can reach, clipped to the grid.

    Parameters
    ----------
    shape : Shape
        The shape.
    grid : tuple of int
        Sides of the volume.
    margin : float, default 1.6
        Reach in radii; the soft edge is added.
    """
    reach = [int(np.ceil(max(shape.radii) * margin + 2 * shape.edge + 1))] * 3
    low = [max(0, c - r) for c, r in zip(shape.centre, reach, strict=True)]
    high = [min(n, c + r + 1) for c, r, n in zip(shape.centre, reach, grid, strict=True)]
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def membership(
    shape: Shape, grid: tuple[int, ...], *, library: Tensor | None, device: torch.device
) -> Tensor:
    """Soft membership of the shape within its `box`, 0 to 1.

    Parameters
    ----------
    shape : Shape
        The shape.
    grid : tuple of int
        Sides of the volume.
    library : Tensor or None
        Real lesion shapes, uint8, shape (shape, side, side, side), each filling its cube.
    device : torch.device
        Where to compute.
    """
    window = box(shape, grid)
    axes = [
        torch.arange(part.start, part.stop, device=device, dtype=torch.float32) - centre
        for part, centre in zip(window, shape.centre, strict=True)
    ]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    turned = offsets @ torch.from_numpy(rotation(shape.turn)).to(device)
    scaled = turned / torch.tensor(shape.radii, device=device)
    if shape.template >= 0 and library is not None:
        cube = library[shape.template % len(library)].to(device, torch.float32)[None, None]
        drawn = functional.grid_sample(cube, scaled.flip(-1)[None], align_corners=False)[0, 0]
        level = drawn - 0.5
    else:
        level = 1 - scaled.norm(dim=-1)
    level = level + shape.rough * 0.5 * field(tuple(level.shape), coarse=6.0, seed=shape.seed, device=device)
    return torch.sigmoid(level * min(shape.radii) * 4 / max(shape.edge, 0.3))


def field(sides: tuple[int, ...], *, coarse: float, seed: int, device: torch.device) -> Tensor:
    """Smooth random field of about unit variance.

    Parameters
    ----------
    sides : tuple of int
        Sides of the field in voxels.
    coarse : float
        Distance of its knots in voxels.
    seed : int
        Seed; the same seed gives the same field on the same device.
    device : torch.device
        Where to compute.
    """
    generator = torch.Generator(device).manual_seed(seed)
    knots = [max(2, round(side / coarse) + 1) for side in sides]
    noise = torch.randn((1, 1, *knots), generator=generator, device=device)
    smooth = functional.interpolate(noise, size=sides, mode="trilinear", align_corners=True)
    return smooth[0, 0] * 1.4


def share_around(region: Tensor, width: int) -> Tensor:
    """Share of a region in a cube around every voxel.

    Parameters
    ----------
    region : Tensor
        bool, shape (z, y, x).
    width : int
        Side of the cube in voxels, odd; beyond the grid there is nothing.
    """
    return box_mean(region.float(), width)


def rotation(vector: tuple[float, float, float]) -> np.ndarray:
    """Rotation matrix (float32) of a rotation vector, by Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.eye(3, dtype=np.float32)
    z, y, x = np.asarray(vector) / angle
    cross = np.array([[0, -x, y], [x, 0, -z], [-y, z, 0]])
    turned = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return np.asarray(turned, np.float32)
