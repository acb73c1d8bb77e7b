"""The dock of the worklist: many scans, the most unusual first; the next one is ready before it is wanted."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
from napari.components import ViewerModel
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtWidgets import QAbstractItemView, QFileDialog, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_anomaly import io
from napari_anomaly.errors import AnomalyError
from napari_anomaly.io.detections import load_detection
from napari_anomaly.journal import reader_name
from napari_anomaly.plugin.desk import Desk, desk_of
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.parts import WIDTH, button, row, words
from napari_anomaly.plugin.preferences import preferences
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.review import judged
from napari_anomaly.scan import Scan
from napari_anomaly.worklist import Row, Worklist

__all__ = ["Fetched", "WorklistPanel", "fetching"]

_TITLES = ("scan", "score", "found", "ml", "status", "reader", "since")
_TOOLTIPS = (
    "Name of the scan",
    "How many of 100 normal scans are less unusual than this one",
    "How many findings the detector proposes",
    "Their volume together, in millilitres",
    "Whether it was read; why it cannot be",
    "Who reads it, or has read it",
    "Since when it is being read, or when it was read: time of day, or the date, by this machine's clock",
)


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """A scan of the worklist, ready to be shown.

    Parameters
    ----------
    row
        Which one.
    scan, outcome
        The scan, and what the detector made of it.
    """

    row: Row
    scan: Scan
    outcome: Outcome


def fetching(row: Row) -> Steps[Fetched]:
    """Read a scan of the worklist and its detection, and prepare what the window shows."""
    yield Progress(0, 0, "reading the scan")
    scan = io.read_scan(row.path, series=row.series if row.series >= 0 else None)
    yield Progress(0, 0, "reading the findings")
    stored = load_detection(row.detection or Path(), scan)
    display = prepare(stored.map, stored.supervoxels)
    _ = scan.sha256, stored.map.sha256
    return Fetched(row, scan, Outcome(stored, display, stored.notes))


class _Model(QAbstractTableModel):
    """The rows of a worklist."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self.open: int | None = None

    def set_rows(self, rows: list[Row], open_: int | None) -> None:
        """Show these rows; the open one is in bold."""
        self.beginResetModel()
        self.rows, self.open = rows, open_
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 (Qt's name and default)
        """Count the scans."""
        return 0 if parent.isValid() else len(self.rows)

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
        if not 0 <= index.row() < len(self.rows):
            return None
        scan = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(scan, index.column(), is_open=scan.id == self.open)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(line for line in (scan.name, scan.reason, _who(scan)) if line)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in (1, 2, 3):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


def _text(scan: Row, column: int, *, is_open: bool) -> str:
    if column == 0:
        return f"▸ {scan.name}" if is_open else scan.name
    if column == 4:
        return scan.status if scan.state == "ready" else {"waiting": "waits", "failed": "failed"}[scan.state]
    if column == 5:
        return scan.reader
    if column == 6:
        return _time(scan)
    if scan.state != "ready":
        return ""
    score = "" if scan.scan_score is None else str(int(100 * scan.scan_score + 1e-6))
    volume = "" if scan.volume_ml is None else f"{scan.volume_ml:.1f}"
    return (score, "" if scan.findings is None else str(scan.findings), volume)[column - 1]


def _time(scan: Row) -> str:
    """Give the time of day of what happened today, and the date of what did not."""
    if not (scan.reader and scan.since):
        return ""
    then = datetime.fromisoformat(scan.since).astimezone()
    return f"{then:%H:%M}" if then.date() == datetime.now().astimezone().date() else f"{then:%Y-%m-%d}"


def _who(scan: Row) -> str:
    return f"{scan.status} by {scan.reader} on {scan.host}, {scan.since}" if scan.reader else ""


class WorklistPanel(QWidget):
    """A list of scans; the next one opens with one key.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock belongs to.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari hands out a proxy whose layers are proxies too, and those cannot be compared by identity.
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.desk = desk_of(self.viewer)
        self.worklist: Worklist | None = None
        self.reading: int | None = None
        self.opening = Jobs(listed=False)
        self.ahead = Jobs(listed=False)
        self._fetched: Fetched | None = None
        self._seat = object()
        self._build()
        self.desk.enter(
            self._seat, (self.desk.next_wanted, self.open_next), (self.desk.problem, self._on_failed)
        )
        self.destroyed.connect(partial(_release, self.desk, self._seat, (self.opening, self.ahead)))
        self._show()

    def _build(self) -> None:
        self.setWindowTitle("Worklist")
        self.choose = button("Open worklist...", "Open a list that napari-anomaly screen has made", self.ask)
        self.again = button("Refresh", "Read the list again: others may have read or added scans", self._show)
        self.count = words("How many scans there are, and how many of them are read")
        self.message = Message()
        self.table = QTableView()
        self.model = _Model(self)
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip("The most unusual scan first; a double-click or Enter opens it")
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.doubleClicked.connect(lambda index: self._open_row(index.row()))
        rows, header = self.table.verticalHeader(), self.table.horizontalHeader()
        if rows is not None and header is not None:
            rows.hide()
            rows.setDefaultSectionSize(20)
            header.setStretchLastSection(True)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate((72, 38, 42, 34, 66, 48)):
            self.table.setColumnWidth(column, width)
        self.next = button(
            "This one is read: next scan",
            "Mark this scan as read, and open the most unusual one that nobody has read (Shift+N in review mode)",
            self.open_next,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addLayout(row(self.choose, self.again, stretch=0))
        for widget in (self.count, self.message):
            layout.addWidget(widget)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.next)
        self.setMinimumWidth(WIDTH)
        self.setMaximumWidth(WIDTH + 8)

    # The list

    def ask(self) -> None:
        """Ask which worklist, and open it."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open a worklist", preferences().worklists, "Worklists (*.sqlite *.db);;All files (*)"
        )
        if chosen:
            self.open_list(Path(chosen))

    def open_list(self, file: Path) -> None:
        """Open a worklist."""
        try:
            if not file.exists():
                raise AnomalyError(
                    f"{file} is not there. Make it with: napari-anomaly screen DIR --worklist {file}"
                )
            worklist = Worklist(file)
        except AnomalyError as error:
            self._on_failed(error)
            return
        if self.worklist is not None:
            self.worklist.close()
        self.worklist, self.reading, self._fetched = worklist, None, None
        self.message.clear_text()
        self._show()
        self._look_ahead()

    def _show(self) -> None:
        rows = self.worklist.rows() if self.worklist is not None else []
        self.model.set_rows(rows, self.reading)
        read = sum(one.status == "read" for one in rows)
        failed = sum(one.state == "failed" for one in rows)
        words_ = f"{len(rows)} scans, {read} read" + (f", {failed} failed" if failed else "")
        self.count.setText(words_ if self.worklist is not None else "no worklist is open")
        self.next.setEnabled(self.worklist is not None)
        self.again.setEnabled(self.worklist is not None)
        self.next.setText("Open the first scan" if self.reading is None else "This one is read: next scan")
        place = next((n for n, one in enumerate(rows) if one.id == self.reading), None)
        if place is not None:
            self.table.selectRow(place)

    # Scans

    def open_next(self) -> None:
        """Be done with the open scan, and open the most unusual one that nobody has read."""
        if self.worklist is None:
            self.message.note("No worklist is open. Open one first.")
            return
        if self.opening.running:
            return
        if self.reading is not None:
            self.worklist.give_back(self.reading, "read")
        following = self.worklist.following(self.reading, reader=reader_name())
        self._show()
        if following is None:
            self.message.note("Every scan of this list is read, or is being read by somebody else.")
        else:
            self.open_scan(following)

    def open_scan(self, scan: Row) -> None:
        """Open a scan of the list; the one before is put back if nothing was said of it."""
        if self.worklist is None:
            return
        try:
            taken = self.worklist.take(scan.id, reader_name())
        except AnomalyError as error:
            self._on_failed(error)
            return
        self._put_back()
        self.reading = taken.id
        self._show()
        if self._fetched is not None and self._fetched.row.id == taken.id:
            self._on_fetched(self._fetched)
            return
        self.message.note(f"opening {taken.name}")
        self.opening.start(partial(fetching, taken), Listener(done=self._on_fetched, failed=self._on_failed))

    def _put_back(self) -> None:
        case = self.desk.case
        if self.worklist is None or self.reading is None:
            return
        before = self.worklist.row(self.reading)
        review = case.session.review if case is not None else None
        said = review is not None and bool(judged(review, review.verdicts) or review.strokes or review.groups)
        if before.status == "in progress" and not said:
            self.worklist.give_back(before.id, "unread")

    def _open_row(self, place: int) -> None:
        if 0 <= place < len(self.model.rows):
            self.open_scan(self.model.rows[place])

    def _on_fetched(self, fetched: Fetched) -> None:
        self._fetched = None
        self.message.clear_text()
        if self.desk.heard(lambda: self.desk.show_scan(fetched.scan, fetched.outcome)):
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Have the scan that comes next read while this one is looked at."""
        following = (
            self.worklist.following(self.reading, reader=reader_name()) if self.worklist is not None else None
        )
        if following is not None:
            self.ahead.start(
                partial(fetching, following), Listener(done=self._keep, failed=lambda error: None)
            )

    def _keep(self, fetched: Fetched) -> None:
        self._fetched = fetched

    @property
    def is_ready(self) -> bool:
        """Whether the next scan can appear at once."""
        return self._fetched is not None

    def _on_failed(self, error: Exception) -> None:
        self.message.error(words_for(error))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Open the chosen scan with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open_row(self.table.currentIndex().row())
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Put back a scan of which nothing was said, and let go of the list."""
        self._put_back()
        if self.worklist is not None:
            self.worklist.close()
            self.worklist = None
        _release(self.desk, self._seat, (self.opening, self.ahead))
        super().closeEvent(event)


def _release(desk: Desk, seat: object, jobs: tuple[Jobs, ...], _: object = None) -> None:
    for each in jobs:
        each.close()
    desk.leave(seat)
