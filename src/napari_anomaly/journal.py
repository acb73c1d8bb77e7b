"""The journal of a review: every step of the reader on disk at once, so that nothing is ever lost.

One file for each scan, detector and reader, one JSON object for each line. The first line says what was read;
every other line is an `Entry`. Lines are only ever added, so whatever kills the program leaves all of them but
perhaps the one that was being written, which the reader has not seen take effect. A line is handed to the
operating system before the window shows it, and is on the disk itself a moment later.
"""

import getpass
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_anomaly.errors import ReviewError, ScanError, StaleReview
from napari_anomaly.io import read_scan
from napari_anomaly.io.locking import hold
from napari_anomaly.review import Entry, Review, Verdict

__all__ = [
    "Header",
    "Journal",
    "journal_path",
    "journals_beside",
    "journals_of",
    "normal_after_all",
    "others_beside",
    "read_journal",
    "reader_name",
]


class Header(BaseModel):
    """What was read, and by whom: the first line of a journal.

    Parameters
    ----------
    product, schema_version
        What kind of file this is.
    scan
        Its name, for people.
    scan_sha256, detector_sha256, map_sha256
        Fingerprints: see `napari_anomaly.review.Review`.
    detector
        Its name and version, for people.
    reader
        Who reads.
    began
        Time in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: Literal["napari-anomaly review"] = "napari-anomaly review"
    schema_version: Literal[1] = 1
    scan: str
    scan_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    detector: str
    detector_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    map_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    reader: str
    began: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def review(self) -> Review:
        """Begin an empty review."""
        return Review(
            scan_sha256=self.scan_sha256,
            map_sha256=self.map_sha256,
            detector_sha256=self.detector_sha256,
            reader=self.reader,
        )


def reader_name() -> str:
    """Give who reads: the name of the account, without what a file name cannot hold."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = "reader"
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "reader"


def journal_path(folder: Path, header: Header) -> Path:
    """Give the file of a journal: another one for every scan, detector and reader."""
    tag = f"{header.scan_sha256[:8]}-{header.detector_sha256[:8]}"
    return folder / f"{header.scan}_review_{header.reader}_{tag}.jsonl"


def others_beside(folder: Path, header: Header) -> list[Path]:
    """Give journals of scans of the same name that were made on another scan or with another detector."""
    own = journal_path(folder, header)
    with suppress(OSError):
        return sorted(
            path
            for path in folder.glob(f"{_escaped(header.scan)}_review_{_escaped(header.reader)}_*.jsonl")
            if path != own
        )
    return []


def journals_of(folder: Path, header: Header) -> list[Path]:
    """Give the journals of all readers of one scan and detector."""
    tag = f"{header.scan_sha256[:8]}-{header.detector_sha256[:8]}"
    with suppress(OSError):
        return sorted(folder.glob(f"{_escaped(header.scan)}_review_*_{tag}.jsonl"))
    return []


def journals_beside(folder: Path, header: Header) -> list[Path]:
    """Give the journals of all readers of scans of one name, whichever scan and detector they were made with."""
    with suppress(OSError):
        return sorted(folder.glob(f"{_escaped(header.scan)}_review_*.jsonl"))
    return []


def read_journal(path: Path) -> tuple[Header, Review]:
    """Read a journal without taking it: somebody may be writing to it.

    Raises
    ------
    ReviewError
        If it cannot be read, or does not say which scan it belongs to.
    """
    try:
        data = path.read_bytes()
        header = Header.model_validate_json(data.split(b"\n", 1)[0])
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValidationError as error:
        raise ReviewError(
            f"{path} is no review that this version can read. Choose a review file, or update napari-anomaly."
        ) from error
    journal = Journal(path, header, header.review())
    journal._replay(data)
    return journal.header, journal.review


