"""The middle of the reading dock: note, verdicts, moving on, undo, split and merge, tools."""

from collections.abc import Callable, Mapping
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QButtonGroup, QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_anomaly.plugin.parts import button, caption, row
from napari_anomaly.plugin.tools import Tool
from napari_anomaly.review import REASONS, Verdict

__all__ = ["JudgeSection"]

_NOTE_AFTER_MS = 500
_HINT = "on the chosen finding"
_CHECKED = "QPushButton { padding: 2px; } QPushButton:checked { background-color: #4560c8; }"

_TOOLS: dict[Tool, tuple[str, str]] = {
    "look": ("Look", "Move and zoom, as always (Esc)"),
    "draw": ("Draw", "Draw into the mask on this slice; [ and ] change the size of the brush (D)"),
    "erase": ("Erase", "Erase from the mask on this slice; [ and ] change the size of the brush (E)"),
    "supervoxel": (
        "Superpixel",
        "A click takes the whole superpixel under the pointer into the mask, or out of it, in 3D (S)",
    ),
    "grow": (
        "Grow",
        "A finding was missed: a click into it adds it, as far as the superpixels around are like the one under "
        "the pointer (A)",
    ),
}


class JudgeSection(QWidget):
    """Note, verdicts, moving on, undo, tools.

    Parameters
    ----------
    acts
        What the plain buttons do: ``"previous"``, ``"next"``, ``"unjudged"``, ``"worst"``, ``"undo"``, ``"redo"``,
        ``"split"``, ``"split_along"``, ``"merge"``.

    Attributes
    ----------
    judged
        Signal with a verdict, or None to take it back, and a reason.
    noted
        Signal with the text of the note, half a second after the last key.
    tool_taken
        Signal with the tool.
    """

    judged = Signal(object, str)
    noted = Signal(str)
    tool_taken = Signal(str)

    def __init__(self, acts: Mapping[str, Callable[[], object]]) -> None:
        super().__init__()
        self._last_reason = ""
        self._build_note()
        self._build_verdicts()
        self._build_moves(acts)
        self._build_parts(acts)
        self._build_tools()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row(caption("&Note", self.note), self.note, stretch=1))
        for buttons in (
            (self.real, self.false, self.unsure, self.back),
            (self.previous, self.next, self.unjudged, self.worst),
            (self.undo, self.redo, self.split, self.merge),
            tuple(self.tools.values()),
        ):
            line = row(*buttons)
            for place in range(len(buttons)):
                line.setStretch(place, 1)
            layout.addLayout(line)

    def _build_note(self) -> None:
        self.note = QLineEdit()
        self.note.setPlaceholderText(_HINT)
        self.note.setMaxLength(2000)
        self.note.setToolTip(
            "Your words on the chosen finding; they are kept as you type, and stand in reports"
        )
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_NOTE_AFTER_MS)
        self._rest.timeout.connect(self.finish_note)
        self.note.textEdited.connect(lambda _: self._rest.start())
        self.note.editingFinished.connect(self.finish_note)

    def _build_verdicts(self) -> None:
        self.real = button(
            "Real", "This is a finding indeed; on to the next (R)", lambda: self._say(Verdict.REAL)
        )
        self.false = button(
            "False ▾",
            "A false positive: choose why. It leaves the mask at once, and the next one comes (F)",
            self.ask_reason,
        )
        self.unsure = button(
            "Unsure",
            "You cannot tell; it stays in the mask; on to the next (U)",
            lambda: self._say(Verdict.UNSURE),
        )
        self.back = button("Clear", "Take your verdict back (Backspace)", lambda: self._say(None))
        self.reasons = QMenu(self)
        self.reasons.setToolTip("Why it is a false positive")
        self.reasons.aboutToShow.connect(self._fill_reasons)

    def _build_moves(self, acts: Mapping[str, Callable[[], object]]) -> None:
        self.previous = button("Previous", "Go to the finding above in the table (P)", acts["previous"])
        self.next = button("Next", "Go to the finding below in the table (N)", acts["next"])
        self.unjudged = button(
            "Unjudged", "Go to the next finding that you have not judged (space)", acts["unjudged"]
        )
        self.worst = button(
            "Worst slice",
            "Go to the most suspicious slice of this plane: where findings that you have not judged false are "
            "largest and score highest (W)",
            acts["worst"],
        )
        self.undo = button(
            "Undo", "Take your last step back: verdict, note or drawing (Ctrl+Z)", acts["undo"]
        )
        self.redo = button("Redo", "Make the step again that you took back (Ctrl+Shift+Z)", acts["redo"])

    def _build_parts(self, acts: Mapping[str, Callable[[], object]]) -> None:
        self.split = QPushButton("Split")
        self.split.setToolTip("The chosen finding is several: take it apart (X)")
        menu = QMenu(self)
        # Not the acts themselves: Qt would hand them whether the entry is checked.
        menu.addAction("&At its peaks (X)", lambda: acts["split"]())
        menu.addAction("A&long its superpixels (Shift+X)", lambda: acts["split_along"]())
        self.split.setMenu(menu)
        self.merge = button(
            "Merge", "The chosen findings are one, whether they touch or not (J)", acts["merge"]
        )

    def _build_tools(self) -> None:
        self.tools: dict[Tool, QPushButton] = {}
        group = QButtonGroup(self)
        for tool in _TOOLS:
            self.tools[tool] = self._tool(tool)
            group.addButton(self.tools[tool])
        self.tools["look"].setChecked(True)

    def _tool(self, tool: Tool) -> QPushButton:
        text, tooltip = _TOOLS[tool]
        made = button(text, tooltip, lambda: self.tool_taken.emit(tool))
        made.setCheckable(True)
        made.setStyleSheet(_CHECKED)
        return made

    def show_note(self, text: str | None) -> None:
        """Show the note on the chosen finding; None where none is chosen."""
        self.note.setEnabled(text is not None)
        if self.note.text() != (text or "") and not self._rest.isActive():
            self.note.setText(text or "")

    def show_hint(self, text: str) -> None:
        """Say something of the chosen finding where its note will be; empty for nothing."""
        self.note.setPlaceholderText(text or _HINT)

    def show_steps(self, *, undo: bool, redo: bool) -> None:
        """Tell whether there is something to undo and to redo."""
        self.undo.setEnabled(undo)
        self.redo.setEnabled(redo)

    def show_tool(self, tool: Tool) -> None:
        """Show which tool is in hand."""
        self.tools[tool].setChecked(True)

    def finish_note(self) -> None:
        """Keep what was typed."""
        if self._rest.isActive() or self.note.isModified():
            self._rest.stop()
            self.note.setModified(False)
            self.noted.emit(self.note.text())

    def ask_reason(self) -> None:
        """Ask why it is a false positive; the first answer is a second F."""
        place = self.false.mapToGlobal(self.false.rect().bottomLeft())
        self.reasons.popup(place)

    def _fill_reasons(self) -> None:
        self.reasons.clear()
        again = f"as before: {self._last_reason} (&F)" if self._last_reason else "no reason given (&F)"
        for text, reason in ((again, self._last_reason), *((f"&{name}", name) for name in REASONS)):
            action = self.reasons.addAction(text)
            if action is not None:
                action.triggered.connect(lambda _=False, reason=reason: self._say_false(reason))
        first = self.reasons.actions()[0]
        self.reasons.setActiveAction(first)

    def _say_false(self, reason: str) -> None:
        self._last_reason = reason
        self._say(Verdict.FALSE_POSITIVE, reason)

    def _say(self, verdict: Verdict | None, reason: str = "") -> None:
        self.finish_note()
        self.judged.emit(verdict, reason)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Leave the note with Escape, so that the keys of review mode work again."""
        if event.key() == Qt.Key.Key_Escape and self.note.hasFocus():
            self.finish_note()
            self.setFocus()
        else:
            super().keyPressEvent(event)
