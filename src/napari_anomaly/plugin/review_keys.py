"""The keys of review mode: bound while it is on, and nothing of napari's own is changed for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from napari_anomaly.plugin.preferences import KeysPreset

__all__ = ["OWN_KEYS", "PRESETS", "Key", "ReviewKeys", "as_preset", "retell"]

OWN_KEYS = "napari_anomaly_own_keys"
"""Property of a window beside the first one: names of keys that it needs itself."""

PRESETS: dict[KeysPreset, Mapping[str, str]] = {
    "letters": {},
    "left hand": {"U": "Q", "N": "V", "Shift+N": "Shift+V", "P": "Z"},
}
"""What keys are called instead. The left hand reaches the others of judging as they are: R, F, W, space."""

_TYPING = (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox)
_SAME = {"Enter": "Return", "Ctrl+Y": "Ctrl+Shift+Z"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Parameters
    ----------
    name
        As Qt calls it: ``"R"``, ``"Ctrl+Z"``, ``"Space"``.
    text
        What it does, for the sheet.
    act
        Called when it is pressed.
    """

    name: str
    text: str
    act: Callable[[], object]


def as_preset(keys: tuple[Key, ...], preset: KeysPreset) -> tuple[Key, ...]:
    """Give the same keys with the names of a preset."""
    names = PRESETS[preset]
    return tuple(replace(key, name=names.get(key.name, key.name)) for key in keys)


def retell(dock: QWidget, preset: KeysPreset) -> None:
    """Have the tooltips of buttons name the keys of a preset: ``(N)`` at the end of one is ``(V)`` then."""
    for made in dock.findChildren(QAbstractButton):
        for before, after in PRESETS[preset].items():
            if made.toolTip().endswith(f"({before})"):
                made.setToolTip(f"{made.toolTip().removesuffix(f'({before})')}({after})")
                break


class ReviewKeys(QObject):
    """Takes keys in one window before napari sees them, while it is on.

    Parameters
    ----------
    dock
        The dock whose window it is.
    keys
        What they do.
    """

    def __init__(self, dock: QWidget, keys: tuple[Key, ...]) -> None:
        super().__init__(dock)
        self._dock = dock
        self._keys: Mapping[str, Key] = {key.name: key for key in keys}
        self.on = False

    def set_on(self, on: bool) -> None:
        """Bind the keys, or give them back."""
        application = QApplication.instance()
        if application is None or on == self.on:
            return
        self.on = on
        if on:
            application.installEventFilter(self)
        else:
            application.removeEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802 (Qt's name)
        """Take a key that is ours, in our window, unless the reader is typing."""
        kind = event.type()
        if kind not in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride):
            return False
        if not isinstance(watched, QWidget) or not self._is_ours(watched):
            return False
        key = self._keys.get(_name(event))
        window = watched.window()
        if key is None or (window is not None and key.name in (window.property(OWN_KEYS) or ())):
            return False
        if kind == QEvent.Type.ShortcutOverride:
            # Else a menu of napari's with the same key would take it.
            event.accept()
        else:
            key.act()
        return True

    def _is_ours(self, widget: QWidget) -> bool:
        if QApplication.activePopupWidget() is not None or QApplication.activeModalWidget() is not None:
            return False
        return not isinstance(widget, _TYPING) and _main(widget) is _main(self._dock)


def _main(widget: QWidget) -> QWidget:
    """Give the outermost window: that of a dock that floats is the one that it was torn from."""
    window = widget.window() or widget
    parent = window.parentWidget()
    return window if parent is None else _main(parent)


def _name(event: Any) -> str:
    modifiers, key = event.modifiers(), event.key()
    if key == Qt.Key.Key_Question:
        return "?"
    name = QKeySequence(int(key)).toString()
    for modifier, word in (
        (Qt.KeyboardModifier.ShiftModifier, "Shift+"),
        (Qt.KeyboardModifier.AltModifier, "Alt+"),
        (Qt.KeyboardModifier.ControlModifier, "Ctrl+"),
    ):
        if modifiers & modifier:
            name = word + name
    return _SAME.get(name, name)
