"""The small parts that the docks are built of: rows, buttons, messages."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

__all__ = ["Message", "WIDTH", "button", "caption", "row", "slim_combo", "words"]

WIDTH = 312
"""Widest that the contents of a dock may ask for, in pixels."""

_CAPTION_WIDTH = 72

# Told apart by colour-blind readers, and by the words in any case.
_ERROR = "QLabel { border-left: 3px solid #d55e00; padding: 3px 6px; }"
_NOTE = "QLabel { border-left: 3px solid #56b4e9; padding: 3px 6px; }"


def caption(text: str, buddy: QWidget | None = None) -> QLabel:
    """Make the caption of a control; its mnemonic moves the keyboard there."""
    label = QLabel(text)
    label.setFixedWidth(_CAPTION_WIDTH)
    if buddy is not None:
        label.setBuddy(buddy)
    return label


def button(text: str, tooltip: str, pressed: Callable[[], object]) -> QPushButton:
    """Make a button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda: pressed())
    return made


def words(tooltip: str) -> QLabel:
    """Make a label that never widens the dock, however long its text."""
    label = QLabel()
    label.setToolTip(tooltip)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def row(*widgets: QWidget, stretch: int | None = None) -> QHBoxLayout:
    """Put widgets beside each other.

    Parameters
    ----------
    *widgets
        From left to right.
    stretch
        Which one takes the room that is left.
    """
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    for place, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if place == stretch else 0)
    return layout


def slim_combo(tooltip: str) -> QComboBox:
    """Make a list to choose from that never widens the dock, however long its entries."""
    combo = QComboBox()
    combo.setToolTip(tooltip)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(6)
    combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return combo


class Message(QLabel):
    """Words to the user, in the dock: what went wrong and the way out, or what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setToolTip("What happened last; the text can be selected and copied")
        self.hide()

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._say(text, _ERROR)

    def note(self, text: str) -> None:
        """Say what was done, or what is worth knowing."""
        self._say(text, _NOTE)

    def clear_text(self) -> None:
        """Say nothing."""
        self.setText("")
        self.hide()

    def _say(self, text: str, style: str) -> None:
        # A path without a space would widen the dock: it may break at its separators.
        self.setText(text.replace("/", "/\u200b").replace("_", "_\u200b"))
        self.setStyleSheet(style)
        self.show()
