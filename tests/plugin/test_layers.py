import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_anomaly.errors import ScanError
from napari_anomaly.geometry import Geometry
from napari_anomaly.plugin.layers import (
    SCAN,
    mask_layer,
    placement,
    role_of,
    scan_behind,
    scan_layer,
    scan_of,
    value_of,
)
from napari_anomaly.scan import Scan


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def layer(viewer: ViewerModel, scan: Scan) -> Image:
    data, keywords, _ = scan_layer(scan)
    return viewer.add_image(data, **keywords)


def world_of(geometry: Geometry, index: tuple[float, float, float]) -> np.ndarray:
    right, anterior, superior = geometry.index_to_mm(np.array(index))
    return np.array([-superior, -anterior, -right])


# A scan in the world


def test_the_world_is_inferior_posterior_left_in_mm(layer: Image, scan: Scan) -> None:
    for index in ((0, 0, 0), (3, 4, 5), (19, 23, 21)):
        assert np.allclose(layer.data_to_world(index), world_of(scan.geometry, index))
    assert layer.scale[0] < 0
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


def test_the_array_is_shown_without_a_copy(layer: Image, scan: Scan) -> None:
    assert layer.data is scan.voxels


def test_anisotropic_voxels_keep_their_size() -> None:
    assert placement(Geometry.from_spacing((4, 5, 6), (5.0, 0.5, 0.7)))["scale"] == (-5.0, 0.5, 0.7)


def test_an_unknown_size_is_shown_in_voxels_never_in_mm() -> None:
    scan = Scan.from_array(np.zeros((3, 4, 5)), unit="voxel")
    assert placement(scan.geometry)["units"] == ("pixel",) * 3


def test_an_oblique_scan_keeps_its_own_axes() -> None:
    turned = np.eye(4)
    angle = np.radians(20)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    scan = Scan.from_array(np.zeros((4, 5, 6)), affine=turned @ np.diag([2.0, 2.0, 3.0, 1.0]))
    data, keywords, _ = scan_layer(scan)
    layer = Image(data, **keywords)
    assert np.allclose(layer.affine.affine_matrix, np.eye(4))
    assert np.allclose(np.abs(layer.scale), scan.geometry.spacing)


def test_a_scan_comes_back_from_its_layer(layer: Image, scan: Scan) -> None:
    assert scan_of(layer) is scan
    assert role_of(layer) == "scan"


def test_a_layer_that_was_changed_gives_the_changed_scan(layer: Image, scan: Scan) -> None:
    layer.data = np.asarray(scan.voxels) * 2
    changed = scan_of(layer)
    assert changed.voxels.max() == 2 * scan.voxels.max()
    assert changed.geometry.same_grid(scan.geometry)


@pytest.mark.parametrize(
    ("keywords", "spacing", "unit"),
    [
        ({"scale": (3, 1, 2), "units": ("mm",) * 3}, (3, 1, 2), "mm"),
        ({"scale": (-3, 1, 2), "units": ("mm",) * 3}, (3, 1, 2), "mm"),
        ({"scale": (3000, 1000, 2000), "units": ("um",) * 3}, (3, 1, 2), "mm"),
        ({"affine": np.diag([3, 1, 2, 1]), "units": ("mm",) * 3}, (3, 1, 2), "mm"),
        ({"scale": (3, 1, 2)}, (3, 1, 2), "voxel"),
        ({}, (1, 1, 1), "voxel"),
    ],
)
def test_the_spacing_of_a_foreign_layer(keywords: dict, spacing: tuple, unit: str) -> None:
    found = scan_of(Image(np.zeros((4, 5, 6)), name="foreign", **keywords))
    assert found.geometry.spacing == pytest.approx(spacing)
    assert found.geometry.unit == unit
    assert found.name == "foreign"


@pytest.mark.parametrize(
    "layer",
    [
        Image(np.zeros((2, 3, 4, 5)), name="series"),
        Image(np.zeros((3, 4, 3)), rgb=True, name="photo"),
        Labels(np.zeros((2, 3, 4), dtype=int), name="drawn"),
    ],
    ids=lambda layer: layer.name,
)
def test_what_is_not_a_scan_says_so(layer: Image) -> None:
    with pytest.raises(ScanError, match="is not one greyscale image in 3D"):
        scan_of(layer)


def test_a_mask_lies_on_its_scan(layer: Image, scan: Scan) -> None:
    voxels = (scan.voxels > 100).astype(np.int16)
    mask = Scan(voxels, scan.geometry, scan.source, "head_mask")
    data, keywords, kind = mask_layer(mask)
    labels = Labels(data, **keywords)
    assert kind == "labels"
    assert data.dtype == np.uint8
    assert np.allclose(labels.translate, layer.translate)
    assert np.allclose(labels.scale, layer.scale)


# Back to files


def test_a_layer_drawn_by_hand_belongs_to_the_scan_under_it(layer: Image, scan: Scan) -> None:
    drawn = Labels(np.zeros(scan.geometry.shape, dtype=int), scale=layer.scale, translate=layer.translate)
    data, meta, _ = drawn.as_layer_data_tuple()
    assert scan_behind(data, meta, [layer]) is scan
    elsewhere = {**meta, "translate": np.array([1.0, 2.0, 3.0])}
    assert scan_behind(data, elsewhere, [layer]) is not scan


def test_a_layer_without_a_scan_keeps_its_spacing() -> None:
    drawn = Labels(np.zeros((3, 4, 5), dtype=int), scale=(3, 1, 2), units=("mm",) * 3)
    data, meta, _ = drawn.as_layer_data_tuple()
    assert scan_behind(data, meta, []).geometry.spacing == pytest.approx((3, 1, 2))


def test_a_flat_layer_cannot_be_written() -> None:
    with pytest.raises(ScanError, match="has 2 axes"):
        scan_behind(np.zeros((3, 4)), {}, [])


def test_metadata_of_the_scan_is_the_scan(layer: Image, scan: Scan) -> None:
    assert layer.metadata[SCAN] is scan
    assert value_of(layer.metadata) is None
