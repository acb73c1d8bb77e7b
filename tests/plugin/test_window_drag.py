from collections.abc import Callable
from types import SimpleNamespace

import napari
import numpy as np
import pytest
from napari.layers import Image

from fake_engine import FakeEngine
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.view import PLANES, Plane, set_plane
from napari_anomaly.plugin.window_drag import dragged
from napari_anomaly.scan import Scan


def test_right_is_wider_and_up_is_brighter() -> None:
    assert dragged((0.0, 100.0), 0, 0) == (0.0, 100.0)
    low, high = dragged((0.0, 100.0), 100, 0)
    assert (low + high) / 2 == pytest.approx(50)
    assert high - low > 100
    low, high = dragged((0.0, 100.0), 0, -40)
    assert (low, high) == pytest.approx((-10, 90))
    narrow = dragged((0.0, 100.0), -5000, 0)
    assert narrow[1] > narrow[0]


@pytest.fixture
def panel(make_napari_viewer: Callable[..., napari.Viewer], scan: Scan, screen: None) -> DetectPanel:
    viewer = make_napari_viewer(show=True)
    data, keywords, _ = scan_layer(scan)
    viewer.add_image(data, **keywords)
    panel = DetectPanel(viewer, FakeEngine())
    viewer.window.add_dock_widget(panel, name="Detect")
    return panel


def drag(panel: DetectPanel, button: int, *places: tuple[float, float]) -> list[bool]:
    """Press at the first place, move through the others, and let go; tell after each whether dragging zooms."""
    viewer, zooms = panel.viewer, []
    event = SimpleNamespace(button=button, modifiers=(), type="mouse_press", pos=np.array(places[0]))
    running = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks]
    moves = [("mouse_move", place) for place in places[1:]]
    for kind, place in [("mouse_press", places[0]), *moves, ("mouse_release", places[-1])]:
        event.type, event.pos = kind, np.array(place)
        for generator in running:
            next(generator, None)
        zooms.append(bool(viewer.scene.camera.mouse_zoom))
    return zooms


def test_a_drag_of_the_right_button_sets_the_window_and_does_not_zoom(panel: DetectPanel) -> None:
    layer = panel.viewer.layers[0]
    before = list(layer.contrast_limits)
    zooms = drag(panel, 2, (100, 100), (150, 100), (200, 100))
    assert zooms == [False, False, False, True]
    assert np.diff(layer.contrast_limits)[0] == pytest.approx(
        np.diff(before)[0] * np.exp(100 / 250), rel=1e-3
    )
    assert panel.show_.window_.currentIndex() == -1


def test_other_drags_and_drags_in_3d_are_as_always(panel: DetectPanel) -> None:
    layer = panel.viewer.layers[0]
    before = list(layer.contrast_limits)
    drag(panel, 1, (100, 100), (200, 200))
    panel.viewer.dims.ndisplay = 3
    assert all(drag(panel, 2, (100, 100), (200, 200)))
    assert list(layer.contrast_limits) == before


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_slab_shows_the_highest_of_it_and_the_slice_again_without(panel: DetectPanel, plane: Plane) -> None:
    viewer, layer = panel.viewer, panel.viewer.layers[0]
    assert isinstance(layer, Image)
    set_plane(viewer, plane)
    axis = PLANES[plane][0]
    at = int(np.round(layer.world_to_data(viewer.dims.point)[axis]))
    voxels = np.moveaxis(layer.data, axis, 0)
    alone = np.array(layer._slice.image.view)
    np.testing.assert_array_equal(np.sort(alone, axis=None), np.sort(voxels[at], axis=None))
    panel.show_.slab.setValue(int(np.ceil(2.2 * abs(layer.scale[axis]))))
    shown = np.array(layer._slice.image.view)
    assert any(
        np.array_equal(shown, voxels[low:high].max(axis=0))
        for low, high in [(at - 1, at + 2), (at - 1, at + 1), (at, at + 2), (at - 2, at + 3)]
    )
    assert not np.array_equal(shown, alone)
    panel.show_.slab.setValue(0)
    np.testing.assert_array_equal(layer._slice.image.view, alone)
