import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from fake_engine import fake_result
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import find
from napari_anomaly.plugin.display import TOP, display_codes, prepare, step_of, threshold_of
from napari_anomaly.plugin.layers import role_of, scan_behind, scan_layer, value_of
from napari_anomaly.plugin.result_layers import ResultLayers
from napari_anomaly.scan import Scan


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def layer(viewer: ViewerModel, scan: Scan) -> Image:
    data, keywords, _ = scan_layer(scan)
    return viewer.add_image(data, **keywords)


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


def test_a_second_opinion_is_a_hidden_layer_below_the_map_that_goes_with_its_result(
    viewer: ViewerModel, shown: ResultLayers, scan: Scan
) -> None:
    result = fake_result(scan)
    opinion = np.clip(result.map.score - 0.05, 0, 1)
    shown.show(prepare(result.map, result.supervoxels, opinion), scan)
    layer = shown.shown("residual")
    assert layer.name.endswith("second opinion")
    assert not layer.visible
    assert np.array_equal(layer.data, display_codes(opinion))
    low, high = layer.contrast_limits
    colours = layer.colormap.map(np.clip((layer.data.ravel() - low) / (high - low), 0, 1))
    assert np.array_equal(
        colours[:, 3].reshape(layer.data.shape) > 0, opinion >= np.float32(threshold_of(51))
    )
    assert threshold_of(51) == pytest.approx(0.9)
    shown.set_opacity(0.3)
    assert layer.opacity == pytest.approx(0.3)
    layer.visible = True
    shown.show(prepare(result.map, result.supervoxels), scan)
    assert shown.shown("residual") is None
    assert not layer.visible
    assert not layer.data.any()


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


def test_a_result_layer_knows_its_scan(shown: ResultLayers, scan: Scan) -> None:
    data, meta, _ = shown.mask.as_layer_data_tuple()
    assert scan_behind(data, meta, []) is scan
