import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from fake_engine import fake_result
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ScanError
from napari_anomaly.findings import find
from napari_anomaly.geometry import Geometry
from napari_anomaly.plugin.layers import (
    SCAN,
    TOP,
    ResultLayers,
    display_codes,
    mask_layer,
    placement,
    prepare,
    role_of,
    scan_behind,
    scan_layer,
    scan_of,
    step_of,
    threshold_of,
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


# The slider's scale


def test_the_display_copy_is_exact_at_every_step() -> None:
    rng = np.random.default_rng(0)
    score = (1 - 10.0 ** -(rng.random((12, 13, 14)) * 6)).astype(np.float32)
    score[:2] = 0
    score[2, 0, :9] = [threshold_of(step) for step in (1, 2, 50, 51, 153, 200, 253, 254, 255)]
    score[3, 0, 0] = 1
    codes = display_codes(score)
    for step in range(1, TOP + 1):
        assert np.array_equal(codes >= step, score >= np.float32(threshold_of(step)))


def test_the_snapped_copy_is_what_findings_snap_to(scan: Scan) -> None:
    result = fake_result(scan)
    display = prepare(result.map, result.supervoxels)
    for step in range(1, TOP + 1, 7):
        findings = find(result.map, threshold_of(step), supervoxels=result.supervoxels)
        assert np.array_equal(display.snapped >= step, findings.labels > 0)


def test_voxels_of_no_supervoxel_go_by_their_own_score(scan: Scan) -> None:
    result = fake_result(scan)
    display = prepare(result.map, result.supervoxels)
    outside = result.supervoxels.ids == 0
    assert outside.any()
    assert np.array_equal(display.snapped[outside], display.plain[outside])


def test_steps_and_thresholds_go_back_and_forth() -> None:
    assert [step_of(threshold_of(step)) for step in range(1, TOP + 1)] == list(range(1, TOP + 1))
    assert step_of(0.999) == 153
    assert step_of(0.0) == 1
    assert step_of(1.0) == TOP


# The layers of a result


@pytest.fixture
def shown(viewer: ViewerModel, layer: Image, scan: Scan) -> ResultLayers:
    result = fake_result(scan)
    layers = ResultLayers(viewer, layer)
    layers.show_threshold(step_of(0.99))
    layers.show(prepare(result.map, result.supervoxels), scan)
    layers.show_findings(find(result.map, 0.99), scan)
    return layers


def test_a_result_is_four_layers_on_the_scan(viewer: ViewerModel, layer: Image, shown: ResultLayers) -> None:
    assert [role_of(each) for each in viewer.layers] == ["scan", "proxies", "supervoxels", "map", "mask"]
    assert [each.visible for each in viewer.layers] == [True, False, False, True, False]
    for each in viewer.layers:
        assert np.allclose(each.scale, layer.scale)
        assert np.allclose(each.translate, layer.translate)
        assert each.units == layer.units
    assert shown.shown("supervoxels").data.dtype == np.uint16
    assert shown.mask.data.dtype == np.uint8
    assert shown.map.data.dtype == np.uint8


def test_the_scan_stays_selected(viewer: ViewerModel, layer: Image, shown: ResultLayers) -> None:
    assert viewer.layers.selection.active is layer


def test_the_pixels_of_the_map_are_the_mask(shown: ResultLayers) -> None:
    shown.show_threshold(step_of(0.99))
    low, high = shown.map.contrast_limits
    colours = shown.map.colormap.map(np.clip((shown.map.data.ravel() - low) / (high - low), 0, 1))
    assert np.array_equal(colours[:, 3].reshape(shown.map.data.shape) > 0, shown.map.data >= low)
    score = value_of(shown.map.metadata)
    assert np.array_equal(shown.map.data > low, score >= np.float32(threshold_of(step_of(0.99))))


def test_the_slider_moves_only_the_limits(shown: ResultLayers) -> None:
    data = shown.map.data
    for step in (1, 128, TOP):
        shown.show_threshold(step)
        assert tuple(shown.map.contrast_limits) == (step - 0.5, TOP)
    assert shown.map.data is data


def test_a_second_result_updates_the_same_layers(
    viewer: ViewerModel, shown: ResultLayers, scan: Scan
) -> None:
    before = list(viewer.layers)
    score = np.zeros(scan.geometry.shape, dtype=np.float32)
    score[5, 5, 5] = 0.9999
    empty = AnomalyMap(score, scan.geometry, 0.5, "other", "1" * 64, 0.99, 0.0)
    shown.show(prepare(empty, fake_result(scan).supervoxels), scan)
    shown.show_findings(find(empty, 0.99), scan)
    assert list(viewer.layers) == before
    assert int(shown.mask.data.sum()) == 1
    assert value_of(shown.map.metadata) is empty.score


def test_a_layer_that_was_removed_is_made_again(viewer: ViewerModel, shown: ResultLayers, scan: Scan) -> None:
    viewer.layers.remove(shown.mask)
    assert shown.mask is None
    shown.show_findings(find(fake_result(scan).map, 0.99), scan)
    assert shown.mask in viewer.layers


def test_snap_shows_whole_supervoxels(shown: ResultLayers) -> None:
    plain = shown.map.data
    shown.show_snap(True)
    assert not np.array_equal(shown.map.data, plain)
    shown.show_snap(False)
    assert shown.map.data is plain


def test_painted_corrections_survive_the_threshold(shown: ResultLayers, scan: Scan) -> None:
    assert not shown.painted
    mask = shown.mask.data
    inside = tuple(np.argwhere(mask > 0)[0])
    outside = (0, 0, 0)
    mask[inside], mask[outside] = 0, 1
    assert shown.painted
    shown.show_findings(find(fake_result(scan).map, 0.9), scan)
    assert shown.mask.data[outside] == 1
    assert shown.mask.data[inside] == 0
    shown.show_findings(find(fake_result(scan).map, 0.99), scan)
    assert shown.mask.data[outside] == 1


def test_map_and_scan_are_protected_where_napari_can(shown: ResultLayers) -> None:
    if not hasattr(shown.map, "locked"):
        pytest.skip("this napari cannot protect layers")
    assert shown.map.locked
    assert not shown.mask.locked


def test_proxies_follow_the_window_of_the_scan(shown: ResultLayers) -> None:
    shown.set_window((3.0, 30.0))
    assert tuple(shown.shown("proxies").contrast_limits) == (3.0, 30.0)


def test_opacity_and_visibility(shown: ResultLayers) -> None:
    shown.set_opacity(0.3)
    assert shown.map.opacity == pytest.approx(0.3)
    assert shown.mask.opacity == 1.0
    shown.set_visible("mask", True)
    assert shown.mask.visible
    shown.hide()
    assert not shown.mask.visible
    assert not shown.map.visible


def test_3d_does_not_warn_of_the_outline(viewer: ViewerModel, shown: ResultLayers) -> None:
    shown.set_visible("mask", True)
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert shown.mask.contour == 1


# Back to files


def test_a_result_layer_knows_its_scan(shown: ResultLayers, scan: Scan) -> None:
    data, meta, _ = shown.mask.as_layer_data_tuple()
    assert scan_behind(data, meta, []) is scan


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
