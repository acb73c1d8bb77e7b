"""Letters at the edges of a canvas that say which side of the patient lies there, and a scale bar."""

from typing import Any
from weakref import WeakValueDictionary

from napari.components import ViewerModel
from psygnal import Signal

__all__ = ["CanvasMarks", "marks_of"]

_TOWARDS = {"inferior": ("S", "I"), "posterior": ("A", "P"), "left": ("R", "L")}
"""Letters where an axis of our layers begins and where it ends, by its name."""

_EDGES = {
    "napari_anomaly_top": "top_center",
    "napari_anomaly_bottom": "bottom_center",
    "napari_anomaly_left": "middle_left",
    "napari_anomaly_right": "middle_right",
}

_COLOUR = "#ffd27f"

_FONT_SIZE = 14

_MARKS: WeakValueDictionary[int, "CanvasMarks"] = WeakValueDictionary()


def marks_of(viewer: ViewerModel) -> "CanvasMarks":
    """Give the marks of a canvas: the same ones to all who ask, as long as one of them keeps them."""
    marks = _MARKS.get(id(viewer))
    if marks is None or marks.viewer is not viewer:
        marks = _MARKS[id(viewer)] = CanvasMarks(viewer)
    return marks


def edge_letters(viewer: ViewerModel) -> tuple[str, str, str, str]:
    """Tell which side of the patient lies at the top, the bottom, the left and the right of a canvas.

    Parameters
    ----------
    viewer
        The canvas.

    Returns
    -------
    tuple of str
        Letters out of S, I, A, P, R, L; empty ones in 3D, and where the axes are not those of a scan of ours.
    """
    dims = viewer.dims
    if dims.ndisplay != 2 or not viewer.layers:
        return ("",) * 4
    down, across = (_TOWARDS.get(dims.axis_labels[axis], ("", "")) for axis in dims.displayed)
    vertical, horizontal = viewer.scene.camera.orientation2d
    top, bottom = down if vertical == "down" else down[::-1]
    left, right = across if horizontal == "right" else across[::-1]
    return top, bottom, left, right


class CanvasMarks:
    """Orientation letters, and a scale bar, of one canvas.

    napari before 0.9 has no place for them: there is nothing to see.

    Parameters
    ----------
    viewer
        The canvas.
    scale_bar
        Whether it has a scale bar, too.

    Attributes
    ----------
    toggled
        Signal with whether they are shown.
    """

    toggled = Signal(bool)

    def __init__(self, viewer: ViewerModel, *, scale_bar: bool = True) -> None:
        self.viewer = viewer
        self.on = True
        self._overlays: dict[str, Any] = {}
        self._bar = scale_bar
        self._known = False
        if not hasattr(viewer, "canvas"):
            return
        from napari.components.overlays import TextOverlay

        for name, position in _EDGES.items():
            overlay = TextOverlay(position=position, color=_COLOUR, font_size=_FONT_SIZE)
            viewer.canvas.overlays[name] = self._overlays[name] = overlay
        self._heard = (
            viewer.dims.events.order,
            viewer.dims.events.ndisplay,
            viewer.dims.events.axis_labels,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.scene.camera.events.orientation,
        )
        for event in self._heard:
            event.connect(self._refresh)
        self._refresh()

    def show(self, on: bool) -> None:
        """Show or hide them."""
        self.on = on
        self._known = False
        self._refresh()
        if self._bar and self._overlays and not on:
            self.viewer.canvas.overlays.scale_bar.visible = False
        self.toggled.emit(on)

    def settle(self) -> None:
        """Put the scale bar where all of it is seen: on a canvas that shrank it is cut until the next zoom."""
        if self._overlays:
            bar = self.viewer.canvas.overlays.scale_bar
            bar.events.position.emit(bar.position)

    def close(self) -> None:
        """Take them off the canvas."""
        if not self._overlays:
            return
        for event in self._heard:
            event.disconnect(self._refresh)
        for name in self._overlays:
            del self.viewer.canvas.overlays[name]
        self._overlays = {}
        _MARKS.pop(id(self.viewer), None)

    def _refresh(self, event: object = None) -> None:
        letters = edge_letters(self.viewer)
        for overlay, letter in zip(self._overlays.values(), letters, strict=False):
            overlay.text = letter
            overlay.visible = self.on and bool(letter)
        # the scale bar is also in napari's own menu: it is shown once with a scan, and left alone from then on
        known = self.on and bool(letters[0])
        if known and not self._known and self._bar and self._overlays:
            self.viewer.canvas.overlays.scale_bar.visible = True
        self._known = known or (self._known and bool(self.viewer.layers))
