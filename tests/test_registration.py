from dataclasses import replace

import numpy as np
import pytest

from napari_anomaly.errors import ScanError
from napari_anomaly.geometry import Geometry
from napari_anomaly.progress import drain
from napari_anomaly.registration import align
from napari_anomaly.samples import open_sample
from napari_anomaly.scan import Scan
from phantoms import oriented, rotation


@pytest.fixture(scope="module")
def fixed() -> Scan:
    """A real brain in voxels of 2 mm: a phantom is too round to tell how it is turned."""
    scan = open_sample("ms-flair")
    affine = scan.geometry.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    return Scan.from_array(scan.voxels[::2, ::2, ::2].astype(np.float32), affine=affine)


def moved(scan: Scan, turn: np.ndarray, shift: tuple[float, float, float]) -> Scan:
    """The same head, lying elsewhere in the scanner."""
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = turn, shift
    geometry = Geometry(scan.geometry.shape, place @ scan.geometry.affine)
    return Scan(scan.voxels, geometry, scan.source, scan.name)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])


def test_a_head_that_lay_elsewhere_comes_back(fixed: Scan) -> None:
    turn = rotation(6, -4, 8)
    lying = moved(fixed, turn, (14.0, -9.0, 6.0))
    found = drain(align(lying, fixed))
    assert found.voxels.shape == fixed.geometry.shape
    assert likeness(found.voxels, fixed.voxels) > 0.97
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert found.turned_degrees == pytest.approx(angle, abs=1.5)
    assert found.moved_mm > 5


def test_contrast_and_order_of_axes_do_not_matter(fixed: Scan) -> None:
    bent = np.sqrt(fixed.voxels.max() - np.asarray(fixed.voxels, np.float64))
    turned = Scan.from_array(
        np.transpose(bent, (2, 0, 1))[::-1].copy(),
        affine=fixed.geometry.affine @ np.linalg.inv(_permutation(fixed.geometry.shape)),
    )
    found = drain(align(turned, fixed))
    assert abs(likeness(found.voxels, bent)) > 0.95


def _permutation(shape: tuple[int, int, int]) -> np.ndarray:
    """From index (z, y, x) of an array to its index after a transpose to (x, z, y) and a flip of the first axis."""
    matrix = np.zeros((4, 4))
    matrix[0, 2], matrix[0, 3] = -1, shape[2] - 1
    matrix[1, 0] = matrix[2, 1] = matrix[3, 3] = 1
    return matrix


def test_without_millimetres_nothing_is_laid_over_another(fixed: Scan) -> None:
    unknown = replace(fixed, geometry=replace(fixed.geometry, unit="voxel"))
    with pytest.raises(ScanError, match="does not say how large its voxels are"):
        drain(align(unknown, fixed))


def test_an_empty_scan_is_refused(fixed: Scan) -> None:
    empty = Scan.from_array(np.zeros((20, 20, 20), np.float32), affine=oriented((2, 1, 0), (1, -1, -1)))
    with pytest.raises(ScanError, match="could not be laid over each other"):
        drain(align(empty, fixed))
