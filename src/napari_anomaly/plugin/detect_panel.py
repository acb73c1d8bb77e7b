"""The dock: open, detect, threshold, look, export."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

import napari.viewer
from napari.components import ViewerModel
from napari.layers import Layer
from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_anomaly.errors import AnomalyError
from napari_anomaly.findings import Finding
from napari_anomaly.plugin import view
from napari_anomaly.plugin.case import Case, reading, writing_map, writing_mask
from napari_anomaly.plugin.desk import Desk, desk_of
from napari_anomaly.plugin.engine import Engine, Outcome, Request, TheDetector, detection
from napari_anomaly.plugin.export_section import ExportSection
from napari_anomaly.plugin.findings_table import FindingsTable, summary
from napari_anomaly.plugin.jobs import Jobs, Listener, time_left
from napari_anomaly.plugin.layers import SCAN, Role, is_scan, lock, role_of
from napari_anomaly.plugin.message import Message, sentence, words_for
from napari_anomaly.plugin.parts import WIDTH
from napari_anomaly.plugin.preferences import prefer_our_reader
from napari_anomaly.plugin.run_section import RunSection
from napari_anomaly.plugin.show_section import ShowSection
from napari_anomaly.plugin.threshold_section import ThresholdSection
from napari_anomaly.plugin.windows import Window
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan

__all__ = ["DetectPanel"]

_ROLES: tuple[Role, ...] = ("map", "mask", "proxies", "residual")
# The longest side that every graphics card can hold as a volume; above, napari shows every second voxel.
_LARGEST_3D = 2048
# The window is up and quiet by then; torch takes a second or two to load.
_DEVICES_AFTER_MS = 2000


class DetectPanel(QWidget):
    """Scan, detector, device; threshold; layers, planes, windows; findings; export.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock belongs to.
    engine
        What detects.

    Attributes
    ----------
    ended
        Signal when a detection and its findings are shown, with an empty text, or when it failed, with the
        reason.
    """

    ended = Signal(str)

    def __init__(self, napari_viewer: napari.viewer.Viewer, engine: Engine | None = None) -> None:
        super().__init__()
        # napari hands out a proxy whose layers are proxies too, and those cannot be compared by identity.
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.engine = TheDetector() if engine is None else engine
        self.jobs = Jobs()
        self.desk = desk_of(self.viewer)
        self._seat = object()
        self.counts = self.desk.counts
        self._devices = Jobs(listed=False)
        self._others: list[Jobs] = []
        self._watched: set[Layer] = set()
        self._welcomed: WeakSet[Case] = WeakSet()
        self._known: list[Layer] = []
        self._fresh = False
        prefer_our_reader()
        self._build()
        self._connect()
        self._refresh_scans()
        if self._case is not None and self._case not in self._welcomed:
            self._on_case()
        self._refresh_planes()

    def _build(self) -> None:
        self.setWindowTitle("Detect")
        self.message = Message()
        self.run, problem = self._run_section()
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        self.verdict.setToolTip(
            "How unusual the scan is as a whole, beside normal scans that the detector was not trained on"
        )
        self.threshold = ThresholdSection()
        self.show_ = ShowSection()
        self.count = QLabel()
        self.table = FindingsTable()
        self.export = ExportSection(self._default_path)
        self._place()
        if problem:
            self.message.error(problem)
        self._show_case()

    def _run_section(self) -> tuple[RunSection, str]:
        try:
            return RunSection(self.engine.names()), ""
        except AnomalyError as error:
            return RunSection(()), str(error)

    def _place(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(7)
        for widget in (self.run, self.message, self.verdict, self.threshold, self.show_, self.count):
            layout.addWidget(widget)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.export)
        self.setMinimumWidth(WIDTH)
        self.setMaximumWidth(WIDTH + 8)

    def _connect(self) -> None:
        self.run.scan_chosen.connect(self._on_scan)
        self.run.volume_chosen.connect(self._on_volume)
        self.run.detect_pressed.connect(self.detect)
        self.run.cancel_pressed.connect(self.cancel)
        self.threshold.moved.connect(self._on_moved)
        self.threshold.settled.connect(self._on_settled)
        self.threshold.snap_changed.connect(self._on_snap)
        self.threshold.extend_changed.connect(self._on_extend)
        self.show_.layer_toggled.connect(self._on_layer_toggled)
        self.show_.opacity_changed.connect(self._on_opacity)
        self.show_.plane_chosen.connect(self._on_plane)
        self.show_.linked_toggled.connect(self._on_linked)
        self.show_.window_chosen.connect(self._on_window)
        self.show_.slab_chosen.connect(partial(view.set_slab, self.viewer))
        self.show_.marks.setChecked(self.desk.marks.on)
        self.show_.marks_toggled.connect(self.desk.marks.show)
        self.table.chosen.connect(self.go_to)
        self.export.mask_wanted.connect(self.export_mask)
        self.export.map_wanted.connect(self.export_map)
        desk = self.desk
        heard = (desk.case_changed, self._on_case), (desk.findings_changed, self._on_findings)
        desk.enter(self._seat, *heard, (desk.problem, self._on_failed_count))
        events = self.viewer.layers.events
        pairs: list[tuple[Any, Callable[..., object]]] = [
            (events.inserted, self._refresh_scans),
            (events.removed, self._on_removed),
            (events.reordered, self._refresh_scans),
            (self.viewer.dims.events.order, self._refresh_planes),
            (self.viewer.dims.events.ndisplay, self._refresh_planes),
            (self.viewer.events.status, self._on_status),
        ]
        for emitter, callback in pairs:
            emitter.connect(callback)
        self.destroyed.connect(partial(_release, pairs, (self.jobs, self._devices), desk, self._seat))
        QTimer.singleShot(_DEVICES_AFTER_MS, self._fill_devices)

    # Which scan

    @property
    def case(self) -> Case | None:
        """The scan that is being read."""
        return self.desk.case

    @property
    def _case(self) -> Case | None:
        return self.desk.case

    def _refresh_scans(self, event: object = None) -> None:
        layers = [layer for layer in self.viewer.layers if is_scan(layer)]
        for layer in layers:
            if layer not in self._watched:
                self._watched.add(layer)
                layer.events.name.connect(self._refresh_scans)
                if role_of(layer) == "scan":
                    lock(layer)
        fresh = [layer for layer in layers if layer not in self._known]
        self._known = layers
        # What was opened last is what the reader wants to look at, unless a detection is under way.
        choose = fresh[-1] if fresh and not self.jobs.running else None
        self.run.set_layers(layers, choose)

    def _on_scan(self) -> None:
        layer = self.run.layer
        if self._case is not None and layer is self._case.layer:
            return
        self.message.turn_to(layer)
        if self.jobs.cancel():
            self.run.show_idle("stopped")
            self.message.note("Another scan was chosen: the detection was stopped.")
        self.desk.heard(lambda: self.desk.choose(layer))

    def _welcome(self, case: Case) -> None:
        self._welcomed.add(case)
        case.layer.events.contrast_limits.connect(partial(self._on_limits, case))
        if case.scan.notes:
            self.message.note("\n".join(case.scan.notes), about=case.layer)

    def _on_case(self) -> None:
        if self._case is not None:
            self.run.choose(self._case.layer)
            if self._case not in self._welcomed:
                self._welcome(self._case)
            self._watch_layers(self._case)
        self._show_case()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.run.layer and self.jobs.cancel():
            self.run.show_idle("stopped")
            self.message.note("The scan was closed: the detection was stopped.")
        self._watched.discard(event.value)
        self._refresh_scans()
        self._refresh_layers()

    def _on_volume(self, volume: int) -> None:
        case = self._case
        if case is None or case.scan.source.path is None:
            return
        self.cancel()
        shown = case.scan
        self._beside(lambda: reading(shown, volume), partial(self._on_volume_read, case, volume))

    def _on_volume_read(self, case: Case, volume: int, scan: Scan) -> None:
        case.show_volume(scan, volume)
        self._show_case()

    # Detect

    def detect(self) -> None:
        """Look for what is unusual in the chosen scan; one that is running begins again."""
        case, detector = self._case, self.run.chosen_detector
        if case is None:
            self.message.error("No scan is open. Open one with File > Open, or drag it into the window.")
            return
        if detector is None:
            self.message.error(
                "No detector came with this installation. Choose one with Detector > From file..., "
                "or train one with: napari-anomaly train"
            )
            return
        try:
            scan = case.refresh()
        except AnomalyError as error:
            self.message.error(str(error))
            return
        self.message.clear_text()
        request = Request(scan, detector, self.run.chosen_device, self.run.second_opinion)
        self.run.show_running()
        listener = Listener[Outcome](
            done=partial(self._on_detected, case),
            failed=self._on_failed,
            progress=self._on_progress,
            stopped=partial(self.run.show_idle, "stopped"),
        )
        self._job = self.jobs.start(partial(detection, self.engine, request), listener)

    def cancel(self) -> None:
        """Stop looking; what was there stays."""
        if self.jobs.cancel():
            self.run.show_idle("cancelled")

    def _on_progress(self, progress: Progress) -> None:
        self.run.show_progress(progress, time_left(progress, self._job.seconds))

    def _on_failed(self, error: Exception) -> None:
        self.run.show_idle()
        self.message.error(words_for(error))
        self.ended.emit(words_for(error))

    def _on_detected(self, case: Case, outcome: Outcome) -> None:
        self.run.show_idle(f"done in {self._job.seconds:.0f} s")
        if not self.desk.heard(lambda: self.desk.show_result(case, outcome)):
            return
        if notes := (*outcome.notes, *case.remarks):
            self.message.note("\n".join(notes), about=case.layer)
        self._fresh = True
        self._watch_layers(case)
        self._on_opacity(self.show_.opacity.value() / 100)
        self._show_case()
        self._fill_devices()

    # Threshold and findings

    def _on_moved(self, step: int) -> None:
        if self._case is not None:
            self._case.layers.show_threshold(step)
            table = self._case.session.map.false_findings if self._case.session.map is not None else None
            if table is not None:
                asked = self.threshold.threshold, self.threshold.min_volume_mm3
                self.threshold.show_false_findings(table.expected(*asked))

    def _on_settled(self) -> None:
        if self._case is None:
            return
        session = self._case.session
        session.threshold = self.threshold.threshold
        session.min_volume_mm3 = self.threshold.min_volume_mm3
        self.threshold.show_false_findings(session.false_findings)
        self.desk.count()

    def _on_snap(self, on: bool) -> None:
        if self._case is not None:
            self._case.session.snap = on
            self._case.layers.show_snap(on)
            self.desk.count()

    def _on_extend(self, on: bool) -> None:
        if self._case is not None:
            self._case.session.extend = on
            self.desk.count()

    def _on_failed_count(self, error: Exception) -> None:
        self.message.error(words_for(error))

    def _on_findings(self) -> None:
        case = self._case
        if case is None or not case.session.has_findings:
            return
        self._watch_layers(case)
        self._show_findings()
        self._refresh_layers()
        if self._fresh:
            self._fresh = False
            self.ended.emit("")

    def _show_findings(self) -> None:
        case = self._case
        findings = case.session.findings if case is not None and case.session.has_findings else None
        self.table.set_findings(findings)
        self.count.setText(summary(findings) if findings is not None else "")

    def go_to(self, finding: Finding) -> None:
        """Go to the most unusual point of a finding, in all planes."""
        if self._case is not None:
            view.jump(self.viewer, self._case.layer, finding.peak_index)

    # What is shown

    def _show_case(self) -> None:
        """Bring every part of the dock in line with the scan that is being read."""
        case = self._case
        anomaly_map = case.session.map if case is not None else None
        for widget in (self.threshold, self.export, self.table):
            widget.setEnabled(anomaly_map is not None)
        self.count.setText("")
        self.threshold.show_false_findings(None)
        self.verdict.setText("" if anomaly_map is None else sentence(anomaly_map.scan_score))
        self.verdict.setVisible(anomaly_map is not None)
        if case is None:
            self.run.show_extras("", 1, 0)
            self.show_.set_windows((), None)
        else:
            self.run.show_extras(case.badge, case.volumes, case.volume)
            low, high = case.layer.contrast_limits
            self.show_.set_windows(case.windows, (float(low), float(high)))
        if case is not None and anomaly_map is not None:
            session = case.session
            self.threshold.show_settings(
                session.threshold,
                session.min_volume_mm3,
                session.snap,
                case.scan.geometry.unit,
                extend=session.extend if anomaly_map.hysteresis else None,
            )
            case.layers.show_threshold(self.threshold.step)
            self.threshold.show_false_findings(session.false_findings)
        self._show_findings()
        self._refresh_layers()
        self.desk.count()

    def _watch_layers(self, case: Case) -> None:
        for role in _ROLES:
            layer = case.layers.shown(role)
            if layer is not None and layer not in self._watched:
                self._watched.add(layer)
                layer.events.visible.connect(self._refresh_layers)

    def _refresh_layers(self, event: object = None) -> None:
        case = self._case
        shown = {role: case.layers.shown(role) for role in _ROLES} if case is not None else {}
        self.show_.show_layers({role: layer.visible for role, layer in shown.items() if layer is not None})

    def _refresh_planes(self, event: object = None) -> None:
        self.show_.show_plane(view.current_plane(self.viewer))

    def _on_layer_toggled(self, role: str, on: bool) -> None:
        if self._case is not None:
            self._case.layers.set_visible(cast(Role, role), on)

    def _on_opacity(self, opacity: float) -> None:
        if self._case is not None:
            self._case.layers.set_opacity(opacity)

    def _on_linked(self, on: bool) -> None:
        try:
            view.link_planes(self.viewer, on, self.show_.show_linked)
        except AnomalyError as error:
            self.show_.show_linked(False)
            self.message.error(str(error))

    def _on_plane(self, plane: str) -> None:
        view.set_plane(self.viewer, cast(view.Plane, plane))
        if plane == "3d" and self._case is not None and max(self._case.scan.geometry.shape) > _LARGEST_3D:
            self.message.note(
                "This scan is larger than graphics cards can show in 3D: it is shown coarser there."
            )
        self._refresh_planes()

    def _on_window(self, window: Window) -> None:
        if self._case is not None:
            self._case.layer.contrast_limits = window.limits

    def _on_limits(self, case: Case, event: object = None) -> None:
        low, high = case.layer.contrast_limits
        case.layers.set_window((float(low), float(high)))
        if case is self._case:
            self.show_.show_limits((float(low), float(high)))

    def _on_status(self, event: Any) -> None:
        layer = self.viewer.layers.selection.active
        scan = layer.metadata.get(SCAN) if isinstance(layer, Layer) else None
        status = event.value
        if isinstance(scan, Scan) and isinstance(status, dict) and not status.get("true"):
            # A changed copy is set again: napari has shown its own already, in the same turn, unseen.
            status = {**status, "true": "yes"}
            view.true_status(layer, scan.geometry, self.viewer.cursor.position, status)
            self.viewer.status = status

    def _fill_devices(self) -> None:
        if self._devices.running or self.run.device.count() > 1 or self._case is None:
            return
        listener = Listener[Any](done=self.run.set_devices, failed=self._on_failed_count)
        self._devices.start(partial(_devices, self.engine), listener)

    def export_mask(self, path: Path) -> None:
        """Write the mask on the grid of the scan's file, beside the window."""
        self._write(writing_mask, path)

    def export_map(self, path: Path) -> None:
        """Write the scores on the grid of the scan's file, beside the window."""
        self._write(writing_map, path)

    def _write(self, writing: Callable[[Case, Path], Steps[Path]], path: Path) -> None:
        if self._case is not None and self._case.session.map is not None:
            self._beside(partial(_same_steps, writing(self._case, path)), self._on_written)

    def _default_path(self, kind: str) -> Path | None:
        if self._case is not None and self._case.session.map is not None:
            return self._case.default_path(kind)
        self.message.error("There is nothing to export yet. Detect first.")
        return None

    def _on_written(self, path: Path) -> None:
        self.message.note(f"Saved {path}")

    def _beside(self, make: Callable[[], Steps[Any]], done: Callable[[Any], object]) -> None:
        """Run something short beside the window; unlike a detection it is never replaced by the next."""
        jobs = Jobs(listed=False)
        self._others = [other for other in self._others if not other.idle] + [jobs]
        jobs.start(make, Listener(done=done, failed=self._on_failed_count))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Cancel with Escape, from anywhere in the dock."""
        if event.key() == Qt.Key.Key_Escape and self.jobs.running:
            self.cancel()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Stop what runs; nothing of it may arrive in a dock that is gone."""
        self.jobs.close()
        self._devices.close()
        self.desk.leave(self._seat)
        super().closeEvent(event)


def _devices(engine: Engine) -> Steps[Any]:
    yield Progress(0, 0, "looking for devices")
    return engine.devices()


def _same_steps(steps: Steps[Any]) -> Steps[Any]:
    return steps


def _release(
    pairs: list[tuple[Any, Callable[..., object]]],
    jobs: tuple[Jobs, ...],
    desk: Desk,
    seat: object,
    _: object = None,
) -> None:
    """Let go of the viewer when the dock is gone: a closed dock must not answer."""
    for each in jobs:
        each.close()
    for emitter, callback in pairs:
        emitter.disconnect(callback)
    desk.leave(seat)
