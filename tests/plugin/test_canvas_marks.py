from collections.abc import Iterator
from dataclasses import replace

import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_anomaly.plugin.canvas_marks import CanvasMarks, edge_letters, marks_of
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.view import set_plane
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.skipif(
    not hasattr(ViewerModel, "canvas") and "canvas" not in ViewerModel.model_fields,
    reason="napari before 0.9 has no place for letters",
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def layer(viewer: ViewerModel, scan: Scan) -> Image:
    data, keywords, _ = scan_layer(scan)
    return viewer.add_image(data, **keywords)


@pytest.fixture
def marks(viewer: ViewerModel, layer: Image) -> Iterator[CanvasMarks]:
    marks = marks_of(viewer)
    yield marks
    marks.close()


def shown(viewer: ViewerModel) -> list[str]:
    overlays = viewer.canvas.overlays
    return [each.text for name, each in overlays.items() if "anomaly" in name and each.visible]


@pytest.mark.parametrize(
    ("plane", "letters"),
    [("axial", "APRL"), ("coronal", "SIRL"), ("sagittal", "SIAP"), ("3d", "")],
)
def test_letters_follow_the_plane(viewer: ViewerModel, marks: CanvasMarks, plane: str, letters: str) -> None:
    set_plane(viewer, plane)
    assert "".join(edge_letters(viewer)) == "".join(shown(viewer)) == letters


def test_letters_follow_a_turned_canvas(viewer: ViewerModel, marks: CanvasMarks) -> None:
    viewer.scene.camera.orientation2d = ("up", "left")
    assert shown(viewer) == ["P", "A", "L", "R"]


def test_a_scan_that_does_not_say_which_side_is_left_has_no_letters(scan: Scan) -> None:
    viewer = ViewerModel()
    stack = replace(scan, source=replace(scan.source, format="tiff"))
    data, keywords, _ = scan_layer(stack)
    viewer.add_image(data, **keywords)
    marks = marks_of(viewer)
    assert shown(viewer) == []
    assert not viewer.canvas.overlays.scale_bar.visible
    marks.close()


def test_they_come_and_go_with_the_scan_and_the_box(
    viewer: ViewerModel, layer: Image, marks: CanvasMarks
) -> None:
    assert viewer.canvas.overlays.scale_bar.visible
    marks.show(False)
    assert shown(viewer) == []
    assert not viewer.canvas.overlays.scale_bar.visible
    marks.show(True)
    assert len(shown(viewer)) == 4
    viewer.layers.clear()
    assert shown(viewer) == []


def test_a_scale_bar_that_was_switched_off_stays_off(viewer: ViewerModel, marks: CanvasMarks) -> None:
    viewer.canvas.overlays.scale_bar.visible = False
    for plane in ("3d", "coronal", "axial"):
        set_plane(viewer, plane)
    assert not viewer.canvas.overlays.scale_bar.visible


def test_a_canvas_has_one_set_of_marks_and_none_when_they_are_gone(
    viewer: ViewerModel, marks: CanvasMarks
) -> None:
    assert marks_of(viewer) is marks
    marks.close()
    assert shown(viewer) == []
    assert marks_of(viewer) is not marks
