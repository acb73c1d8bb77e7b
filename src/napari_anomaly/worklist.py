"""The worklist: many scans in one file, ranked by how unusual they are, with who has read them.

An SQLite file, so that a screening that is killed goes on where it was, and two readers can share it.
"""

import os
import socket
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from napari_anomaly import io
from napari_anomaly.database import ForeignFileError, open_database
from napari_anomaly.errors import AnomalyError, ReviewError, ScanError

__all__ = ["Row", "State", "Status", "Worklist", "scans_in"]

State: TypeAlias = Literal["waiting", "ready", "failed"]
Status: TypeAlias = Literal["unread", "in progress", "read"]

_OURS = ("_anomaly", "_mask", "_proxy", "_confirmed", "_verdicts")
_IMAGES = (".nii", ".nii.gz", ".tif", ".tiff", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd")
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scans (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    series INTEGER NOT NULL DEFAULT -1,
    name TEXT NOT NULL,
    stamp TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'ready', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    detector_sha256 TEXT NOT NULL DEFAULT '',
    detection TEXT NOT NULL DEFAULT '',
    scan_score REAL,
    findings INTEGER,
    volume_ml REAL,
    screened TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'unread' CHECK (status IN ('unread', 'in progress', 'read')),
    reader TEXT NOT NULL DEFAULT '',
    host TEXT NOT NULL DEFAULT '',
    process INTEGER NOT NULL DEFAULT 0,
    since TEXT NOT NULL DEFAULT '',
    UNIQUE (path, series)
);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One scan of a worklist.

    Parameters
    ----------
    id
        Its number in the file.
    path, series
        Where it is, and which DICOM series there; -1 where there is but one.
    name
        What to call it.
    state
        ``"waiting"`` for the detector, ``"ready"`` to be read, or ``"failed"``.
    reason
        Why it failed, in words.
    detection
        File of the detection, once it is ready.
    scan_score
        Share of normal scans that are less unusual; None before it was looked at.
    findings, volume_ml
        At the detector's own settings, or those of the screening.
    status
        Whether it was read.
    reader, host, since
        Who reads or has read it, where, and since when (UTC).
    """

    id: int
    path: Path
    series: int
    name: str
    state: State
    reason: str
    detection: Path | None
    scan_score: float | None
    findings: int | None
    volume_ml: float | None
    status: Status
    reader: str
    host: str
    since: str


class Worklist:
    """A worklist that is open.

    Paths are kept relative to the file where they can be, so that a share may be mounted anywhere.

    Parameters
    ----------
    file
        The SQLite file; made if it is not there.

    Raises
    ------
    ScanError
        If it cannot be opened, or is of another kind or a newer version.
    """

    def __init__(self, file: Path) -> None:
        self.file = Path(file)
        self._base = self.file.absolute().parent
        try:
            self._db = open_database(self.file.absolute(), schema=_SCHEMA, version=_SCHEMA_VERSION)
            self._db.execute("PRAGMA synchronous = FULL")
        except ForeignFileError:
            raise ScanError(
                f"{self.file} is no worklist that this version can read. Choose another file, or "
                "update napari-anomaly."
            ) from None
        except (OSError, sqlite3.Error) as error:
            raise ScanError(
                f"The worklist {self.file} cannot be opened: {error}. Choose another place for it."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Screening

    def add(self, scans: Iterable[tuple[Path, int]]) -> int:
        """Put scans on the list that are not on it yet; return how many were new.

        Parameters
        ----------
        scans
            File or folder, and the DICOM series, or -1.
        """
        with self._guarded():
            before = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO scans (path, series, name) VALUES (?, ?, ?)",
                [(self._stored(path), series, path.name) for path, series in scans],
            )
            return self._db.total_changes - before

    def to_screen(self, detector_sha256: str, *, retry: bool = False) -> list[Row]:
        """Give the scans that this detector has not seen as they are now.

        Parameters
        ----------
        detector_sha256
            Fingerprint of the detector.
        retry
            Whether scans that failed before are among them.
        """
        rows = []
        for row, stamp, sha in self._select("ORDER BY id"):
            unchanged = stamp == _stamp(row.path) and sha == detector_sha256
            done = unchanged and (
                (row.state == "ready" and row.detection is not None and row.detection.exists())
                or (row.state == "failed" and not retry)
            )
            if not done:
                rows.append(row)
        return rows

    def ready(
        self,
        row: Row,
        detector_sha256: str,
        *,
        name: str,
        detection: Path,
        scan_score: float,
        findings: int,
        volume_ml: float,
    ) -> None:
        """Note that a scan was looked at and can be read; a new result makes it unread.

        Parameters
        ----------
        row
            Which scan.
        detector_sha256
            What looked at it.
        name
            What to call it from here on.
        detection, scan_score, findings, volume_ml
            See `Row`.
        """
        self._update(
            row,
            state="ready",
            reason="",
            status="unread",
            reader="",
            name=name,
            stamp=_stamp(row.path),
            detector_sha256=detector_sha256,
            detection=self._stored(detection),
            scan_score=scan_score,
            findings=findings,
            volume_ml=volume_ml,
            screened=_now(),
        )

    def failed(self, row: Row, detector_sha256: str, reason: str) -> None:
        """Note that a scan could not be looked at, and why; the others go on."""
        self._update(
            row,
            state="failed",
            reason=reason,
            stamp=_stamp(row.path),
            detector_sha256=detector_sha256,
            screened=_now(),
        )

    # Reading

    def rows(self) -> list[Row]:
        """Give all scans: the most unusual first, then those that wait, then those that failed."""
        order = "CASE state WHEN 'ready' THEN 0 WHEN 'waiting' THEN 1 ELSE 2 END, scan_score DESC, findings DESC, id"
        return [row for row, _, _ in self._select(f"ORDER BY {order}")]

    def row(self, number: int) -> Row:
        """Give one scan as it is now.

        Raises
        ------
        ScanError
            If it is not on the list any more.
        """
        found = [row for row, _, _ in self._select(f"WHERE id = {int(number)}")]
        if not found:
            raise ScanError(
                f"Scan {number} is not on the worklist {self.file.name} any more. Open the list again."
            )
        return found[0]

    def following(self, number: int | None = None, *, reader: str = "") -> Row | None:
        """Give the next scan to read: the most unusual one that nobody has read or is reading.

        Parameters
        ----------
        number
            A scan to leave out: the one that is being read.
        reader
            Who asks: what this reader has begun, before the program was killed perhaps, comes first.
        """
        ready = [row for row in self.rows() if row.state == "ready" and row.id != number]
        begun = [row for row in ready if row.status == "in progress" and row.reader == reader]
        return next((row for row in (*begun, *ready) if row in begun or row.status == "unread"), None)

    def take(self, number: int, reader: str) -> Row:
        """Begin to read a scan, or go on with it.

        Raises
        ------
        ReviewError
            If it is not ready, or another reader has it.
        """
        row = self.row(number)
        if row.state != "ready":
            raise ReviewError(
                f"{row.name} is not ready to be read: {row.reason or 'it waits for the detector'}."
            )
        here = (reader, socket.gethostname(), os.getpid(), _now(), number, reader)
        with self._guarded():
            taken = self._db.execute(
                "UPDATE scans SET status = 'in progress', reader = ?, host = ?, process = ?, since = ? "
                "WHERE id = ? AND (status != 'in progress' OR reader = ?)",
                here,
            ).rowcount
        if not taken:
            row = self.row(number)
            raise ReviewError(
                f"{row.name} is being read by {row.reader} on {row.host} since {row.since}. Choose another scan, "
                "or ask them to put it back."
            )
        return self.row(number)

    def give_back(self, number: int, status: Status) -> None:
        """End the reading of a scan.

        Parameters
        ----------
        number
            Which scan.
        status
            ``"read"`` when it is done; ``"unread"`` when nothing was said; ``"in progress"`` to keep it.
        """
        self._update(self.row(number), status=status, since=_now())

    def _update(self, row: Row, **values: str | int | float) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._guarded():
            self._db.execute(f"UPDATE scans SET {columns} WHERE id = ?", (*values.values(), row.id))

    def _select(self, rest: str) -> Iterator[tuple[Row, str, str]]:
        """Give rows with the stamp of the file and the fingerprint of the detector."""
        columns = (
            "id, path, series, name, state, reason, detection, scan_score, findings, volume_ml, status, reader, "
            "host, since, stamp, detector_sha256"
        )
        with self._guarded():
            found = self._db.execute(f"SELECT {columns} FROM scans {rest}").fetchall()
        for number, path, series, name, state, reason, detection, *others, stamp, sha in found:
            place = self._base / detection if detection else None
            yield Row(number, self._base / path, series, name, state, reason, place, *others), stamp, sha

    def _stored(self, path: Path) -> str:
        absolute = Path(path).absolute()
        try:
            return absolute.relative_to(self._base).as_posix()
        except ValueError:
            return str(absolute)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ScanError(
                f"The worklist {self.file} cannot be used: {error}. If another program holds it, try again."
            ) from error


def scans_in(folder: Path) -> Iterator[tuple[Path, int]]:
    """Give the scans in a folder and below it: file or folder, and the DICOM series, or -1.

    Results of this program are left out. What turns out to be no scan becomes a row with its reason.

    Raises
    ------
    ScanError
        If there is no such folder.
    """
    if not folder.exists():
        raise ScanError(f"{folder} is not there. Name a folder with scans.")
    if folder.is_file():
        yield folder, -1
        return
    if io.looks_like_dicom(folder):
        try:
            count = len(io.series_in(folder))
        except (AnomalyError, OSError, MemoryError):
            count = 1
        yield from ((folder, series if count > 1 else -1) for series in range(max(1, count)))
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from scans_in(path)
        elif path.name.lower().endswith(_IMAGES) and not io.name_of(path).lower().endswith(_OURS):
            yield path, -1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _stamp(path: Path) -> str:
    """Tell a file from what it was before: size and time of its last change."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"