def normal_after_all(folders: Iterable[Path]) -> list[Path]:
    """List the scans that readers found normal although a detector did not: to be learned as such.

    Parameters
    ----------
    folders
        Folders of scans with their reviews beside them.

    Returns
    -------
    list of Path
        NIfTI scans of which all that any reader judged, at least one finding, is a false positive, and on which nothing
        was drawn. A scan that is not the one that was read is left out.
    """
    normal: dict[tuple[Path, str], str] = {}
    others: set[tuple[Path, str]] = set()
    for path in sorted(path for folder in folders for path in folder.glob("*_review_*.jsonl")):
        with suppress(ReviewError):
            header, review = read_journal(path)
            said = {judgement.verdict for judgement in review.verdicts.values()} - {None}
            scan = (path.parent, header.scan)
            if review.strokes or said - {Verdict.FALSE_POSITIVE}:
                others.add(scan)
            elif said:
                normal[scan] = header.scan_sha256
    return [path for scan, sha256 in normal.items() if scan not in others for path in _scan_of(*scan, sha256)]


def _scan_of(folder: Path, name: str, sha256: str) -> list[Path]:
    for suffix in (".nii.gz", ".nii"):
        path = folder / f"{name}{suffix}"
        with suppress(ScanError):
            if path.is_file() and read_scan(path).sha256 == sha256:
                return [path]
    return []


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


