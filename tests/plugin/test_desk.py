"""What the docks of one window share, without a screen."""

import gc
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from fake_engine import fake_result
from napari_anomaly.errors import ReviewError, ScanError
from napari_anomaly.plugin.desk import Desk, desk_of
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.review import Verdict
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def outcome_of(scan: Scan) -> Outcome:
    result = fake_result(scan)
    return Outcome(result, prepare(result.map, result.supervoxels))


def test_all_docks_of_a_window_share_a_desk(viewer: ViewerModel) -> None:
    one, two = object(), object()
    desk = desk_of(viewer)
    desk.enter(one)
    desk.enter(two)
    assert desk_of(viewer) is desk
    assert desk_of(ViewerModel()) is not desk
    desk.leave(one)
    assert desk_of(viewer) is desk
    desk.leave(two)
    assert desk_of(viewer) is not desk


def test_a_desk_that_nobody_uses_is_forgotten(viewer: ViewerModel) -> None:
    def number() -> int:
        return id(desk_of(viewer))

    number()
    gc.collect()
    fresh = desk_of(viewer)
    assert fresh.case is None


def test_a_dock_hears_until_it_leaves(viewer: ViewerModel, scan: Scan) -> None:
    desk, heard = Desk(viewer), []
    seat = object()
    desk.enter(object())
    desk.enter(seat, (desk.case_changed, lambda: heard.append("case")))
    data, keywords, _ = scan_layer(scan)
    layer = viewer.add_image(data, **keywords)
    desk.choose(layer)
    assert heard == ["case"]
    desk.leave(seat)
    desk.choose(None)
    assert heard == ["case"]


def test_errors_are_told(viewer: ViewerModel) -> None:
    desk, told = Desk(viewer), []
    desk.problem.connect(told.append)

    def fail() -> None:
        raise ReviewError("no")

    assert not desk.heard(fail)
    assert [str(error) for error in told] == ["no"]
    assert desk.heard(lambda: None)


def test_a_layer_that_is_no_scan_is_not_read(viewer: ViewerModel) -> None:
    desk = Desk(viewer)
    with pytest.raises(ScanError, match="not one greyscale image"):
        desk.choose(viewer.add_image(np.zeros((2, 3, 4, 5)), name="series"))
    assert desk.case is None


def test_a_closed_layer_is_put_away(viewer: ViewerModel, scan: Scan, reviews: Path) -> None:
    desk = Desk(viewer)
    case = desk.show_scan(scan, outcome_of(scan))
    case.session.judge([case.session.findings.items[0].id], Verdict.REAL)
    assert case.journal is not None
    viewer.layers.remove(case.layer)
    assert desk.case is None
    assert case.journal is None
    assert not desk.knows(case.layer)
    assert len(list(reviews.iterdir())) == 1


def test_the_next_scan_takes_the_layers_of_the_one_before(viewer: ViewerModel, scan: Scan) -> None:
    desk = Desk(viewer)
    first = desk.show_scan(scan, outcome_of(scan))
    desk.count()
    layers = list(viewer.layers)
    other = phantom((12, 14, 16), lesion_mm=20.0)
    second = desk.show_scan(other, outcome_of(other))
    assert second is first is desk.case
    assert second.scan is other
    assert list(viewer.layers) == layers
    assert second.layer.data.shape == (12, 14, 16)
    assert second.layers.map.data.shape == (12, 14, 16)
    assert np.allclose(second.layers.map.scale, second.layer.scale)
    assert np.allclose(second.layer.translate, scan_layer(other)[1]["translate"])


def test_nobody_hears_of_the_next_scan_without_a_worklist(viewer: ViewerModel) -> None:
    desk, asked = Desk(viewer), []
    assert not desk.ask_next()
    desk.next_wanted.connect(lambda: asked.append(1))
    assert desk.ask_next()
    assert asked == [1]
