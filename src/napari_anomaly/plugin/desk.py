"""What the docks of one window share: the open scans, which of them is read, and its findings."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
from jaxtyping import UInt8
from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal, SignalInstance

from napari_anomaly.errors import AnomalyError
from napari_anomaly.findings import Findings
from napari_anomaly.plugin.canvas_marks import marks_of
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.view import jump
from napari_anomaly.plugin.window_drag import WindowDrag
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan
from napari_anomaly.session import Question

__all__ = ["Desk", "desk_of"]

Answer: TypeAlias = tuple[Findings, UInt8[np.ndarray, "z y x"]]

Listening: TypeAlias = tuple[tuple[SignalInstance, Callable[..., object]], ...]

_DESKS: WeakValueDictionary[int, "Desk"] = WeakValueDictionary()


def desk_of(viewer: ViewerModel) -> "Desk":
    """Give the desk of a window: the same one to all docks, as long as one of them is open."""
    desk = _DESKS.get(id(viewer))
    if desk is None or desk.viewer is not viewer:
        desk = _DESKS[id(viewer)] = Desk(viewer)
    return desk


class Desk:
    """The open cases of one window.

    Parameters
    ----------
    viewer
        The window.

    Attributes
    ----------
    marks
        Orientation letters and scale bar of the canvas.
    case_changed
        Signal when another scan is read, or none.
    result_changed
        Signal when the scan that is read has a new result, or none any more.
    findings_changed
        Signal when the findings of the scan that is read are at hand, or are being computed anew.
    review_changed
        Signal when the reader has said something of them.
    problem
        Signal with an error that the reader must hear of.
    next_wanted
        Signal when the reader is done with this scan and wants the next one.
    """

    case_changed = Signal()
    result_changed = Signal()
    findings_changed = Signal()
    review_changed = Signal()
    problem = Signal(Exception)
    next_wanted = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.marks = marks_of(viewer)
        self._window = WindowDrag(viewer, self._scan_layer)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.order.connect(self._on_plane)
        viewer.dims.events.ndisplay.connect(self._on_plane)
        self.counts = Jobs(listed=False)
        self._cases: dict[Layer, Case] = {}
        self._case: Case | None = None
        self._shelf: Case | None = None
        self._docks: dict[object, Listening] = {}
        self._closed = False

    # Docks

    def enter(self, dock: object, *listening: tuple[SignalInstance, Callable[..., object]]) -> None:
        """Note that a dock is open.

        Parameters
        ----------
        dock
            Something that stands for it.
        *listening
            What it hears of: signals of the desk, and what they call until it leaves.
        """
        self._docks[dock] = listening
        for signal, callback in listening:
            signal.connect(callback)

    def leave(self, dock: object) -> None:
        """Note that a dock is gone; with the last one everything is put away."""
        for signal, callback in self._docks.pop(dock, ()):
            signal.disconnect(callback, missing_ok=True)
        if self._docks or self._closed:
            return
        self._closed = True
        self.counts.close()
        self.marks.close()
        self._window.close()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.dims.events.order.disconnect(self._on_plane)
        self.viewer.dims.events.ndisplay.disconnect(self._on_plane)
        for case in self._cases.values():
            case.close()
        if _DESKS.get(id(self.viewer)) is self:
            del _DESKS[id(self.viewer)]

    # Cases

    @property
    def case(self) -> Case | None:
        """The scan that is being read."""
        return self._case

    def _scan_layer(self) -> Image | None:
        return None if self._case is None else self._case.layer

    def knows(self, layer: Layer) -> bool:
        """Tell whether there is a case of this layer."""
        return layer in self._cases

    def open(self, layer: Image) -> Case:
        """Give the case of a layer.

        Raises
        ------
        ScanError
            If the layer holds no scan.
        """
        if layer not in self._cases:
            case = Case(self.viewer, layer)
            self._cases[layer] = case
            case.problem.connect(self._tell)
            case.session.findings_changed.connect(partial(self._on_findings_changed, case))
            case.session.review_changed.connect(partial(self._on_review_changed, case))
            case.session.result_changed.connect(partial(self._on_result_changed, case))
        return self._cases[layer]

    def choose(self, layer: Image | None) -> Case | None:
        """Read another scan, or none; the layers of the one before are hidden.

        Raises
        ------
        ScanError
            If the layer holds no scan; then none is read.
        """
        if self._case is not None and layer is self._case.layer:
            return self._case
        before, self._case = self._case, None
        if before is not None:
            before.layers.hide()
        try:
            self._case = None if layer is None else self.open(layer)
        finally:
            if self._case is not None and self._case.session.map is not None:
                self._case.layers.set_visible("map", True)
            self.case_changed.emit()
        self.count()
        return self._case

    def _on_removed(self, event: Any) -> None:
        case = self._cases.pop(event.value, None)
        if case is not None:
            case.close()
        if case is not None and case is self._case:
            self._case = None
            self.case_changed.emit()

    def _on_plane(self, event: Any) -> None:
        if self._case is not None:
            self._case.show_plane()

    def show_scan(self, scan: Scan, outcome: Outcome) -> Case:
        """Show another scan with its result, in the layers of the one before where that came this way too.

        Layers are used again, because making them anew takes longer, and removing them crashes some graphics
        drivers.

        Raises
        ------
        AnomalyError
            If the result belongs to another scan.
        """
        before = self._shelf
        if before is None or before.layer not in self.viewer.layers or before.layer not in self._cases:
            data, keywords, _ = scan_layer(scan)
            layer = self.viewer.add_image(data, **keywords)
            self._shelf = self.open(layer)
        else:
            before.show_scan(scan)
        case = self._shelf
        if case is None:
            raise RuntimeError("a scan was just put on the shelf")
        case.show_result(outcome)
        if self._case is case:
            # So that every dock hears of it as of another scan.
            self._case = None
        self.choose(case.layer)
        self.viewer.reset_view()
        jump(self.viewer, case.layer, [(n - 1) / 2 for n in scan.geometry.shape])
        self.count()
        return case

    def ask_next(self) -> bool:
        """Ask the worklist for the next scan; return whether there is a worklist."""
        if len(self.next_wanted) == 0:
            return False
        self.next_wanted.emit()
        return True

    def show_result(self, case: Case, outcome: Outcome) -> None:
        """Show what a detector made of a scan, and go on with its review where there is one.

        Raises
        ------
        AnomalyError
            If the result belongs to another scan, or an unsaved review could not be kept.
        """
        case.show_result(outcome)
        self.count()

    # Findings

    def count(self) -> None:
        """Have the findings of the scan that is read computed beside the window, and shown."""
        case = self._case
        question = case.session.question if case is not None else None
        if case is None or question is None:
            return
        if case.session.has_findings:
            _show_ready(case)
            return
        listener = Listener[Answer](done=partial(self._on_findings, case, question), failed=self._tell)
        self.counts.start(partial(_answer, question), listener)

    def _on_findings(self, case: Case, question: Question, answer: Answer) -> None:
        findings, mask = answer
        if case.session.question is question:
            case.show_findings(findings, mask)
            case.session.accept(question, findings)

    def _on_findings_changed(self, case: Case) -> None:
        if case.shown is not None and case.session.has_findings:
            # somebody could not wait for them: a verdict on what a stroke has just joined
            _show_ready(case)
        if case is self._case:
            self.findings_changed.emit()

    def _on_review_changed(self, case: Case) -> None:
        if case.session.has_findings:
            case.show_verdicts()
        if case is self._case:
            self.review_changed.emit()
            self.count()

    def _on_result_changed(self, case: Case) -> None:
        if case is self._case:
            self.result_changed.emit()

    def _tell(self, error: Exception) -> None:
        self.problem.emit(error)

    def drawn_once(self) -> AbstractContextManager[None]:
        """Draw mask and outlines of the scan that is read once, at the end of a block, however often they change."""
        return nullcontext() if self._case is None else self._case.layers.drawn_once()

    def heard(self, act: Callable[[], object]) -> bool:
        """Do something of the reader's, and tell what goes wrong; return whether all went well."""
        try:
            act()
        except AnomalyError as error:
            self._tell(error)
            return False
        return True


def _show_ready(case: Case) -> None:
    """Show findings that are at hand, unless they are on the screen."""
    findings = case.session.findings
    if findings is not None and case.shown is not findings:
        case.show_findings(findings, findings.mask)


def _answer(question: Question) -> Steps[Answer]:
    yield Progress(0, 0, "counting")
    findings = question.answer()
    return findings, findings.mask
