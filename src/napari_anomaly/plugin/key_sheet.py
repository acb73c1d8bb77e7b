"""The sheet that lists the keys of review mode."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_anomaly.plugin.review_keys import Key

__all__ = ["KeySheet"]


class KeySheet(QDialog):
    """The sheet that lists the keys; it does not hold up the reading.

    Parameters
    ----------
    parent
        Whose keys.
    keys
        What they do.
    """

    def __init__(self, parent: QWidget, keys: tuple[Key, ...]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of review mode")
        self.setToolTip("The keys while review mode is on; Esc closes this sheet")
        layout = QVBoxLayout(self)
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        half = -(-len(keys) // 2)
        for place, key in enumerate(keys):
            name = QLabel(f"<b>{key.name}</b>")
            grid.addWidget(name, place % half, 2 * (place // half))
            grid.addWidget(QLabel(key.text), place % half, 2 * (place // half) + 1)
        layout.addLayout(grid)
        layout.addWidget(QLabel("With review mode off, all keys are napari's own again."))

    def toggle(self) -> None:
        """Show the sheet, or put it away."""
        self.setVisible(not self.isVisible())

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Put the sheet away with the key that has shown it."""
        if event.key() == Qt.Key.Key_Question:
            self.hide()
        else:
            super().keyPressEvent(event)
