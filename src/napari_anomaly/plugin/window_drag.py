"""Window and level with the mouse: drag with the right button on the scan."""

from collections.abc import Callable, Iterator
from math import exp
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

__all__ = ["WindowDrag", "dragged"]

_PIXELS_PER_E = 250.0
"""So far to the right, the window is e times as wide."""

_PIXELS_PER_WINDOW = 400.0
"""So far down, the level has moved by one width."""

_RIGHT = 2


def dragged(limits: tuple[float, float], right: float, down: float) -> tuple[float, float]:
    """Give the limits of a window after a drag: to the right it is wider, up the picture is brighter.

    Parameters
    ----------
    limits
        Intensities that were black and white.
    right, down
        How far the pointer has moved, in pixels.
    """
    low, high = limits
    width = (high - low) * exp(right / _PIXELS_PER_E)
    level = (low + high) / 2 + (high - low) * down / _PIXELS_PER_WINDOW
    return level - width / 2, level + width / 2


class WindowDrag:
    """Drags of the right button set the window of the scan that is read; in 3D they zoom, as always.

    Parameters
    ----------
    viewer
        The window.
    layer
        Gives the layer of the scan that is read, or None.
    """

    def __init__(self, viewer: ViewerModel, layer: Callable[[], Image | None]) -> None:
        self._viewer = viewer
        self._layer = layer
        viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """Let go of the window."""
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        layer = self._layer()
        if event.button != _RIGHT or event.modifiers or viewer.dims.ndisplay == 3 or layer is None:
            return
        camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
        zooms, camera.mouse_zoom = camera.mouse_zoom, False
        low, high = layer.contrast_limits
        began = [float(place) for place in event.pos[:2]]
        try:
            yield
            while event.type == "mouse_move":
                right, down = (float(now) - then for now, then in zip(event.pos[:2], began, strict=True))
                layer.contrast_limits = dragged((float(low), float(high)), right, down)
                yield
        finally:
            camera.mouse_zoom = zooms
