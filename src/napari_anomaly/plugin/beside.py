"""The previous scan of the same patient in a window of its own, laid over this one and linked to it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_anomaly.io import read_scan
from napari_anomaly.plugin.canvas_marks import CanvasMarks
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.registration import Aligned, align
from napari_anomaly.scan import Scan

__all__ = ["Beside", "PreviousScan"]


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A previous scan, as it was read and as it lies over the one that is read now."""

    scan: Scan
    aligned: Aligned


class PreviousScan(QPushButton):
    """The button that asks for a previous scan and opens it beside the window.

    Parameters
    ----------
    desk
        Whose scan it is compared with.
    message
        Where to say what goes on.

    Attributes
    ----------
    opened
        What was opened last; None before.
    """

    def __init__(self, desk: Desk, message: Message) -> None:
        super().__init__("Previous...")
        self.setToolTip(
            "Open the previous scan of this patient in a window of its own: laid over this one by rotation and shift, "
            "and linked, so that both show the same place (B)"
        )
        self.opened: Beside | None = None
        self._desk = desk
        self._message = message
        self._jobs = Jobs(listed=False)
        self.clicked.connect(lambda: self.ask())

    @property
    def idle(self) -> bool:
        """Whether nothing is being read or laid over."""
        return self._jobs.idle

    def ask(self) -> None:
        """Let the reader choose a file."""
        case = self._desk.case
        if case is None:
            self._message.error("Open a scan first, to compare the previous one with.")
            return
        folder = case.default_path("mask").parent
        chosen, _ = QFileDialog.getOpenFileName(self, "Previous scan of the same patient", str(folder))
        if chosen:
            self.open(Path(chosen))

    def open(self, path: Path) -> None:
        """Read a scan, lay it over the one that is read now, and show it; all but the last beside the window."""
        case = self._desk.case
        if case is None:
            return
        self._message.note("Reading the previous scan and laying it over this one...")
        listener = Listener[_Read](
            done=partial(self._show, case.layer),
            failed=lambda error: self._message.error(words_for(error)),
            progress=lambda progress: self._message.note(f"{progress.text}..."),
        )
        self._jobs.start(partial(_reading, path, case.scan), listener)

    def close_window(self) -> None:
        """Stop what runs, and close what was opened."""
        self._jobs.close()
        if self.opened is not None:
            self.opened.close()

    def _show(self, layer: Image, read: _Read) -> None:
        case = self._desk.case
        if case is None or case.layer is not layer:
            self._message.note("Another scan is read by now: the previous scan was not opened.")
            return
        if self.opened is not None:
            self.opened.close()
        self.opened = Beside(self._desk.viewer, case.scan, read.scan, read.aligned)
        self._message.note(f"{read.scan.name} is open beside this window; both move together.")


class Beside:
    """A second window with another scan on the grid of the first, and the link between them.

    Parameters
    ----------
    viewer
        The first window.
    fixed
        Its scan.
    scan
        The other scan, as it was read.
    aligned
        The same, on the grid of the first.
    """

    def __init__(self, viewer: ViewerModel, fixed: Scan, scan: Scan, aligned: Aligned) -> None:
        self.first = viewer
        self.second = napari.Viewer(title=f"previous: {scan.name}")
        laid = Scan(aligned.voxels, fixed.geometry, fixed.source, scan.name, scan.modality)
        data, keywords, _ = scan_layer(laid)
        self.second.add_image(data, **keywords | {"metadata": {}})
        self.marks = CanvasMarks(self.second)
        self.linked = QCheckBox("&linked")
        self.linked.setChecked(True)
        self.linked.setToolTip("Whether both windows show the same place, in the same plane, as large")
        self.linked.toggled.connect(self._on_linked)
        self.second.window.add_dock_widget(self._dock(scan, aligned), name="Previous scan", area="bottom")
        self._busy = False
        self._open = True
        self._links = [
            (getattr(part(one).events, name), partial(self._follow, part, names, one, other))
            for one, other in ((self.first, self.second), (self.second, self.first))
            for part, names in _PARTS
            for name in names
        ]
        for event, follow in self._links:
            event.connect(follow)
        self._on_linked(True)

    def _dock(self, scan: Scan, aligned: Aligned) -> QWidget:
        dock = QWidget()
        dock.destroyed.connect(lambda: self._gone())
        layout = QVBoxLayout(dock)
        layout.setContentsMargins(8, 4, 8, 4)
        text = (
            f"{scan.name}, laid over the scan in the other window: turned by {aligned.turned_degrees:.1f}°, moved by "
            f"{aligned.moved_mm:.0f} mm. Rigid: what has grown or shrunk stays so."
        )
        label = QLabel(text)
        label.setWordWrap(True)
        layout.addWidget(label)
        layout.addWidget(self.linked)
        return dock

    def close(self) -> None:
        """Close the second window."""
        if self._open:
            self._gone()
            self.second.close()

    def _gone(self) -> None:
        if not self._open:
            return
        self._open = False
        for event, follow in self._links:
            event.disconnect(follow)

    def _on_linked(self, on: bool) -> None:
        if on:
            for part, names in _PARTS:
                self._follow(part, names, self.first, self.second)

    def _follow(
        self, part: Callable[[Any], Any], names: tuple[str, ...], one: Any, other: Any, event: object = None
    ) -> None:
        if self._busy or not self._open or not self.linked.isChecked():
            return
        self._busy = True
        try:
            for name in names:
                value = getattr(part(one), name)
                if getattr(part(other), name) != value:
                    setattr(part(other), name, value)
        finally:
            self._busy = False


def _dims(viewer: Any) -> Any:
    return viewer.dims


def _camera(viewer: Any) -> Any:
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


_PARTS: tuple[tuple[Callable[[Any], Any], tuple[str, ...]], ...] = (
    (_dims, ("ndisplay", "order", "point")),
    (_camera, ("center", "zoom", "angles")),
)
"""What is the same in both windows."""


def _reading(path: Path, fixed: Scan) -> Steps[_Read]:
    yield Progress(0, 4, "Reading the previous scan")
    scan = read_scan(path)
    aligned = yield from align(scan, fixed)
    return _Read(scan, aligned)
