"""Three planes at once, in a real window."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import napari
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from fake_engine import FakeEngine
from napari_anomaly.plugin.canvas_marks import edge_letters
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.view import PLANES, set_plane
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")
manager_of = pytest.importorskip("napari_orthogonal_views.ortho_view_manager")._get_manager


@pytest.fixture
def panel(
    make_napari_viewer: Callable[..., napari.Viewer], scan: Scan, qtbot: QtBot
) -> Iterator[DetectPanel]:
    viewer = make_napari_viewer(show=True)
    data, keywords, _ = scan_layer(scan)
    viewer.add_image(data, **keywords)
    panel = DetectPanel(viewer, FakeEngine())
    viewer.window.add_dock_widget(panel, name="Detect")
    yield panel
    manager_of(viewer).cleanup()


def test_the_other_two_planes_are_upright_whichever_is_large(panel: DetectPanel, qtbot: QtBot) -> None:
    linked = panel.show_.linked
    qtbot.mouseClick(linked, Qt.MouseButton.LeftButton)
    manager = manager_of(panel.viewer)
    assert manager.is_shown()
    upright = {PLANES[plane] for plane in ("axial", "coronal", "sagittal")}
    for plane in ("axial", "coronal", "sagittal"):
        set_plane(panel.viewer, plane)
        small = [manager.right_widget, manager.bottom_widget]
        orders = {tuple(widget.qt_viewer.dims.dims.order) for widget in small}
        assert orders | {PLANES[plane]} == upright
    assert manager.crosshair_overlay.visible
    panel.viewer.dims.current_step = (5, 6, 7)
    assert {tuple(widget.qt_viewer.dims.dims.point) for widget in small} == {tuple(panel.viewer.dims.point)}
    qtbot.mouseClick(linked, Qt.MouseButton.LeftButton)
    assert not manager.is_shown()


def test_every_canvas_says_which_side_lies_at_its_edges(panel: DetectPanel, qtbot: QtBot) -> None:
    qtbot.mouseClick(panel.show_.linked, Qt.MouseButton.LeftButton)
    manager = manager_of(panel.viewer)
    models = [w.vm_container.viewer_model for w in (manager.right_widget, manager.bottom_widget)]
    assert {edge_letters(model) for model in models} == {("S", "I", "A", "P"), ("S", "I", "R", "L")}
    edges = [
        overlay for model in models for name, overlay in model.canvas.overlays.items() if "anomaly" in name
    ]
    assert len(edges) == 8
    assert all(overlay.visible for overlay in edges)
    assert not any(model.canvas.overlays.axes.visible for model in (panel.viewer, *models))
    panel.show_.marks.click()
    assert not any(overlay.visible for overlay in edges)
    qtbot.mouseClick(panel.show_.linked, Qt.MouseButton.LeftButton)


def test_the_button_follows_the_other_plugins_own_box(panel: DetectPanel, qtbot: QtBot) -> None:
    linked = panel.show_.linked
    qtbot.mouseClick(linked, Qt.MouseButton.LeftButton)
    manager = manager_of(panel.viewer)
    box = manager.main_controls_widget.show_checkbox
    box.click()
    assert not manager.is_shown()
    assert not linked.isChecked()
    box.click()
    assert manager.is_shown()
    assert linked.isChecked()
    orders = {tuple(w.qt_viewer.dims.dims.order) for w in (manager.right_widget, manager.bottom_widget)}
    assert orders | {PLANES["axial"]} == {PLANES[plane] for plane in ("axial", "coronal", "sagittal")}
    qtbot.mouseClick(linked, Qt.MouseButton.LeftButton)
    assert not manager.is_shown()


WITHOUT = """
import sys

class Gone:
    def find_spec(self, name, *_):
        if name == "napari_orthogonal_views":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Gone())
from napari_anomaly.plugin.view import link_planes

link_planes(None, True)
"""


def test_without_the_extra_its_name_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert "pip install 'napari-anomaly[planes]'" in done.stderr
