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
    layers.show_mask(find(result.map, 0.99).mask, scan)
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
    shown.show_mask(find(empty, 0.99).mask, scan)
    assert list(viewer.layers) == before
    assert int(shown.mask.data.sum()) == 1
    assert value_of(shown.map.metadata) is empty.score


def test_a_layer_that_was_removed_is_made_again(viewer: ViewerModel, shown: ResultLayers, scan: Scan) -> None:
    viewer.layers.remove(shown.mask)
    assert shown.mask is None
    shown.show_mask(find(fake_result(scan).map, 0.99).mask, scan)
    assert shown.mask in viewer.layers


def test_snap_shows_whole_supervoxels(shown: ResultLayers) -> None:
    plain = shown.map.data
    shown.show_snap(True)
    assert not np.array_equal(shown.map.data, plain)
    shown.show_snap(False)
    assert shown.map.data is plain


def test_strokes_are_what_was_painted_since(shown: ResultLayers) -> None:
    assert shown.strokes() is None
    mask = shown.mask.data
    inside = tuple(np.argwhere(mask > 0)[0])
    mask[inside], mask[0, 0, 0] = 0, 1
    flat, values = shown.strokes()
    assert flat.tolist() == [0, np.ravel_multi_index(inside, mask.shape)]
    assert values.tolist() == [1, -1]
    shown.keep_strokes((flat, values))
    assert shown.strokes() is None


def test_strokes_can_be_dropped(shown: ResultLayers) -> None:
    before = shown.mask.data.copy()
    shown.mask.data[0, 0, 0] = 1
    shown.drop_strokes()
    assert np.array_equal(shown.mask.data, before)


def test_a_new_mask_leaves_a_stroke_that_is_being_made(shown: ResultLayers, scan: Scan) -> None:
    data = shown.mask.data
    data[0, 0, 0] = 1
    shown.show_mask(find(fake_result(scan).map, 0.9).mask, scan)
    assert shown.mask.data is data
    assert shown.strokes()[0].tolist() == [0]


def test_regions_go_in_and_out_of_the_mask(shown: ResultLayers) -> None:
    place = (slice(0, 1), slice(0, 2), slice(0, 2))
    where = np.array([[[True, False], [False, True]]])
    shown.change_mask([(place, where, True)])
    assert np.array_equal(shown.mask.data[place] > 0, where)
    shown.change_mask([(place, where, False)])
    assert not shown.mask.data[place].any()
    assert shown.strokes() is None


def test_marks_are_drawn_anew_each_time(shown: ResultLayers, viewer: ViewerModel, scan: Scan) -> None:
    shown.show_marks([], scan)
    assert shown.shown("marks") is None
    one, two = (slice(0, 1),) * 3, (slice(1, 2),) * 3
    here = np.ones((1, 1, 1), dtype=bool)
    shown.show_marks([(one, here, 2), (two, here, 1)], scan)
    marks = shown.shown("marks").data
    assert (marks[0, 0, 0], marks[1, 1, 1], int((marks > 0).sum())) == (2, 1, 2)
    shown.show_marks([(two, here, 2)], scan)
    assert (marks[0, 0, 0], marks[1, 1, 1]) == (0, 2)
    assert role_of(viewer.layers.selection.active) == "scan"


def test_what_changes_within_a_block_is_drawn_once(
    shown: ResultLayers, viewer: ViewerModel, scan: Scan
) -> None:
    where, here = (slice(0, 1),) * 3, np.ones((1, 1, 1), dtype=bool)
    shown.show_marks([(where, here, 1)], scan)
    drawn: list[object] = []
    shown.shown("marks").events.set_data.connect(drawn.append)
    shown.show_marks([(where, here, 2)], scan)
    assert len(drawn) == 1
    with shown.drawn_once():
        with shown.drawn_once():
            shown.show_marks([], scan)
        shown.show_marks([(where, here, 1)], scan)
        assert len(drawn) == 1
    assert len(drawn) == 2
    with shown.drawn_once():
        shown.show_marks([(where, here, 2)], scan)
        viewer.dims.set_point(0, viewer.dims.point[0] + viewer.dims.range[0].step)
        assert len(drawn) == 3
    # Another slice has drawn it already.
    assert len(drawn) == 3


def test_outlines_that_were_hidden_are_shown_again(shown: ResultLayers, scan: Scan) -> None:
    where, here = (slice(0, 1),) * 3, np.ones((1, 1, 1), dtype=bool)
    shown.show_marks([(where, here, 1)], scan)
    layer = shown.shown("marks")
    layer.visible, layer.contour = False, 0
    shown.show_marks([(where, here, 2)], scan)
    assert (layer.visible, layer.contour, layer.data[0, 0, 0]) == (True, 1, 2)


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
