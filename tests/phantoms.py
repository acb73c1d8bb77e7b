"""Known arrays and files that several tests start from."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_anomaly.anomaly import AnomalyMap, FalseFindings, Supervoxels
from napari_anomaly.findings import Findings, find
from napari_anomaly.geometry import Geometry
from napari_anomaly.scan import Scan

SHA = "0" * 64
ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]


def oriented(order: tuple[int, ...], signs: tuple[float, ...], *, turn: NDArray[np.float64] | None = None):
    """Build an affine whose file axis a runs along world axis order[a], each with a spacing of its own."""
    affine = np.zeros((4, 4))
    for axis, (row, sign, step) in enumerate(zip(order, signs, (0.7, 1.3, 2.5), strict=True)):
        affine[row, axis] = sign * step
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:, 3] = (-11.5, 7.25, 31.0, 1.0)
    return affine


def rotation(*degrees: float) -> NDArray[np.float64]:
    """Turn about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[[a, b], [a, b]] = np.cos(angle)
        one[b, a], one[a, b] = np.sin(angle), -np.sin(angle)
        turn = one @ turn
    return turn


def a_map(
    score, *, raw=None, geometry: Geometry | None = None, table: FalseFindings | None = None
) -> AnomalyMap:
    """Wrap scores into a map."""
    score = np.asarray(score, dtype=np.float32)
    geometry = geometry or Geometry.from_spacing(score.shape, (1.0, 1.0, 1.0))
    return AnomalyMap(score, geometry, 0.5, "test", SHA, 0.9, 0.0, table, raw)


def blocks(shape: tuple[int, int, int], side: int, geometry: Geometry | None = None) -> Supervoxels:
    """Cut a grid into cubes, numbered from 1."""
    counts = [-(-n // side) for n in shape]
    index = np.indices(shape) // side
    ids = (np.ravel_multi_index(index, counts) + 1).astype(np.uint16)
    return Supervoxels(ids, ids.astype(np.float32), geometry or Geometry.from_spacing(shape, (1.0, 1.0, 1.0)))


def a_case(scan: Scan) -> tuple[AnomalyMap, Supervoxels, Findings]:
    """Make map, supervoxels and findings on the grid of a scan: two bright boxes."""
    score = np.full(scan.geometry.shape, 0.1, dtype=np.float32)
    score[1:3, 1:4, 1:3] = 0.95
    score[2, 2, 2] = 0.999
    score[-2:, -2:, -2:] = 0.97
    anomaly_map = a_map(score, geometry=scan.geometry)
    return anomaly_map, blocks(scan.geometry.shape, 2, scan.geometry), find(anomaly_map, 0.9)


def save_nifti(path: Path, array, affine) -> Path:
    """Write a NIfTI file with nibabel, in mm."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
    return path


def patch(path: Path, place: int, values, dtype: str) -> Path:
    """Overwrite bytes of an uncompressed file; places in a NIfTI-1 header stand in its standard."""
    raw = bytearray(path.read_bytes())
    new = np.atleast_1d(np.array(values, dtype)).tobytes()
    raw[place : place + len(new)] = new
    path.write_bytes(raw)
    return path
