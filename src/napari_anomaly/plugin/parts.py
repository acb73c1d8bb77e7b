"""The small parts that the docks are built of: rows, buttons, messages."""

from collections.abc import Callable

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

__all__ = ["WIDTH", "button", "caption", "row", "slim_combo", "words"]

WIDTH = 312
"""Widest that the contents of a dock may ask for, in pixels."""

_CAPTION_WIDTH = 72


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