@dataclass(eq=False)
class Journal:
    """A journal that is open.

    Parameters
    ----------
    path
        The file; it is made at the first step, so that a scan that nobody judged leaves none.
    header
        What is read.
    review
        What the file says, every step replayed, so that undo goes on where it ended.
    settings
        What findings were last made with; None where the file does not say.
    damaged
        How many lines could not be read: a crash may leave one.
    """

    path: Path
    header: Header
    review: Review
    settings: Entry | None = None
    damaged: int = 0
    _file: int | None = None
    _problem: str = ""
    _wanted: int = 0
    _synced: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False
    _thread: threading.Thread | None = None
    _gone: list[int] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, header: Header) -> "Journal":
        """Open the journal of a scan, a detector and a reader, or get ready to begin one.

        Parameters
        ----------
        path
            The file.
        header
            What is read now; that of the file must name the same scan and detector.

        Raises
        ------
        StaleReview
            If the file belongs to another scan or another detector.
        ReviewError
            If it cannot be read, or is open in another window.
        """
        journal = cls(path, header, header.review())
        if not path.exists():
            return journal
        journal._take(create=False)
        try:
            journal._replay(path.read_bytes())
        except BaseException as error:
            journal.close()
            if isinstance(error, OSError):
                raise _unreadable(path, error) from error
            raise
        journal._begin_syncing()
        return journal

    @property
    def is_new(self) -> bool:
        """Whether nothing was written yet."""
        return self._file is None

    @property
    def problem(self) -> str:
        """Why what was written may not be on the disk itself, in words; empty where all is well."""
        return self._problem

    def record(self, entry: Entry) -> None:
        """Write a step; when this returns, it survives the end of this program, and soon that of the power.

        Raises
        ------
        ReviewError
            If it cannot be written: the disk is full, or gone.
        """
        if self._closed:
            raise ReviewError(f"The review in {self.path} was closed. Open the scan again.")
        if self._problem:
            raise ReviewError(self._problem)
        if self._file is None:
            self._take(create=True)
            self._append(self.header.model_dump_json())
            self._begin_syncing()
        stamped = {"when": datetime.now(UTC).isoformat(), **entry.model_dump(mode="json", exclude_none=False)}
        self._append(json.dumps({key: value for key, value in stamped.items() if value is not None}))

    def synced(self, seconds: float = 1.0) -> bool:
        """Wait until all that was written is on the disk itself.

        Returns
        -------
        bool
            False if the disk did not answer in time.
        """
        end = time.monotonic() + seconds
        with self._changed:
            while self._synced < self._wanted and not self._problem:
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    return False
        return not self._problem

    def close(self) -> None:
        """Put everything on the disk, and let others open the file."""
        file, self._file = self._file, None
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if file is not None:
            with suppress(OSError):
                os.fsync(file)
            for each in (file, *self._gone):
                os.close(each)
            self._gone.clear()

    def _take(self, *, create: bool) -> None:
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                flags |= os.O_CREAT | os.O_EXCL
            file = os.open(self.path, flags, 0o664)
        except OSError as error:
            raise ReviewError(
                f"The review cannot be kept in {self.path.parent}: {error.strerror or error}. "
                "Choose another folder for reviews, or free some space."
            ) from error
        if not hold(file):
            os.close(file)
            raise ReviewError(
                f"{self.path.name} is open in another window, where this scan is being read. "
                "Go on there, or close it there first."
            )
        self._file = file

    def _bring_back(self) -> None:
        """Write the file again: somebody has removed it, or its folder, while it was open.

        What is written to a file that has no name any more is lost when it is closed, and no error tells.
        """
        lost = self._file
        if lost is None or os.fstat(lost).st_nlink:
            return
        size = os.fstat(lost).st_size
        self._take(create=True)
        # Kept open: the thread that puts it on the disk may be at it.
        self._gone.append(lost)
        if self._file is not None:
            os.lseek(lost, 0, os.SEEK_SET)
            os.write(self._file, os.read(lost, size))

    def _append(self, line: str) -> None:
        if self._file is None:
            raise RuntimeError("a journal is taken before it is written to")
        data = line.encode() + b"\n"
        self._bring_back()
        try:
            written = os.write(self._file, data)
            if written < len(data):
                # The rest did not fit: an unfinished line must not swallow the next one.
                os.write(self._file, b"\n")
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise ReviewError(
                f"The last step is not saved: {self.path.parent}: {error.strerror or error}. "
                "Free some space, and give it again."
            ) from error
        with self._changed:
            self._wanted += 1
            self._changed.notify_all()

    def _begin_syncing(self) -> None:
        self._thread = threading.Thread(target=self._sync, name="review journal", daemon=True)
        self._thread.start()

    def _sync(self) -> None:
        """Put on the disk itself what was written, as often as the disk can."""
        while True:
            with self._changed:
                while self._synced >= self._wanted and not self._closed:
                    self._changed.wait()
                file = self._file
                if self._closed or file is None:
                    return
                upto = self._wanted
            problem = ""
            try:
                os.fsync(file)
            except OSError as error:
                problem = (
                    f"The review may not be on the disk: {self.path.parent}: {error.strerror or error}. "
                    "Save it elsewhere with Export."
                )
            with self._changed:
                self._synced, self._problem = upto, problem
                self._changed.notify_all()

    def _replay(self, data: bytes) -> None:
        found: Header | None = None
        for value in self._lines(data):
            try:
                if found is None and "product" in value:
                    found = Header.model_validate(value)
                    self._adopt(found)
                elif found is None:
                    self.damaged += 1
                elif "product" not in value:
                    value.pop("when", None)
                    self._follow(Entry.model_validate(value))
            except ValidationError as error:
                if value.get("schema_version", 1) != 1:
                    raise ReviewError(
                        f"{self.path.name} was written by a newer version. Update napari-anomaly."
                    ) from error
                self.damaged += 1
        if found is None and data:
            # Nothing but the torn first line of a journal that never began.
            if self.damaged > 1:
                raise ReviewError(
                    f"{self.path} does not say which scan it belongs to. Move it away to begin a new review."
                )
            self._append(self.header.model_dump_json())

    def _lines(self, data: bytes) -> Iterator[dict[str, Any]]:
        for line in data.split(b"\n"):
            if not line.strip(b"\0 \r"):
                continue
            try:
                value = json.loads(line.strip(b"\0"))
            except ValueError:
                self.damaged += 1
                continue
            if isinstance(value, dict):
                yield value
        if data and not data.endswith(b"\n") and self._file is not None:
            # What comes next begins on a line of its own.
            os.write(self._file, b"\n")

    def _adopt(self, found: Header) -> None:
        pairs = (
            ("scan", found.scan_sha256, self.header.scan_sha256),
            ("detector", found.detector_sha256, self.header.detector_sha256),
        )
        for what, theirs, ours in pairs:
            if theirs != ours:
                raise StaleReview(
                    f"{self.path.name} is the review of another {what} ({theirs[:12]}) than the open one "
                    f"({ours[:12]}). Open the one that was reviewed, or choose another folder for reviews."
                )
        self.header = found
        self.review = found.review()

    def _follow(self, entry: Entry) -> None:
        if entry.do == "settings":
            self.settings = entry
        else:
            self.review = self.review.follow(entry)


def _unreadable(path: Path, error: OSError) -> ReviewError:
    return ReviewError(
        f"The review {path} cannot be read: {error.strerror or error}. "
        "Check that you may read it, or choose another folder for reviews."
    )
