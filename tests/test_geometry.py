import numpy as np
import pytest

from napari_anomaly.errors import BadGeometry
from napari_anomaly.geometry import Geometry, index_matrix, reorder
from phantoms import ORIENTATIONS, oriented, rotation

SPACING = (2.5, 1.25, 0.5)


def test_from_spacing_points_superior_posterior_left() -> None:
    geometry = Geometry.from_spacing((4, 5, 6), SPACING)
    origin = geometry.index_to_mm(np.array([0, 0, 0]))
    np.testing.assert_allclose(geometry.index_to_mm(np.array([1, 0, 0])) - origin, (0, 0, 2.5))
    np.testing.assert_allclose(geometry.index_to_mm(np.array([0, 1, 0])) - origin, (0, -1.25, 0))
    np.testing.assert_allclose(geometry.index_to_mm(np.array([0, 0, 1])) - origin, (-0.5, 0, 0))
    np.testing.assert_allclose(geometry.index_to_mm(np.array([1.5, 2, 2.5])), (0, 0, 0), atol=1e-12)


def test_lengths() -> None:
    geometry = Geometry.from_spacing((4, 5, 6), SPACING)
    assert geometry.spacing == SPACING
    assert geometry.voxel_volume == pytest.approx(2.5 * 1.25 * 0.5)
    assert geometry.unit == "mm"
    assert geometry.obliquity == 0.0


@pytest.mark.parametrize("degrees", [1.0, 12.0, 40.0])
def test_obliquity_and_lengths_of_a_turned_grid(degrees: float) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees, 0, 0) @ np.diag(SPACING)
    geometry = Geometry((4, 5, 6), affine)
    assert geometry.obliquity == pytest.approx(degrees)
    assert geometry.spacing == pytest.approx(SPACING)
    assert geometry.voxel_volume == pytest.approx(np.prod(SPACING))


def test_index_and_mm_are_inverse() -> None:
    geometry = Geometry((4, 5, 6), oriented((1, 2, 0), (1, -1, 1), turn=rotation(10, 20, 30)))
    index = np.random.default_rng(0).uniform(0, 6, (7, 2, 3))
    np.testing.assert_allclose(geometry.mm_to_index(geometry.index_to_mm(index)), index)
    assert not np.allclose(geometry.index_to_mm(index), index)


def test_same_grid() -> None:
    geometry = Geometry.from_spacing((4, 5, 6), SPACING)
    moved = geometry.affine.copy()
    moved[0, 3] += 5e-4
    assert geometry.same_grid(Geometry((4, 5, 6), moved))
    assert not geometry.same_grid(Geometry((4, 5, 6), moved), tolerance_mm=1e-4)
    moved[0, 3] += 1
    assert not geometry.same_grid(Geometry((4, 5, 6), moved))
    assert not geometry.same_grid(Geometry((4, 5, 7), geometry.affine))
    assert not geometry.same_grid(Geometry((4, 5, 6), geometry.affine, "voxel"))


def test_same_grid_sees_a_turn_about_the_first_voxel() -> None:
    affine = np.eye(4)
    turned = affine.copy()
    turned[:3, :3] = rotation(0, 0, 0.1)
    assert Geometry((2, 2, 2), affine).same_grid(Geometry((2, 2, 2), turned), tolerance_mm=0.01)
    assert not Geometry((200, 200, 200), affine).same_grid(
        Geometry((200, 200, 200), turned), tolerance_mm=0.01
    )


def test_the_affine_is_a_read_only_copy() -> None:
    affine = np.eye(4)
    geometry = Geometry((1, 2, 3), affine)
    affine[0, 0] = 9.0
    assert geometry.affine[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 2.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_an_affine_that_is_not_finite(value: float) -> None:
    affine = np.eye(4)
    affine[1, 3] = value
    with pytest.raises(BadGeometry, match="not finite"):
        Geometry((2, 2, 2), affine)


@pytest.mark.parametrize("column", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)])
def test_refuses_a_singular_affine(column: tuple[float, float, float]) -> None:
    affine = np.eye(4)
    affine[:3, 2] = column
    with pytest.raises(BadGeometry, match="singular"):
        Geometry((2, 2, 2), affine)


def test_accepts_tiny_and_huge_voxels() -> None:
    assert Geometry.from_spacing((2, 2, 2), (1e-6, 1e-6, 1e-6)).voxel_volume == pytest.approx(1e-18)
    assert Geometry.from_spacing((2, 2, 2), (1e-4, 1e3, 1e3)).spacing == pytest.approx((1e-4, 1e3, 1e3))


def test_refuses_what_is_no_volume() -> None:
    with pytest.raises(BadGeometry, match="three positive lengths"):
        Geometry((0, 2, 2), np.eye(4))


@pytest.mark.parametrize("spacing", [(1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (np.nan, 1.0, 1.0), (1.0, 1.0)])
def test_refuses_a_spacing_that_is_not_positive(spacing: tuple[float, ...]) -> None:
    with pytest.raises(BadGeometry, match="three positive numbers"):
        Geometry.from_spacing((2, 2, 2), spacing)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (14, -9, 21)])
def test_reorder_brings_all_48_orientations_to_superior_posterior_left(order, signs, degrees) -> None:
    affine = oriented(order, signs, turn=rotation(*degrees))
    found, flips = reorder(affine)
    turned = affine @ index_matrix((3, 4, 5), found, flips)
    columns = turned[:3, :3] / np.linalg.norm(turned[:3, :3], axis=0)
    # Every array axis leans to its own direction more than to any other.
    assert np.abs(columns).argmax(axis=0).tolist() == [2, 1, 0]
    assert columns[2, 0] > 0
    assert columns[1, 1] < 0
    assert columns[0, 2] < 0


def test_reorder_gives_every_axis_once_under_strong_shear() -> None:
    affine = np.eye(4)
    affine[:3, 1] = (0.9, 0.5, 0.0)
    affine[:3, 2] = (0.0, 0.8, 0.6)
    order, _ = reorder(affine)
    assert sorted(order) == [0, 1, 2]


def test_index_matrix_points_at_the_same_voxel() -> None:
    shape = (3, 4, 5)
    array = np.arange(60).reshape(shape)
    order, flips = (2, 0, 1), (True, False, True)
    turned = np.flip(array.transpose(order), [0, 2])
    matrix = index_matrix(shape, order, flips)
    for index in np.ndindex(turned.shape):
        i, j, k = (matrix @ (*index, 1))[:3].astype(int)
        assert turned[index] == array[i, j, k]
