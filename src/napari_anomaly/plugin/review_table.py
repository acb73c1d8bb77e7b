"""The table of the reader: every finding with what was said of it, to be filtered, sorted and chosen from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from psygnal import Signal
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_anomaly.anomaly import MAX_DECADES, to_decades
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.geometry import Unit
from napari_anomaly.plugin.threshold_section import format_score
from napari_anomaly.recall import Like
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Source

__all__ = ["FILTERS", "VERDICT_COLOURS", "ReviewModel", "ReviewTable", "Show", "verdict_words"]

Show: TypeAlias = Literal["all", "unjudged", "real", "false_positive", "unsure"]

FILTERS: dict[Show, str] = {
    "all": "all",
    "unjudged": "not judged yet",
    "real": "real",
    "false_positive": "false positive",
    "unsure": "unsure",
}
"""What the table can show, and the words for it."""

_WORDS = {Verdict.REAL: "real", Verdict.FALSE_POSITIVE: "false", Verdict.UNSURE: "unsure"}
VERDICT_COLOURS = {Verdict.REAL: "#56b4e9", Verdict.FALSE_POSITIVE: "#9a9a9a", Verdict.UNSURE: "#e69f00"}
"""Colours of verdicts: told apart by colour-blind readers, and by the words in any case."""
_TITLES = ("#", "verdict", "score", "again", "mm³", "mm", "where", "slices", "mean", "note")
_TOOLTIPS = (
    "Number: 1 is the most unusual",
    "What you said of it",
    "Highest score inside: the share of normal voxels that score lower",
    "Stability: how much of it is found again in the mirror image of the scan",
    "Volume",
    "Longest diameter",
    "Side and structure",
    "First and last axial slice, as the file counts them",
    "Mean score inside",
    "Your note on it",
)
_WIDTHS = (26, 50, 54, 44, 46, 28, 190, 58, 54)
_NUMBERS = frozenset({0, 2, 3, 4, 5, 7, 8})
_LIKE = "≈ false"
# More findings than any scan has; Qt compares places as numbers of 32 bits.
_MANY = 1 << 24
_VERDICT, _NOTE = 1, 9
_SORT = int(Qt.ItemDataRole.UserRole)


def verdict_words(verdict: Verdict | None, reason: str = "") -> str:
    """Put a verdict into words: ``false: vessel``."""
    if verdict is None:
        return "-"
    return f"{_WORDS[verdict]}: {reason}" if reason else _WORDS[verdict]


class ReviewModel(QAbstractTableModel):
    """Findings as rows, with what was said of them."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: tuple[Finding, ...] = ()
        self._rows: dict[int, int] = {}
        self._slices: list[tuple[int, int]] = []
        self._unit: Unit = "mm"
        self._review: Review | None = None
        self._likes: Mapping[int, Like] = {}

    def set_findings(self, findings: Findings | None, source: Source | None) -> None:
        """Show these findings, or none."""
        self.beginResetModel()
        self._items = () if findings is None else findings.items
        self._rows = {finding.id: row for row, finding in enumerate(self._items)}
        self._unit = "mm" if findings is None else findings.geometry.unit
        self._slices = _slices(self._items, source)
        self.endResetModel()

    def set_review(self, review: Review | None) -> None:
        """Show what was said; only rows of which something else was said are drawn anew."""
        before = {} if self._review is None else self._review.verdicts
        after = {} if review is None else review.verdicts
        self._review = review
        for row, finding in enumerate(self._items):
            if before.get(finding.id) is not after.get(finding.id):
                self.dataChanged.emit(self.index(row, _VERDICT), self.index(row, _NOTE))

    def set_likes(self, likes: Mapping[int, Like]) -> None:
        """Mark findings that are like one that was rejected."""
        self._likes = likes
        if self._items:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._items) - 1, _NOTE))

    def finding(self, row: int) -> Finding | None:
        """Give the finding of a row."""
        return self._items[row] if 0 <= row < len(self._items) else None

    def row_of(self, finding_id: int) -> int:
        """Give the row of a finding, -1 where there is none."""
        return self._rows.get(finding_id, -1)

    def verdict(self, row: int) -> Verdict | None:
        """Give the verdict on the finding of a row."""
        return self._review.verdict(self._items[row].id) if self._review is not None else None

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (Qt's name and default)
        """Count the findings."""
        return 0 if parent.isValid() else len(self._items)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (as above)
        """Count the columns."""
        return 0 if parent.isValid() else len(_TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802 (Qt's name)
        """Give the titles."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            unknown = {4: "voxels", 5: "long"} if self._unit != "mm" else {}
            return unknown.get(section, _TITLES[section])
        return _TOOLTIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Give a cell."""
        finding = self.finding(index.row())
        if finding is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(finding, index.row(), index.column())
        if role == _SORT:
            return self._key(finding, index.row(), index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(finding, index.row())
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in _NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole:
            verdict = self.verdict(index.row())
            if verdict is None and finding.id in self._likes:
                verdict = Verdict.FALSE_POSITIVE
            return QColor(VERDICT_COLOURS[verdict]) if verdict is not None else None
        return None

    def _text(self, finding: Finding, row: int, column: int) -> str:
        if column == _VERDICT:
            verdict = self.verdict(row)
            return _LIKE if verdict is None and finding.id in self._likes else verdict_words(verdict)
        if column == _NOTE:
            return self._review.note(finding.id) if self._review is not None else ""
        first, last = self._slices[row]
        words = {
            0: str(finding.rank),
            2: format_score(finding.peak),
            3: "" if finding.stability is None else f"{finding.stability:.0%}",
            4: f"{finding.volume_mm3:.0f}",
            5: f"{finding.diameter_mm:.0f}",
            6: finding.where,
            7: f"{first}-{last}" if first != last else str(first),
            8: format_score(finding.mean),
        }
        return words[column]

    def _key(self, finding: Finding, row: int, column: int) -> Any:
        numbers = {
            0: self._place(finding),
            2: finding.peak,
            3: -1.0 if finding.stability is None else finding.stability,
            4: finding.volume_mm3,
            5: finding.diameter_mm,
            7: self._slices[row][0],
            8: finding.mean,
        }
        return numbers[column] if column in numbers else self._text(finding, row, column)

    def _place(self, finding: Finding) -> int:
        """Give the place of a finding: after others of as high a score where it is like a rejected one."""
        band = int(MAX_DECADES) - int(to_decades(finding.peak))
        return (2 * band + (finding.id in self._likes)) * _MANY + finding.rank

    def _tooltip(self, finding: Finding, row: int) -> str:
        review = self._review
        first, last = self._slices[row]
        lines = [
            f"Finding {finding.rank}" + (f", {finding.where}" if finding.where else ""),
            f"score {format_score(finding.peak)}, on average {format_score(finding.mean)}",
            f"{last - first + 1} axial slices, {first} to {last}",
        ]
        if self._unit == "mm":
            lines.append(f"{finding.volume_mm3 / 1000:.2f} ml, {finding.diameter_mm:.1f} mm at its longest")
        if finding.stability is not None:
            lines.append(f"{finding.stability:.0%} of it is found again in the mirror image")
        if review is not None and self.verdict(row) is not None:
            lines.append(verdict_words(self.verdict(row), review.reason(finding.id)))
        if finding.id in self._likes:
            lines.append(str(self._likes[finding.id]))
        if review is not None and review.note(finding.id):
            lines.append(review.note(finding.id))
        return "\n".join(lines)


class _Filter(QSortFilterProxyModel):
    """Sorts, and lets through what the reader wants to see."""

    def __init__(self, model: ReviewModel, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self._show: Show = "all"
        self._least_mm3 = 0.0
        self._least_score = 0.0
        self.setSourceModel(model)
        self.setSortRole(_SORT)
        self.setDynamicSortFilter(True)

    def show(self, what: Show, least_mm3: float, least_score: float) -> None:
        """Let these through."""
        self._show, self._least_mm3, self._least_score = what, least_mm3, least_score
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802 (Qt's name)
        """Tell whether a finding is shown."""
        finding = self._model.finding(row)
        if finding is None or finding.volume_mm3 < self._least_mm3 or finding.peak < self._least_score:
            return False
        if self._show == "all":
            return True
        verdict = self._model.verdict(row)
        return verdict is None if self._show == "unjudged" else verdict == self._show


class ReviewTable(QTableView):
    """The table on the screen.

    Attributes
    ----------
    chosen
        Signal with the ids of the findings that the reader has chosen.
    opened
        Signal with the finding that the reader wants to go to.
    """

    chosen = Signal(tuple)
    opened = Signal(Finding)

    def __init__(self) -> None:
        super().__init__()
        self.review_model = ReviewModel(self)
        self._filter = _Filter(self.review_model, self)
        self._quiet = False
        self.setModel(self._filter)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip(
            "A click chooses a finding and outlines it; a double-click or Enter goes there in all planes.\n"
            "Shift and Ctrl choose several. A click on a title sorts."
        )
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(120)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._size_columns()
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.doubleClicked.connect(lambda index: self._open(index))

    def _size_columns(self) -> None:
        rows, header = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and header is not None:
            rows.hide()
            rows.setDefaultSectionSize(20)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(True)
            header.setHighlightSections(False)
            header.setMinimumSectionSize(20)
            header.setSectionsMovable(True)
            # a title that is centred in a column that is cut is not seen
            header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)

    # What is shown

    def set_findings(self, findings: Findings | None, source: Source | None) -> None:
        """Show findings; those that were chosen stay chosen, and nothing moves."""
        before = self.ids()
        self._quiet = True
        self.review_model.set_findings(findings, source)
        self._quiet = False
        self.select(before)

    def set_review(self, review: Review | None) -> None:
        """Show what was said of them."""
        self.review_model.set_review(review)

    def set_likes(self, likes: Mapping[int, Like]) -> None:
        """Mark findings that are like one that was rejected; they go after others of as high a score."""
        self.review_model.set_likes(likes)

    def show_only(self, what: Show, *, least_mm3: float = 0.0, least_score: float = 0.0) -> None:
        """Filter by verdict, volume and peak score; what is left out stays in the mask.

        Parameters
        ----------
        what
            Which verdict.
        least_mm3, least_score
            Smallest volume in mm3, and lowest peak score, 0 to 1.
        """
        self._filter.show(what, least_mm3, least_score)

    def order(self) -> list[int]:
        """Give the ids of the findings that are shown, from top to bottom."""
        rows = (self._row(self._filter.index(place, 0)) for place in range(self._filter.rowCount()))
        items = (self.review_model.finding(row) for row in rows)
        return [item.id for item in items if item is not None]

    # What is chosen

    def ids(self) -> tuple[int, ...]:
        """Give the ids of the chosen findings, from top to bottom."""
        model = self.selectionModel()
        if model is None:
            return ()
        places = sorted(index.row() for index in model.selectedRows())
        items = (self.review_model.finding(self._row(self._filter.index(place, 0))) for place in places)
        return tuple(item.id for item in items if item is not None)

    def select(self, ids: Iterable[int]) -> None:
        """Choose findings; those that are not shown are left out."""
        model = self.selectionModel()
        if model is None:
            return
        flags = QItemSelectionModel.SelectionFlag
        self._quiet = True
        model.clearSelection()
        for place, finding_id in enumerate(ids):
            index = self._filter.mapFromSource(
                self.review_model.index(self.review_model.row_of(finding_id), 0)
            )
            if not index.isValid():
                continue
            if place == 0:
                model.setCurrentIndex(index, flags.NoUpdate)
                self.scrollTo(index)
            model.select(index, flags.Select | flags.Rows)
        self._quiet = False
        self.chosen.emit(self.ids())

    def selectionChanged(self, selected: Any, deselected: Any) -> None:  # noqa: N802 (Qt's name)
        """Tell what the reader chooses."""
        super().selectionChanged(selected, deselected)
        if not self._quiet:
            self.chosen.emit(self.ids())

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Go to the chosen finding with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _open(self, index: QModelIndex) -> None:
        finding = self.review_model.finding(self._row(index))
        if finding is not None:
            self.opened.emit(finding)

    def _row(self, index: QModelIndex) -> int:
        return int(self._filter.mapToSource(index).row())


def _slices(items: Sequence[Finding], source: Source | None) -> list[tuple[int, int]]:
    """Give first and last slice along z, as the file counts them."""
    ends = np.array([finding.box[0] for finding in items], dtype=np.int64).reshape(-1, 2)
    ends[:, 1] -= 1
    if source is not None and len(ends):
        axis = source.order[0]
        index = np.zeros((len(ends), 2, 3), dtype=np.int64)
        index[:, :, 0] = ends
        ends = np.sort(source.index_to_file(index)[:, :, axis], axis=1)
    return [(int(first), int(last)) for first, last in ends]
