import numpy as np
import pytest

from napari_anomaly.errors import BadGeometry, GridMismatch, UnreadableScan
from napari_anomaly.geometry import Geometry
from napari_anomaly.scan import Scan, hash_array
from phantoms import ORIENTATIONS, oriented, rotation

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_a_voxel_keeps_its_value_and_its_place(order, signs) -> None:
    affine = oriented(order, signs, turn=rotation(8, -5, 12))
    scan = Scan.from_array(ARRAY, affine=affine)
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels), ARRAY)
    index = np.array(list(np.ndindex(scan.voxels.shape)))
    in_file = scan.source.index_to_file(index)
    assert in_file.dtype.kind == "i"
    np.testing.assert_array_equal(scan.voxels[tuple(index.T)], ARRAY[tuple(in_file.T)])
    mm = in_file @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(scan.geometry.index_to_mm(index), mm, atol=1e-12)


def test_fractions_of_an_index_follow() -> None:
    scan = Scan.from_array(ARRAY, affine=oriented((0, 1, 2), (-1, -1, -1)))
    # L, P, I: z is file axis 2 backwards, y is axis 1, x is axis 0.
    np.testing.assert_allclose(scan.source.index_to_file(np.array([0.25, 1.5, 2.0])), (2.0, 1.5, 3.75))


def test_without_affine_the_axes_stay() -> None:
    scan = Scan.from_array(ARRAY, spacing=(3, 2, 1), name="here")
    np.testing.assert_array_equal(scan.voxels, ARRAY)
    assert scan.geometry.spacing == (3, 2, 1)
    assert (scan.name, scan.modality, scan.notes) == ("here", None, ())
    assert scan.geometry.unit == "mm"
    assert Scan.from_array(ARRAY, unit="voxel").geometry.unit == "voxel"


def test_voxels_are_read_only_and_in_c_order() -> None:
    scan = Scan.from_array(np.asfortranarray(ARRAY))
    assert scan.voxels.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        scan.voxels[0, 0, 0] = 1


def test_booleans_become_numbers() -> None:
    assert Scan.from_array(ARRAY > 3).voxels.dtype == np.uint8


def test_refuses_what_is_not_a_real_number() -> None:
    with pytest.raises(UnreadableScan, match="complex64; one real number per voxel"):
        Scan.from_array(np.zeros((2, 2, 2), dtype=np.complex64))


def test_refuses_a_grid_of_another_shape() -> None:
    scan = Scan.from_array(ARRAY)
    other = Geometry.from_spacing((4, 4, 5), (1, 1, 1))
    with pytest.raises(GridMismatch, match=r"\(3, 4, 5\).*\(4, 4, 5\)"):
        Scan(scan.voxels, other, scan.source, "x")
    with pytest.raises(GridMismatch, match=r"\(4, 4, 5\).*\(3, 4, 5\)"):
        scan.source.to_file(np.zeros((4, 4, 5)))


def test_refuses_a_singular_affine() -> None:
    with pytest.raises(BadGeometry, match="singular"):
        Scan.from_array(ARRAY, affine=np.zeros((4, 4)))


def test_the_fingerprint_tells_scans_apart() -> None:
    scan = Scan.from_array(ARRAY)
    assert len(scan.sha256) == 64
    assert scan.sha256 == Scan.from_array(ARRAY.copy(), name="other").sha256
    changed = ARRAY.copy()
    changed[2, 3, 4] += 1
    others = [
        Scan.from_array(changed),
        Scan.from_array(ARRAY.astype(np.int32)),
        Scan.from_array(ARRAY, spacing=(1, 1, 2)),
        Scan.from_array(ARRAY.reshape(5, 4, 3)),
    ]
    assert len({scan.sha256, *(other.sha256 for other in others)}) == 5


def test_hash_of_a_large_array_is_that_of_its_bytes() -> None:
    large = np.zeros((1 << 24) + 3, dtype=np.uint8)
    before = hash_array(large)
    large[-1] = 1
    assert hash_array(large) != before
