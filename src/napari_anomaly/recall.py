"""Recall: what the reader has rejected is remembered, and what looks like it is marked.

One SQLite file in the reader's data folder. It follows from the journals of the reviews: a rejection that was
taken back is forgotten, and one that was not written down because the program was killed is written when its
scan is opened again. What the reader called real is remembered too, and speaks against a mark. It holds
numbers that describe findings, the times, and fingerprints of scans; no picture, no name and no file.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import ValidationError

from napari_anomaly.database import ForeignFileError, open_database
from napari_anomaly.descriptor import Descriptor, distances
from napari_anomaly.errors import ReviewError
from napari_anomaly.review import Judgement, Verdict

__all__ = ["LIMIT", "VARIABLE", "Like", "Memory", "Remembered", "Reviewed", "alike", "memory_path"]

VARIABLE = "NAPARI_ANOMALY_MEMORY"
"""Environment variable that names the file; it goes before the reader's data folder."""

LIMIT = 0.6
"""Distance up to which a finding is like one that was rejected: see `napari_anomaly.descriptor.distances`."""

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS findings (
    scan TEXT NOT NULL,
    detector TEXT NOT NULL,
    reader TEXT NOT NULL,
    finding INTEGER NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('false_positive', 'real')),
    reason TEXT NOT NULL,
    said TEXT NOT NULL,
    descriptor TEXT NOT NULL,
    PRIMARY KEY (scan, detector, reader, finding)
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Whose findings on which scan.

    Parameters
    ----------
    scan_sha256, detector_sha256
        Fingerprints of the scan and of what looked at it.
    reader
        Who reads.
    """

    scan_sha256: str
    detector_sha256: str
    reader: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A finding that a reader has judged.

    Parameters
    ----------
    reviewed
        Where, and by whom.
    finding_id
        Its id there.
    verdict
        False positive, or real.
    reason
        Why it is a false positive; may be empty.
    said
        When, in UTC.
    descriptor
        What it looks like.
    """

    reviewed: Reviewed
    finding_id: int
    verdict: Verdict
    reason: str
    said: str
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Like:
    """What a finding is like.

    Parameters
    ----------
    said
        When that one was rejected, in UTC.
    reason
        Why; may be empty.
    distance
        How far from it.
    same_scan
        Whether that one is in the same scan.
    """

    said: str
    reason: str
    distance: float
    same_scan: bool

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"like one you rejected on {self.said[:10]}{why}"


