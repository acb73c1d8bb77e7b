"""The dock of the reader: findings, verdicts, notes, corrections, and what leaves the building."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import napari.viewer
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from napari_anomaly.findings import Finding, Findings
from napari_anomaly.plugin.beside import PreviousScan
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.compare_readers import CompareReaders
from napari_anomaly.plugin.desk import Desk, desk_of
from napari_anomaly.plugin.filter_section import FilterSection
from napari_anomaly.plugin.findings_table import progress
from napari_anomaly.plugin.judge_section import JudgeSection
from napari_anomaly.plugin.key_sheet import KeySheet
from napari_anomaly.plugin.layers import is_scan
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.parts import WIDTH, button, row, words
from napari_anomaly.plugin.preferences import preferences
from napari_anomaly.plugin.recalling import Recalling
from napari_anomaly.plugin.review_export import ReviewExport
from napari_anomaly.plugin.review_keys import Key, ReviewKeys, as_preset, retell
from napari_anomaly.plugin.review_table import ReviewTable
from napari_anomaly.plugin.tools import Tool, Tools
from napari_anomaly.plugin.view import Plane, jump, set_plane, worst_slice
from napari_anomaly.review import Change, Review, Verdict, judged

__all__ = ["ReviewPanel"]

_CHECKED = (
    "QPushButton { padding: 3px; } QPushButton:checked { background-color: #a3541a; font-weight: bold; }"
)


class ReviewPanel(QWidget):
    """Filter, table, note, verdicts, tools, export.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock belongs to.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari hands out a proxy whose layers are proxies too, and those cannot be compared by identity.
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.desk = desk_of(self.viewer)
        self.recalling = Recalling(self.desk)
        self.tools = Tools(self.desk, self.undo, self.redo)
        self._seat = object()
        self._welcomed: Case | None = None
        self._noting: int | None = None
        self._build()
        self._place()
        self._connect()
        if self.desk.case is None:
            scans = [layer for layer in self.viewer.layers if is_scan(layer)]
            self.desk.heard(lambda: self.desk.choose(scans[-1] if scans else None))
        self._on_case()

    def _build(self) -> None:
        self.setWindowTitle("Findings")
        self.message = Message()
        self.mode = QPushButton("Review mode")
        self.mode.setCheckable(True)
        self.mode.setStyleSheet(_CHECKED)
        self.mode.setToolTip(
            "While it is on, keys judge and move: R real, F false, U unsure, space next; ? shows them all.\n"
            "When it is off, all keys are napari's own again."
        )
        self.help = button("?", "Show the keys of review mode (?)", self.show_keys)
        self.help.setFixedWidth(28)
        self.scan = words("The scan that is being read")
        self.filters = FilterSection()
        self.filter = self.filters.verdict
        self.ghosts = QCheckBox("&ghosts")
        self.ghosts.setToolTip(
            "Keep what you judged false visible, dashed in grey; it stays out of the mask (G)"
        )
        self.remember = QCheckBox("me&mory")
        self.remember.setToolTip(
            "Remember what you judge false: findings that look like it, here and in the scans to come, are marked\n"
            "≈ false and stand below others of as high a score. Nothing is hidden."
        )
        self.remember.setChecked(self.recalling.on)
        self.count = words("How many findings there are, their volume together, and how many you have judged")
        self.table = ReviewTable()
        self.judge_ = JudgeSection(
            {
                "previous": self.previous,
                "next": self.next,
                "unjudged": self.next_unjudged,
                "worst": self.worst,
                "undo": self.undo,
                "redo": self.redo,
                "split": self.split,
                "split_along": partial(self.split, along_supervoxels=True),
                "merge": self.merge,
            }
        )
        self.previous_scan = PreviousScan(self.desk, self.message)
        self.compare = CompareReaders(self.desk, self.message)
        self.out = ReviewExport(self.desk, self.message, self.compare)
        keys = as_preset(self._keys(), preferences().keys)
        self.sheet = KeySheet(self, keys)
        self.keys = ReviewKeys(self, keys)

    def _keys(self) -> tuple[Key, ...]:
        say, take, plane = self.judge, self.take, self._plane
        return (
            Key("R", "real, and on to the next", partial(say, Verdict.REAL)),
            Key("F", "false positive: choose why (F again: as before)", self._ask_reason),
            Key("U", "unsure, and on to the next", partial(say, Verdict.UNSURE)),
            Key("Backspace", "take the verdict back", partial(say, None)),
            Key("Space", "next finding that is not judged", self.next_unjudged),
            Key("N", "next finding", self.next),
            Key("P", "previous finding", self.previous),
            Key("W", "most suspicious slice of this plane", self.worst),
            Key("Return", "go to the chosen finding, in all planes", self.centre),
            Key("Shift+N", "this scan is read: next one of the worklist", self.next_scan),
            Key("T", "type a note", self._type_note),
            Key("Ctrl+Z", "undo", self.undo),
            Key("Ctrl+Shift+Z", "redo (or Ctrl+Y)", self.redo),
            Key("D", "draw into the mask", partial(take, "draw")),
            Key("E", "erase from the mask", partial(take, "erase")),
            Key("S", "superpixels, with a click", partial(take, "supervoxel")),
            Key("A", "add a missed finding, with a click", partial(take, "grow")),
            Key("X", "split the chosen finding", self.split),
            Key("Shift+X", "split it along superpixels", partial(self.split, along_supervoxels=True)),
            Key("J", "merge the chosen findings", self.merge),
            Key("Esc", "back to looking", self._back_to_looking),
            Key("G", "ghosts of what was judged false", self.ghosts.toggle),
            Key("M", "outline of the mask", partial(self._toggle_layer, "mask")),
            Key("H", "anomaly map on and off", partial(self._toggle_layer, "map")),
            Key("B", "previous scan of this patient beside", self.previous_scan.ask),
            Key("C", "compare your verdicts with other readers", self.compare.open),
            Key("1", "axial", partial(plane, "axial")),
            Key("2", "coronal", partial(plane, "coronal")),
            Key("3", "sagittal", partial(plane, "sagittal")),
            Key("4", "3D", partial(plane, "3d")),
            Key("?", "these keys", self.show_keys),
        )

    def _place(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addLayout(row(self.mode, self.help, self.ghosts, self.remember, stretch=0))
        layout.addLayout(row(self.scan, self.previous_scan, stretch=0))
        for widget in (self.filters, self.count, self.message):
            layout.addWidget(widget)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.judge_)
        layout.addWidget(self.out)
        self.setMinimumWidth(WIDTH)
        # as wide as all columns of the table: whoever has the room sees them without scrolling
        self.setMaximumWidth(2 * WIDTH + 40)
        retell(self, preferences().keys)

    def _connect(self) -> None:
        desk = self.desk
        desk.enter(
            self._seat,
            (desk.case_changed, self._on_case),
            (desk.result_changed, self._on_case),
            (desk.findings_changed, self._on_findings),
            (desk.review_changed, self._on_review),
            (desk.problem, self._on_problem),
        )
        self.mode.toggled.connect(self._on_mode)
        self.filters.changed.connect(self._on_filter)
        self.ghosts.toggled.connect(self._on_ghosts)
        self.remember.toggled.connect(self._on_remember)
        self.recalling.changed.connect(self._on_likes)
        self.recalling.problem.connect(self._on_problem)
        self.table.chosen.connect(self._on_chosen)
        self.table.opened.connect(self._go_to)
        self.compare.chosen.connect(lambda one: self.table.select([one]))
        self.judge_.judged.connect(lambda verdict, reason: self.judge(verdict, reason))
        self.judge_.noted.connect(self._on_noted)
        self.judge_.tool_taken.connect(lambda tool: self.take(cast(Tool, tool)))
        self.destroyed.connect(partial(_release, desk, self._seat, self.tools, self.recalling))

    # What the reader does

    @property
    def findings(self) -> Findings | None:
        """The findings on the screen."""
        return self.desk.case.shown if self.desk.case is not None else None

    @property
    def review(self) -> Review | None:
        """What was said of them."""
        return self.desk.case.session.review if self.desk.case is not None else None

    def judge(self, verdict: Verdict | None, reason: str = "") -> None:
        """Say what the chosen findings are, and go on to the next one."""
        case, ids = self.desk.case, self.table.ids()
        if case is None or not ids:
            self.message.note("No finding is chosen. Choose one in the table, or press N.")
            return
        following = self._after(ids)
        with self.desk.drawn_once():
            if not self.desk.heard(lambda: case.session.judge(ids, verdict, reason=reason)):
                return
            self.message.clear_text()
            if verdict is not None and following is not None:
                self.go(following)
            elif not self.table.ids():
                self.table.select(self.table.order()[-1:])

    def next(self) -> None:
        """Go to the finding below."""
        self._step(1)

    def previous(self) -> None:
        """Go to the finding above."""
        self._step(-1)

    def next_unjudged(self) -> None:
        """Go to the next finding that has no verdict, from the top again after the last."""
        order, ids = self.table.order(), self.table.ids()
        start = order.index(ids[-1]) + 1 if ids else 0
        said = judged(self.review, order)
        left = [one for one in (*order[start:], *order[:start]) if one not in said]
        if left:
            self.go(left[0])
        elif order:
            self.message.note("Every finding that is shown has a verdict.")

    def next_scan(self) -> None:
        """Be done with this scan, and read the next one of the worklist."""
        self.judge_.finish_note()
        if not self.desk.ask_next():
            self.message.note("No worklist is open. Open one with Plugins > Worklist (Anomaly detection).")

    def centre(self) -> None:
        """Go to the chosen finding, in all planes."""
        ids = self.table.ids()
        if ids:
            self.go(ids[0])

    def go(self, finding_id: int) -> None:
        """Choose a finding, and go to its most unusual slice in all planes."""
        with self.desk.drawn_once():
            self.table.select([finding_id])
            finding = self.findings.by_id(finding_id) if self.findings is not None else None
            if finding is not None:
                self._go_to(finding)

    def worst(self) -> None:
        """Go to the most suspicious slice of the plane on the screen, and choose the finding there."""
        case, findings = self.desk.case, self.findings
        if case is None or findings is None or case.session.map is None:
            return
        axis = 0 if self.viewer.dims.ndisplay == 3 else int(self.viewer.dims.order[-3])
        place = worst_slice(findings, case.session.map.score, axis, case.judged_false)
        if place is None:
            self.message.note("There is no finding left that you have not judged false.")
            return
        with self.desk.drawn_once():
            self.table.select([findings.items[int(findings.labels[place]) - 1].id])
            jump(self.viewer, case.layer, place)

    def undo(self) -> None:
        """Take the last step back, and show what it was about."""
        with self.desk.drawn_once():
            self._back(lambda case: case.session.undo())

    def redo(self) -> None:
        """Make the step again that was taken back."""
        with self.desk.drawn_once():
            self._back(lambda case: case.session.redo())

    def split(self, *, along_supervoxels: bool = False) -> None:
        """Take the chosen finding apart; its parts keep its verdict until they get their own."""
        case, ids = self.desk.case, self.table.ids()
        if case is None or len(ids) != 1:
            self.message.note("Choose one finding to split it.")
        elif self.desk.heard(lambda: case.session.split(ids[0], along_supervoxels=along_supervoxels)):
            self.message.clear_text()

    def merge(self) -> None:
        """Make the chosen findings one."""
        case, ids = self.desk.case, self.table.ids()
        if case is not None and self.desk.heard(lambda: case.session.merge(ids)):
            self.message.clear_text()

    def take(self, tool: Tool) -> None:
        """Take a tool in hand."""
        if self.desk.heard(lambda: self.tools.take(tool)):
            self.judge_.show_tool(tool)
        else:
            self.judge_.show_tool(self.tools.tool)

    def show_keys(self) -> None:
        """Show the sheet of keys, or put it away."""
        self.sheet.toggle()

    def _back(self, act: Callable[[Case], Change | None]) -> None:
        case = self.desk.case
        if case is None:
            return
        case.take_strokes()
        done: list[Change | None] = []
        if not self.desk.heard(lambda: done.append(act(case))):
            return
        if done[0] is None:
            self.message.note("There is nothing more to take back or to make again.")
            return
        if done[0].groups:
            case.newest = done[0].groups[0].start
        shown = [key for key in done[0].verdicts if key in self.table.order()]
        if shown:
            self.go(shown[0])
            self.table.select(shown)

    def _step(self, by: int) -> None:
        order, ids = self.table.order(), self.table.ids()
        if not order:
            return
        place = order.index(ids[-1 if by > 0 else 0]) + by if ids else (0 if by > 0 else len(order) - 1)
        if 0 <= place < len(order):
            self.go(order[place])
        else:
            self.message.note("This is the last finding." if by > 0 else "This is the first finding.")

    def _after(self, ids: Iterable[int]) -> int | None:
        order, gone = self.table.order(), set(ids)
        last = max((order.index(one) for one in gone if one in order), default=-1)
        return next((one for one in order[last + 1 :] if one not in gone), None)

    def _ask_reason(self) -> None:
        if self.table.ids():
            self.judge_.ask_reason()
        else:
            self.judge(Verdict.FALSE_POSITIVE)

    def _back_to_looking(self) -> None:
        self.sheet.hide()
        self.take("look")

    def _type_note(self) -> None:
        self.judge_.note.setFocus()
        self.judge_.note.selectAll()

    def _plane(self, plane: Plane) -> None:
        set_plane(self.viewer, plane)

    def _toggle_layer(self, role: Any) -> None:
        layer = self.desk.case.layers.shown(role) if self.desk.case is not None else None
        if layer is not None:
            layer.visible = not layer.visible

    def _go_to(self, finding: Finding) -> None:
        if self.desk.case is not None:
            jump(self.viewer, self.desk.case.layer, finding.peak_index)

    # What is shown

    def _on_mode(self, on: bool) -> None:
        self.keys.set_on(on)
        if on:
            self.table.setFocus()
            if not self.table.ids():
                self.table.select(self.table.order()[:1])
        else:
            self.take("look")

    def _on_filter(self) -> None:
        self.filters.apply(self.table)
        self._show_count()

    def _on_ghosts(self, on: bool) -> None:
        if self.desk.case is not None:
            self.desk.case.show_ghosts(on)

    def _on_remember(self, on: bool) -> None:
        self.desk.heard(lambda: self.recalling.switch(on))

    def _on_likes(self) -> None:
        self.table.set_likes(self.recalling.likes)
        self._show_note()
        self._show_count()

    def _on_chosen(self, ids: tuple[int, ...]) -> None:
        self.judge_.finish_note()
        if self.desk.case is not None:
            self.desk.case.choose(ids)
        self.compare.follow(ids)
        self._show_note()

    def _on_noted(self, text: str) -> None:
        case, ids = self.desk.case, self._noting
        if case is not None and ids is not None:
            self.desk.heard(lambda: case.session.annotate(ids, text))

    def _show_note(self) -> None:
        ids = self.table.ids()
        self._noting = ids[0] if len(ids) == 1 else None
        review = self.review
        if self._noting is None:
            self.judge_.show_note(None)
        else:
            self.judge_.show_note(review.note(self._noting) if review is not None else "")
        like = self.recalling.likes.get(self._noting) if self._noting is not None else None
        self.judge_.show_hint("" if like is None else str(like))

    def _on_case(self) -> None:
        case = self.desk.case
        self.table.set_likes({})
        self.message.clear_text()
        self._welcomed = None
        self.compare.put_away()
        self.scan.setText(case.scan.name if case is not None else "no scan is open")
        mapped = case is not None and case.session.map is not None
        for widget in (self.table, self.judge_, self.out, self.filters, self.ghosts):
            widget.setEnabled(mapped)
        self.table.set_findings(None, None)
        if self.tools.tool != "look":
            self.take("look")
        if case is not None:
            case.ghosts = self.ghosts.isChecked()
        self._on_findings()

    def _on_findings(self) -> None:
        case = self.desk.case
        if case is not None and case.session.has_findings and case.shown is not None:
            self.filters.show_unit(case.scan.geometry.unit)
            self.table.set_findings(case.shown, case.scan.source)
            self._choose_newest(case, case.shown)
            if self._welcomed is not case:
                self._welcomed = case
                remarks = [case.closed_to_review] if case.closed_to_review else list(case.remarks)
                if remarks:
                    self.message.note("\n".join(remarks))
        self._on_review()

    def _choose_newest(self, case: Case, findings: Findings) -> None:
        if case.newest is not None:
            rank = int(findings.labels.reshape(-1)[case.newest])
            case.newest = None
            if rank:
                self.table.select([findings.items[rank - 1].id])

    def _on_review(self) -> None:
        review = self.review
        self.table.set_review(review)
        self.judge_.show_steps(
            undo=review is not None and bool(review.past), redo=review is not None and bool(review.future)
        )
        self._show_note()
        self._show_count()
        self.out.refresh()
        self.compare.refresh()
        self.recalling.refresh()

    def _show_count(self) -> None:
        case = self.desk.case
        if case is None or case.session.map is None:
            self.count.setText("Press Detect in the dock Detect, or open a reviewed scan.")
        elif self.findings is None:
            self.count.setText("counting")
        else:
            said = judged(self.review, (finding.id for finding in self.findings))
            self.count.setText(progress(self.findings, said, len(self.table.order()), self.recalling.likes))

    def _on_problem(self, error: Exception) -> None:
        self.message.error(words_for(error))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Undo and redo from anywhere in the dock, review mode or not."""
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if control and event.key() == Qt.Key.Key_Z:
            again = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            (self.redo if again else self.undo)()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Keep what is being typed, and give the keys back."""
        self.judge_.finish_note()
        self.mode.setChecked(False)
        self.previous_scan.close_window()
        self.compare.close_window()
        _release(self.desk, self._seat, self.tools, self.recalling)
        super().closeEvent(event)


def _release(desk: Desk, seat: object, tools: Tools, recalling: Recalling, _: object = None) -> None:
    """Let go of the window when the dock is gone."""
    tools.release()
    recalling.close()
    desk.leave(seat)
