"""The table of findings: worst first; a click or an arrow key goes there."""

from collections.abc import Container
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_anomaly.findings import Finding, Findings
from napari_anomaly.geometry import Unit
from napari_anomaly.plugin.threshold_section import format_score
from napari_anomaly.plugin.view import patient_place

__all__ = ["FindingsModel", "FindingsTable", "progress", "summary"]

_TOOLTIPS = (
    "Rank: 1 is the most unusual",
    "Highest score inside: the share of normal voxels that score lower",
    "Volume",
    "Longest extent",
    "Where its most unusual point is",
)


def summary(findings: Findings) -> str:
    """Say how many findings there are and how large they are together: ``7 findings, 12.4 ml``."""
    count = len(findings)
    if count == 0:
        return "no findings at these settings"
    voxels = sum(finding.voxels for finding in findings)
    if findings.geometry.unit == "mm":
        size = f"{voxels * findings.geometry.voxel_volume / 1000:.1f} ml"
    else:
        size = f"{voxels} voxels"
    return f"{count} finding{'' if count == 1 else 's'}, {size}"


def progress(findings: Findings, said: Container[int], shown: int, likes: Container[int]) -> str:
    """Say how far a reading is: ``7 findings, 12.4 ml (3 shown), 2 judged, 1 ≈ false``.

    Parameters
    ----------
    findings
        What there is.
    said, likes
        Ids of those that are judged, and of those that are like one that was rejected.
    shown
        How many of them the table shows.
    """
    judged = sum(one.id in said for one in findings)
    alike = sum(one.id in likes and one.id not in said for one in findings)
    less = "" if shown == len(findings) else f" ({shown} shown)"
    like = f", {alike} ≈ false" if alike else ""
    return f"{summary(findings)}{less}, {judged} judged{like}"


class FindingsModel(QAbstractTableModel):
    """Findings as rows: rank, score, volume, extent, place."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: tuple[Finding, ...] = ()
        self._unit: Unit = "mm"

    def set_findings(self, findings: Findings | None) -> None:
        """Show these findings, or none."""
        self.beginResetModel()
        self._items = () if findings is None else findings.items
        self._unit = "mm" if findings is None else findings.geometry.unit
        self.endResetModel()

    def finding(self, place: int) -> Finding | None:
        """Give the finding of a row."""
        return self._items[place] if 0 <= place < len(self._items) else None

    def row_of(self, finding_id: int) -> int:
        """Give the row of a finding, -1 where there is none."""
        return next((row for row, finding in enumerate(self._items) if finding.id == finding_id), -1)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (Qt's name and default)
        """Count the findings."""
        return 0 if parent.isValid() else len(self._items)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (as above)
        """Count the columns."""
        return 0 if parent.isValid() else len(_TOOLTIPS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802 (Qt's name)
        """Give the titles."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            known = self._unit == "mm"
            return ("#", "score", "mm³" if known else "voxels", "mm" if known else "long", "where")[section]
        return _TOOLTIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Give a cell."""
        finding = self.finding(index.row())
        if finding is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(finding, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(finding)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() < 4:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, finding: Finding, column: int) -> str:
        return (
            str(finding.rank),
            format_score(finding.peak),
            f"{finding.volume_mm3:.0f}",
            f"{finding.diameter_mm:.0f}",
            finding.where or self._place(finding),
        )[column]

    def _place(self, finding: Finding) -> str:
        if self._unit == "mm":
            letters = ("RL", "AP", "SI")
            return " ".join(
                f"{p[0] if v >= 0 else p[1]}{abs(v):.0f}"
                for p, v in zip(letters, finding.peak_mm, strict=True)
            )
        z, y, x = finding.peak_index
        return f"z{z} y{y} x{x}"

    def _tooltip(self, finding: Finding) -> str:
        place = patient_place(finding.peak_mm) if self._unit == "mm" else self._place(finding)
        lines = [f"Finding {finding.rank}", finding.where, f"most unusual at {place}"]
        lines.append(f"score {format_score(finding.peak)}, on average {format_score(finding.mean)}")
        if finding.stability is not None:
            lines.append(f"{finding.stability:.0%} of it is found again in the mirror image")
        return "\n".join(line for line in lines if line)


class FindingsTable(QTableView):
    """The table on the screen.

    Attributes
    ----------
    chosen
        Signal with the finding that the reader went to.
    """

    chosen = Signal(Finding)

    def __init__(self) -> None:
        super().__init__()
        self.findings_model = FindingsModel(self)
        self.setModel(self.findings_model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setToolTip("Findings, the most unusual first. A click or an arrow key goes there in all planes")
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(96)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and header is not None:
            rows.hide()
            rows.setDefaultSectionSize(20)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setSectionResizeMode(4, QHeaderView.ResizeMode.Stretch)
            header.setHighlightSections(False)
        for column, width in enumerate((30, 56, 54, 32)):
            self.setColumnWidth(column, width)
        # A click on the row that is chosen already must go there again: the reader has scrolled away.
        self.clicked.connect(lambda index: self._choose(index.row()))

    def set_findings(self, findings: Findings | None) -> None:
        """Show findings; the one that was chosen stays chosen, and nothing moves."""
        before = self.findings_model.finding(self.currentIndex().row())
        self.findings_model.set_findings(findings)
        place = self.findings_model.row_of(before.id) if before is not None else -1
        if place >= 0:
            self.selectRow(place)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Go to the finding that an arrow key leads to."""
        before = self.currentIndex().row()
        super().keyPressEvent(event)
        after = self.currentIndex().row()
        if after != before or event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(after)

    def _choose(self, place: int) -> None:
        finding = self.findings_model.finding(place)
        if finding is not None:
            self.chosen.emit(finding)
