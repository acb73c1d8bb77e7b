"""The table of readers: what each of them said of every finding, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_anomaly.agreement import Agreement, agreed
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.plugin.review_table import VERDICT_COLOURS, verdict_words
from napari_anomaly.review import Verdict

__all__ = ["AgreementModel", "AgreementTable", "finding_at"]

_NUMBER, _AGREE, _FIRST = 0, 1, 2
# Words and a sign, so that nobody has to tell colours apart.
_MARKS: Mapping[bool | None, str] = {True: "= yes", False: "≠ no", None: ""}
_DIFFERENT = "#d55e00"
_WIDTHS = (46, 56)
_SORT = int(Qt.ItemDataRole.UserRole)
_NOWHERE = 1 << 24


@dataclass(frozen=True, slots=True)
class _Row:
    """One finding: where it stands among those of the window, and what was said of it."""

    key: int
    number: str
    place: int
    where: str
    said: tuple[Verdict | None, ...]
    same: bool | None


class AgreementModel(QAbstractTableModel):
    """Findings as rows, readers as columns; the first reader is the one at this window."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[_Row, ...] = ()
        self._readers: tuple[str, ...] = ()

    def set_agreement(self, found: Agreement | None, findings: Findings | None) -> None:
        """Show what readers said.

        Parameters
        ----------
        found
            Who said what; None for nothing.
        findings
            Those on the screen, which give the numbers.
        """
        self.beginResetModel()
        self._readers = () if found is None else found.readers
        self._rows = () if found is None else _rows(found, findings)
        self.endResetModel()

    def key(self, row: int) -> int | None:
        """Give the id of the finding of a row; None where there is no such row."""
        return self._rows[row].key if 0 <= row < len(self._rows) else None

    def row_of(self, key: int) -> int:
        """Give the row of a finding, -1 where there is none."""
        return next((place for place, row in enumerate(self._rows) if row.key == key), -1)

    def same(self, row: int) -> bool | None:
        """Tell whether all who judged the finding of a row said the same; None where fewer than two did."""
        return self._rows[row].same

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (Qt's name and default)
        """Count the findings."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (as above)
        """Count the columns."""
        return 0 if parent.isValid() else len(self._titles)

    @property
    def _titles(self) -> tuple[str, ...]:
        readers = (f"{name} (you)" if place == 0 else name for place, name in enumerate(self._readers))
        return ("#", "agree", *readers, "where")

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802 (Qt's name)
        """Give the titles."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self._titles):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._titles[section]
        return self._tooltip(section) if role == Qt.ItemDataRole.ToolTipRole else None

    def _tooltip(self, section: int) -> str:
        if section == _NUMBER:
            return "Number among the findings on the screen; (3): it is part of finding 3; -: not at this threshold"
        if section == _AGREE:
            return "Whether all who judged it said the same"
        last = section == len(self._titles) - 1
        return "Side and structure" if last else f"What {self._titles[section]} said"

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Give a cell."""
        if self.key(index.row()) is None:
            return None
        row, column = self._rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == _SORT:
            return row.place if column == _NUMBER else self._text(row, column)
        if role == Qt.ItemDataRole.FontRole and row.same is False:
            bold = QFont()
            bold.setBold(True)
            return bold
        return self._colour(row, column) if role == Qt.ItemDataRole.ForegroundRole else None

    def _text(self, row: _Row, column: int) -> str:
        if column == _NUMBER:
            return row.number
        if column == _AGREE:
            return _MARKS[row.same]
        reader = column - _FIRST
        return verdict_words(row.said[reader]) if reader < len(row.said) else row.where

    def _colour(self, row: _Row, column: int) -> QColor | None:
        if column == _AGREE:
            return QColor(_DIFFERENT) if row.same is False else None
        reader = column - _FIRST
        verdict = row.said[reader] if 0 <= reader < len(row.said) else None
        return None if verdict is None else QColor(VERDICT_COLOURS[verdict])


class _Filter(QSortFilterProxyModel):
    """Sorts, and lets through disagreements alone where that is wanted."""

    def __init__(self, model: AgreementModel, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self._only = False
        self.setSourceModel(model)
        self.setSortRole(_SORT)

    def only_disagreements(self, on: bool) -> None:
        """Let disagreements through alone, or everything."""
        self._only = on
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802 (Qt's name)
        """Tell whether a finding is shown."""
        return not self._only or self._model.same(row) is False


class AgreementTable(QTableView):
    """The table on the screen.

    Attributes
    ----------
    chosen
        Signal with the id of the finding that the reader has chosen.
    opened
        Signal with the id of the finding that the reader wants to go to.
    """

    chosen = Signal(int)
    opened = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.agreement_model = AgreementModel(self)
        self._filter = _Filter(self.agreement_model, self)
        self._quiet = False
        self.setModel(self._filter)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip(
            "What each reader said. A click outlines the finding; a double-click or Enter goes there in all planes.\n"
            "A click on a title sorts."
        )
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and header is not None:
            rows.hide()
            rows.setDefaultSectionSize(20)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(True)
            header.setHighlightSections(False)
            header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.setSortingEnabled(True)
        self.sortByColumn(_NUMBER, Qt.SortOrder.AscendingOrder)
        self.doubleClicked.connect(lambda index: self._open(index))

    def set_agreement(self, found: Agreement | None, findings: Findings | None) -> None:
        """Show what readers said; the finding that was chosen stays chosen, and nothing moves."""
        before, columns = self.key, self.agreement_model.columnCount()
        self._quiet = True
        self.agreement_model.set_agreement(found, findings)
        self._quiet = False
        if self.agreement_model.columnCount() != columns:
            self._size_columns()
        if before is not None:
            self.select(before)

    def _size_columns(self) -> None:
        self.resizeColumnsToContents()
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)

    def only_disagreements(self, on: bool) -> None:
        """Show disagreements alone, or everything."""
        self._filter.only_disagreements(on)

    @property
    def key(self) -> int | None:
        """Id of the chosen finding; None where none is."""
        model = self.selectionModel()
        rows = model.selectedRows() if model is not None else []
        return self._key(rows[0]) if rows else None

    def select(self, key: int) -> None:
        """Choose a finding, without a signal; none where it is not shown."""
        index = self._filter.mapFromSource(
            self.agreement_model.index(self.agreement_model.row_of(key), _NUMBER)
        )
        self._quiet = True
        if index.isValid():
            self.selectRow(index.row())
            self.scrollTo(index)
        else:
            self.clearSelection()
        self._quiet = False

    def selectionChanged(self, selected: Any, deselected: Any) -> None:  # noqa: N802 (Qt's name)
        """Tell what the reader chooses."""
        super().selectionChanged(selected, deselected)
        key = self.key
        if not self._quiet and key is not None:
            self.chosen.emit(key)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Go to the chosen finding with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _open(self, index: QModelIndex) -> None:
        key = self._key(index)
        if key is not None:
            self.opened.emit(key)

    def _key(self, index: QModelIndex) -> int | None:
        return self.agreement_model.key(int(self._filter.mapToSource(index).row()))


def finding_at(findings: Findings, key: int) -> Finding | None:
    """Give the finding of an id, or the one in which its peak lies now; None where there is none.

    Parameters
    ----------
    findings
        Those on the screen.
    key
        Id of a finding of some reader, who may have had another threshold, or may have merged or split.
    """
    known = findings.by_id(key)
    if known is not None:
        return known
    labels = findings.labels.reshape(-1)
    rank = int(labels[key]) if 0 <= key < labels.size else 0
    return findings.items[rank - 1] if rank else None


def _rows(found: Agreement, findings: Findings | None) -> tuple[_Row, ...]:
    return tuple(
        _Row(key, *_number(key, findings), said, agreed(said))
        for key, said in zip(found.findings, found.verdicts, strict=True)
    )


def _number(key: int, findings: Findings | None) -> tuple[str, int, str]:
    """Tell the number of a finding, its place in the order, and where it lies."""
    if findings is None:
        return "-", _NOWHERE, ""
    finding = finding_at(findings, key)
    if finding is None:
        return "-", _NOWHERE, ""
    part = finding.id != key
    return f"({finding.rank})" if part else str(finding.rank), 2 * finding.rank + part, finding.where
