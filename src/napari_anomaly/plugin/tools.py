"""Tools that correct the mask: draw, erase, whole supervoxels, missed findings that grow from a click."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
from napari.layers import Labels

from napari_anomaly.errors import ReviewError
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.desk import Desk

__all__ = ["Tool", "Tools"]

Tool: TypeAlias = Literal["look", "draw", "erase", "supervoxel", "grow"]

# A hand that shakes by a few pixels still clicks.
_CLICK_PIXELS = 4
_BRUSH = 6


class Tools:
    """The tool in the reader's hand.

    Parameters
    ----------
    desk
        Whose mask is corrected.
    undo, redo
        What the keys do in place of napari's own on the mask, which know nothing of the review.
    """

    def __init__(self, desk: Desk, undo: Callable[[], object], redo: Callable[[], object]) -> None:
        self._desk = desk
        self._keys = {"Control-Z": undo, "Control-Shift-Z": redo}
        self.tool: Tool = "look"
        desk.viewer.mouse_drag_callbacks.append(self._on_press)

    def release(self) -> None:
        """Let go of the window."""
        callbacks = self._desk.viewer.mouse_drag_callbacks
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)

    def take(self, tool: Tool) -> None:
        """Take a tool in hand.

        Raises
        ------
        ReviewError
            If there is nothing to correct yet.
        """
        case = self._desk.case
        mask = case.layers.mask if case is not None else None
        if tool != "look" and mask is None:
            raise ReviewError("There is no mask to correct yet. Detect first, or open a reviewed case.")
        self.tool = tool
        if case is None or mask is None:
            return
        drawing = tool in ("draw", "erase")
        viewer = self._desk.viewer
        if drawing and viewer.dims.ndisplay == 3:
            viewer.dims.ndisplay = 2
        mask.visible = mask.visible or tool != "look"
        self._prepare(mask)
        viewer.layers.selection.active = mask if drawing else case.layer
        mask.mode = {"draw": "paint", "erase": "erase"}.get(tool, "pan_zoom")

    def _prepare(self, mask: Labels) -> None:
        mask.selected_label = 1
        mask.n_edit_dimensions = 2
        if mask.brush_size == 10:
            mask.brush_size = _BRUSH
        for key, act in self._keys.items():
            mask.bind_key(key, lambda _, act=act: act(), overwrite=True)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Tell a click from a drag, which moves the picture as always."""
        case = self._desk.case
        tool = self.tool
        if (
            tool not in ("supervoxel", "grow")
            or case is None
            or event.button != 1
            or viewer.dims.ndisplay != 2
        ):
            return
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.array(event.pos) - start).max() > _CLICK_PIXELS:
                return
            yield
        act = case.grow if tool == "grow" else case.toggle_supervoxel
        self._desk.heard(lambda: _click(case, act, event.position))


def _click(case: Case, act: Callable[[tuple[int, int, int]], bool], position: Any) -> None:
    index = np.round(np.asarray(case.layer.world_to_data(position))).astype(int).tolist()
    if not act((index[0], index[1], index[2])):
        raise ReviewError("There is no supervoxel here. Click inside of the head, or draw by hand.")
