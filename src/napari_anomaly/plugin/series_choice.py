"""The question which DICOM series of a folder, a disc or an archive file are to be opened."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_anomaly.io import SeriesFound

__all__ = ["SeriesChoice"]

_COLUMNS = ("Kind", "Description", "Date", "Slices", "Plane", "Spacing")
_WIDE, _HIGH = 760, 420


class SeriesChoice(QDialog):
    """Lists the series of a place; those that cannot be read stand below, with the reason.

    The series with the most slices is chosen at first. A double-click or Enter opens what is chosen.

    Parameters
    ----------
    found
        What lies there.
    parent
        The window.
    """

    def __init__(self, found: SeriesFound, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Open DICOM series")
        self.table = _table(found.rows)
        self.table.selectRow(found.largest)
        self.table.itemSelectionChanged.connect(self._allow)
        self.table.doubleClicked.connect(lambda _: self.accept())
        self.refused = QPlainTextEdit("\n".join(found.refused))
        self.refused.setReadOnly(True)
        self.refused.setMaximumHeight(110)
        self.refused.setAccessibleName("what cannot be opened")
        self.refused.setVisible(bool(found.refused))
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(
            QLabel(f"{len(found.rows)} series can be opened. Ctrl+click chooses several, Ctrl+A all.")
        )
        layout.addWidget(self.table, 1)
        if found.refused:
            layout.addWidget(QLabel("Not to be opened, and why:"))
        layout.addWidget(self.refused)
        layout.addWidget(self.buttons)
        self.resize(_WIDE, _HIGH)
        self.table.setFocus()

    @property
    def chosen(self) -> tuple[int, ...]:
        """The series that are chosen, by their places."""
        model = self.table.selectionModel()
        return tuple(sorted(index.row() for index in model.selectedRows())) if model is not None else ()

    def _allow(self) -> None:
        opening = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        if opening is not None:
            opening.setEnabled(bool(self.chosen))


def _table(rows: tuple[tuple[str, ...], ...]) -> QTableWidget:
    table = QTableWidget(len(rows), len(_COLUMNS))
    table.setHorizontalHeaderLabels(list(_COLUMNS))
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setTabKeyNavigation(False)
    for place, row in enumerate(rows):
        for column, word in enumerate(row):
            item = QTableWidgetItem(word)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            table.setItem(place, column, item)
    numbers = table.verticalHeader()
    if numbers is not None:
        numbers.hide()
    header = table.horizontalHeader()
    if header is not None:
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    return table