def memory_path() -> Path:
    """Give the file that the memory is kept in."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else user_data_path("napari-anomaly") / "memory.sqlite"


def alike(
    described: Mapping[int, Descriptor],
    remembered: Sequence[Remembered],
    reviewed: Reviewed,
    *,
    limit: float = LIMIT,
) -> dict[int, Like]:
    """Tell which findings are like one that was rejected, and like none that was called real even more.

    Parameters
    ----------
    described
        What the findings of a scan look like, by id.
    remembered
        What was judged before; a finding is never compared with itself.
    reviewed
        Which scan that is, and who reads it.
    limit
        See `LIMIT`.
    """
    false = [one for one in remembered if one.verdict is Verdict.FALSE_POSITIVE]
    real = [one for one in remembered if one.verdict is Verdict.REAL]
    found = {}
    for key, descriptor in described.items():
        nearest = _nearest(descriptor, [one for one in false if not _is_it(one, key, reviewed)])
        if nearest is None or nearest[0] > limit:
            continue
        against = _nearest(descriptor, [one for one in real if not _is_it(one, key, reviewed)])
        if against is None or nearest[0] < against[0]:
            one = nearest[1]
            same = one.reviewed.scan_sha256 == reviewed.scan_sha256
            found[key] = Like(one.said, one.reason, nearest[0], same)
    return found


def _is_it(one: Remembered, key: int, reviewed: Reviewed) -> bool:
    return one.finding_id == key and one.reviewed.scan_sha256 == reviewed.scan_sha256


def _nearest(descriptor: Descriptor, among: Sequence[Remembered]) -> tuple[float, Remembered] | None:
    apart = distances(descriptor, [one.descriptor for one in among])
    if not apart.size:
        return None
    place = int(apart.argmin())
    return float(apart[place]), among[place]


class Memory:
    """The memory, open.

    Parameters
    ----------
    file
        The SQLite file; made if it is not there.

    Raises
    ------
    ReviewError
        If it cannot be opened, or is of another kind or a newer version.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = memory_path() if file is None else Path(file)
        try:
            with self._guarded():
                self._db = open_database(self.file, schema=_SCHEMA, version=_SCHEMA_VERSION)
        except ForeignFileError:
            raise ReviewError(
                f"{self.file} is no memory that this version can read. Move it away, or update napari-anomaly."
            ) from None
        except OSError as error:
            raise ReviewError(
                f"The memory of rejected findings {self.file} cannot be opened: {error}. "
                "Switch it off, or make room there."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def on(self) -> bool:
        """Whether findings are remembered and marked."""
        with self._guarded():
            found = self._db.execute("SELECT value FROM settings WHERE name = 'on'").fetchone()
        return found is None or found[0] == "1"

    @on.setter
    def on(self, on: bool) -> None:
        with self._guarded():
            self._db.execute("INSERT OR REPLACE INTO settings VALUES ('on', ?)", (str(int(on)),))

    def keep(
        self,
        reviewed: Reviewed,
        verdicts: Mapping[int, Judgement],
        described: Mapping[int, Descriptor],
        *,
        taken_back: Iterable[int] = (),
    ) -> None:
        """Bring what is remembered of a scan in line with its review, all of it or nothing.

        Only what the review says or has said is forgotten: a review that is kept elsewhere takes nothing away.

        Parameters
        ----------
        reviewed
            Which scan.
        verdicts
            The judgements of the review.
        described
            What its findings look like. A judgement on one that is not there, because the threshold hides it,
            changes nothing.
        taken_back
            Findings on which there was a verdict, and is none any more.
        """
        wanted = {
            key: said
            for key, said in verdicts.items()
            if said.verdict in (Verdict.FALSE_POSITIVE, Verdict.REAL)
        }
        place = (reviewed.scan_sha256, reviewed.detector_sha256, reviewed.reader)
        rows = [
            (*place, key, str(said.verdict), said.reason, said.when.isoformat(timespec="seconds"), text)
            for key, said in wanted.items()
            if key in described
            for text in (described[key].model_dump_json(),)
        ]
        where = "scan = ? AND detector = ? AND reader = ?"
        with self._guarded(), self._as_one():
            known = self._db.execute(f"SELECT finding FROM findings WHERE {where}", place).fetchall()
            withdrawn = (set(verdicts) | set(taken_back)) - set(wanted)
            gone = [(*place, key) for (key,) in known if key in withdrawn]
            self._db.executemany(f"DELETE FROM findings WHERE {where} AND finding = ?", gone)
            self._db.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def remembered(self, detector_sha256: str | None = None) -> list[Remembered]:
        """Give what is remembered, the latest first; of one detector where its fingerprint is given."""
        columns = "scan, detector, reader, finding, verdict, reason, said, descriptor"
        rest, values = ("", ()) if detector_sha256 is None else ("WHERE detector = ?", (detector_sha256,))
        with self._guarded():
            rows = self._db.execute(
                f"SELECT {columns} FROM findings {rest} ORDER BY said DESC", values
            ).fetchall()
        return list(_read(rows))

    def clear(self) -> int:
        """Forget everything; return how many findings that were."""
        with self._guarded():
            return self._db.execute("DELETE FROM findings").rowcount

    def to_json(self) -> str:
        """Write everything that is remembered as JSON."""
        content = {
            "product": "napari-anomaly memory",
            "schema_version": _SCHEMA_VERSION,
            "findings": [_plain(one) for one in self.remembered()],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @contextmanager
    def _as_one(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ReviewError(
                f"The memory of rejected findings {self.file} cannot be used: {error}. Your verdicts are kept all "
                "the same. Switch the memory off, or move that file away to begin a new one."
            ) from error


def _read(rows: Iterable[tuple[Any, ...]]) -> Iterator[Remembered]:
    for scan, detector, reader, finding, verdict, reason, said, text in rows:
        try:
            descriptor = Descriptor.model_validate_json(text)
        except ValidationError:
            # Described by another version: it cannot be compared, and harms nobody.
            continue
        yield Remembered(
            Reviewed(scan, detector, reader), int(finding), Verdict(verdict), reason, said, descriptor
        )


def _plain(one: Remembered) -> dict[str, Any]:
    return {
        "scan_sha256": one.reviewed.scan_sha256,
        "detector_sha256": one.reviewed.detector_sha256,
        "reader": one.reviewed.reader,
        "finding": one.finding_id,
        "verdict": one.verdict.value,
        "reason": one.reason,
        "said": one.said,
        "descriptor": one.descriptor.model_dump(mode="json"),
    }
