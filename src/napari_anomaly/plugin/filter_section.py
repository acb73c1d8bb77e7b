"""What the table of the reader shows: by verdict, by size, by score."""

from typing import cast

from psygnal import Signal
from qtpy.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from napari_anomaly.geometry import Unit
from napari_anomaly.plugin.parts import row, slim_combo
from napari_anomaly.plugin.review_table import FILTERS, ReviewTable, Show
from napari_anomaly.plugin.threshold_section import format_score

__all__ = ["FilterSection"]

_SCORES = (0.0, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999)
_LARGEST = 1_000_000


class FilterSection(QWidget):
    """Verdict, smallest size and lowest score of the findings that the table shows.

    Attributes
    ----------
    changed
        Signal without arguments, when the reader wants to see others.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.verdict = slim_combo("Show only findings with this verdict")
        for show, text in FILTERS.items():
            self.verdict.addItem(text, show)
        self.least_size = QSpinBox()
        self.least_size.setRange(0, _LARGEST)
        self.least_size.setSingleStep(50)
        self.least_size.setPrefix("≥ ")
        self.least_size.setSpecialValueText("any size")
        self.least_size.setAccessibleName("smallest finding that the table shows")
        self.least_size.setToolTip("Show only findings at least as large; the mask keeps the others")
        line = self.least_size.lineEdit()
        if line is not None:
            line.setToolTip(self.least_size.toolTip())
        self.least_size.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.least_size.setFixedWidth(self.least_size.fontMetrics().horizontalAdvance("≥ 10000 voxels") + 12)
        self.score = slim_combo("Show only findings with at least this peak score; the mask keeps the others")
        for score in _SCORES:
            self.score.addItem(f"≥ {format_score(score)}" if score else "score", score)
        self.show_unit("mm")
        self.verdict.activated.connect(lambda _: self.changed.emit())
        self.score.activated.connect(lambda _: self.changed.emit())
        self.least_size.valueChanged.connect(lambda _: self.changed.emit())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        parts = row(self.verdict, self.least_size, self.score)
        parts.setStretch(0, 1)
        parts.setStretch(2, 1)
        layout.addLayout(parts)

    def show_unit(self, unit: Unit) -> None:
        """Say what sizes are counted in."""
        self.least_size.setSuffix(" mm³" if unit == "mm" else " voxels")

    def apply(self, table: ReviewTable) -> None:
        """Have a table show what is asked for here."""
        table.show_only(
            cast(Show, self.verdict.currentData()),
            least_mm3=self.least_size.value(),
            least_score=float(self.score.currentData()),
        )
