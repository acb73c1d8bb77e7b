"""The series that an archive has found, to be sorted and chosen from. Names are shown here and go nowhere else."""

from collections.abc import Collection, Sequence
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_anomaly.pacs.match import Match

__all__ = ["ArchiveTable", "MatchModel"]

_TITLES = ("date", "patient", "kind", "series", "files")
_TOOLTIPS = (
    "Day of the examination",
    "Name of the patient; the ID is in the tip of a row",
    "Modality",
    "What the series is called",
    "How many there are of it; a tick where they are here already",
)
_WIDTHS = (78, 90, 36, 66, 50)
_PATIENT, _DESCRIPTION, _IMAGES = 1, 3, 4
_SORT = int(Qt.ItemDataRole.UserRole)


class MatchModel(QAbstractTableModel):
    """Series as rows."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.matches: tuple[Match, ...] = ()
        self._here: frozenset[Match] = frozenset()

    def set_matches(self, matches: Sequence[Match]) -> None:
        """Show these series."""
        self.beginResetModel()
        self.matches = tuple(matches)
        self._here = frozenset()
        self.endResetModel()

    def set_here(self, here: Collection[Match]) -> None:
        """Mark those that were fetched."""
        self._here = frozenset(here)
        if self.matches:
            self.dataChanged.emit(self.index(0, _IMAGES), self.index(len(self.matches) - 1, _IMAGES))

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (Qt's name and default)
        """Count the series."""
        return 0 if parent.isValid() else len(self.matches)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (as above)
        """Count the columns."""
        return 0 if parent.isValid() else len(_TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802 (Qt's name)
        """Give the titles."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _TITLES[section]
        return _TOOLTIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Give a cell."""
        if not 0 <= index.row() < len(self.matches):
            return None
        match = self.matches[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(match, index.column())
        if role == _SORT:
            return _key(match, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(match)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == _IMAGES:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, match: Match, column: int) -> str:
        count = str(match.images or "")
        images = f"✓ {count}" if match in self._here else count
        return (_day(match), _name(match), match.modality, match.description, images)[column]


class ArchiveTable(QTableView):
    """The table of series; several may be chosen.

    Attributes
    ----------
    chosen
        Signal with the series of a double-click or Enter.
    changed
        Signal when others are selected.
    """

    chosen = Signal(object)
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.matches = MatchModel(self)
        self._order = QSortFilterProxyModel(self)
        self._order.setSourceModel(self.matches)
        self._order.setSortRole(_SORT)
        self._order.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self._order)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setToolTip(
            "A double-click or Enter fetches a series and opens it; Ctrl and Shift choose several"
        )
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(120)
        self.doubleClicked.connect(self._on_chosen)
        rows, header, selection = self.verticalHeader(), self.horizontalHeader(), self.selectionModel()
        if rows is not None and header is not None and selection is not None:
            rows.hide()
            rows.setDefaultSectionSize(20)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            for column, width in enumerate(_WIDTHS):
                header.resizeSection(column, width)
            for column in (_PATIENT, _DESCRIPTION):
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            header.setMinimumSectionSize(30)
            selection.selectionChanged.connect(lambda *_: self.changed.emit())

    def set_matches(self, matches: Sequence[Match]) -> None:
        """Show these series; the first one is selected."""
        self.matches.set_matches(matches)
        if matches:
            self.selectRow(0)
        self.changed.emit()

    @property
    def selected(self) -> list[Match]:
        """The selected series, from top to bottom."""
        selection = self.selectionModel()
        indexes = selection.selectedRows() if selection is not None else []
        places = [
            self._order.mapToSource(each).row() for each in sorted(indexes, key=lambda each: each.row())
        ]
        return [self.matches.matches[place] for place in places]

    def _on_chosen(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.matches.matches[self._order.mapToSource(index).row()])

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Choose with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._on_chosen(self.currentIndex())
        else:
            super().keyPressEvent(event)


def _day(match: Match) -> str:
    day = match.study_date
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else day


def _name(match: Match) -> str:
    """Write a name as people do: family, given; of several scripts the first."""
    family, *given = match.patient_name.split("=")[0].split("^")
    rest = " ".join(part for part in given[:2] if part)
    return f"{family}, {rest}" if rest else family


def _key(match: Match, column: int) -> Any:
    return (match.study_date, match.patient_name, match.modality, match.description, match.images)[column]


def _tip(match: Match) -> str:
    series = " ".join(part for part in (match.modality, match.number, match.description) if part)
    return "\n".join(line for line in (_name(match), match.patient_id, series) if line)
