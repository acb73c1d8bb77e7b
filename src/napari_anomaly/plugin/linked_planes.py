"""Three planes at once, linked by a crosshair: napari-orthogonal-views, with every plane as radiologists hang it."""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod

import numpy as np
from napari.components import ViewerModel
from napari_orthogonal_views.cross_hair_overlay import VispyCrosshairOverlay
from napari_orthogonal_views.ortho_view_manager import (
    OrthoViewManager,
    _get_manager,  # what its documentation tells others to use
)
from qtpy.QtCore import QTimer

from napari_anomaly.plugin.canvas_marks import CanvasMarks, marks_of
from napari_anomaly.plugin.view import current_plane

__all__ = ["show_linked"]

_UPRIGHT = {
    "axial": ((-1, -3, -2), (-2, -3, -1)),
    "coronal": ((-1, -2, -3), (-2, -3, -1)),
    "sagittal": ((-1, -2, -3), (-2, -1, -3)),
}
"""Axes of the view at the right and of the one below, as places in the axes of the canvas, by its plane.

Left as they are, one of the two lies on its side.
"""

_SETTLED_MS = 250

_hanging: WeakKeyDictionary[OrthoViewManager, Any] = WeakKeyDictionary()
_marks: WeakKeyDictionary[Any, CanvasMarks] = WeakKeyDictionary()
_told: WeakKeyDictionary[OrthoViewManager, WeakMethod[Callable[[bool], None]]] = WeakKeyDictionary()


def show_linked(viewer: ViewerModel, on: bool, tell: Callable[[bool], None] | None = None) -> None:
    """Show or hide the other two planes beside the canvas.

    Parameters
    ----------
    viewer
        The viewer itself, with a window.
    on
        Whether to show them.
    tell
        Method that is told when the other plugin's own box shows or hides them.
    """
    manager = _get_manager(viewer)
    if tell is not None:
        if manager not in _told:
            manager.main_controls_widget.show_checkbox.toggled.connect(partial(_follow, viewer))
        _told[manager] = WeakMethod(tell)
    if not on:
        manager.hide()
        _keep_hung(viewer, False)
        return
    viewer.dims.ndisplay = 2
    manager.show()
    _keep_hung(viewer, True)
    # What is shown fits the canvases only when they have their sizes.
    rest = QTimer(manager.right_widget)
    rest.setSingleShot(True)
    rest.timeout.connect(partial(_settle, viewer))
    rest.start(_SETTLED_MS)


def _settle(viewer: ViewerModel) -> None:
    viewer.reset_view()
    marks_of(viewer).settle()


def _follow(viewer: ViewerModel, on: bool) -> None:
    """Do as the other plugin's box did; it has shown or hidden the planes before it says so."""
    _keep_hung(viewer, on)
    method = _told[_get_manager(viewer)]()
    if method is not None:
        method(on)


def _keep_hung(viewer: ViewerModel, on: bool) -> None:
    manager = _get_manager(viewer)
    if manager in _hanging:
        viewer.dims.events.order.disconnect(_hanging.pop(manager))
    if on:
        _hanging[manager] = viewer.dims.events.order.connect(partial(_hang, viewer))
        _hang(viewer)
        manager.set_cross_hairs(True)
        # words at the ends of its arrows do not fit on small canvases; letters at the edges say the same
        manager.set_axes(False)
        _mark(viewer, manager)


def _mark(viewer: ViewerModel, manager: OrthoViewManager) -> None:
    large = marks_of(viewer)
    for widget in (manager.right_widget, manager.bottom_widget):
        if widget not in _marks:
            small = _marks[widget] = CanvasMarks(widget.vm_container.viewer_model, scale_bar=False)
            large.toggled.connect(small.show)
        _marks[widget].show(large.on)


def _hang(viewer: ViewerModel, event: object = None) -> None:
    plane, manager = current_plane(viewer), _get_manager(viewer)
    if plane not in _UPRIGHT or not manager.is_shown():
        return
    small = manager.right_widget, manager.bottom_widget
    for widget, order in zip(small, _UPRIGHT[plane], strict=True):
        widget.order = order
    manager.update_dims_order()
    for widget in small:
        widget.vm_container.viewer_model.reset_view()


def _move_crosshairs(overlay: Any) -> None:
    """Move a crosshair to where the viewer is; by itself it goes to the index, as if the world began at 0."""
    dims = overlay.viewer.dims
    axes = [*dims.displayed[::-1], *(dims.not_displayed[::-1] or (0,))][:3]
    overlay.node.set_position(np.array(dims.point)[axes])


VispyCrosshairOverlay._move_crosshairs = _move_crosshairs
