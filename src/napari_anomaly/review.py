"""What the reader said: verdicts, notes and painted corrections on one scan."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ReviewError, StaleReview
from napari_anomaly.findings import Edits
from napari_anomaly.scan import Scan

__all__ = ["Judgement", "Review", "Stroke", "Verdict"]


class Verdict(StrEnum):
    """What the reader said of a finding."""

    REAL = "real"
    FALSE_POSITIVE = "false_positive"
    UNSURE = "unsure"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Judgement(_Frozen):
    """A verdict on one finding, with its reason, a note and the time.

    Parameters
    ----------
    verdict
        What the reader said; None where there is only a note.
    reason
        Why, for a false positive: vessel, artefact, ...
    note
        Free words.
    when
        Time in UTC.
    """

    verdict: Verdict | None = None
    reason: str = ""
    note: str = ""
    when: datetime


class Stroke(_Frozen):
    """A run of voxels that was painted or erased.

    Parameters
    ----------
    start, length
        Flat C-order index (z, y, x) of the first voxel, and number of voxels.
    value
        1 for added, -1 for erased.
    """

    start: int = Field(ge=0)
    length: int = Field(gt=0)
    value: Literal[1, -1]


class _State(_Frozen):
    """What undo goes back to."""

    verdicts: dict[int, Judgement] = Field(default_factory=dict)
    strokes: tuple[Stroke, ...] = ()


class Review(_Frozen):
    """All verdicts, notes and painted corrections of one reader on one scan.

    It never changes: every method that marks gives a new review, which remembers the states before it for
    `undo`. It crosses files as JSON (`to_json`, `from_json`), tied by fingerprints to its scan and its
    anomaly map.

    Parameters
    ----------
    schema_version
        Version of this layout.
    scan_sha256, map_sha256
        Fingerprints of what was read: see `Scan.sha256` and `AnomalyMap.sha256`.
    verdicts
        By finding id.
    strokes
        Painted corrections, as runs of voxels.
    """

    schema_version: Literal[1] = 1
    scan_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    map_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    verdicts: dict[int, Judgement] = Field(default_factory=dict)
    strokes: tuple[Stroke, ...] = ()
    past: tuple[_State, ...] = Field(default=(), exclude=True, repr=False)
    future: tuple[_State, ...] = Field(default=(), exclude=True, repr=False)

    @classmethod
    def of(cls, scan: Scan, anomaly_map: AnomalyMap) -> "Review":
        """Begin an empty review of a scan and its map."""
        return cls(scan_sha256=scan.sha256, map_sha256=anomaly_map.sha256)

    def verdict(self, finding_id: int) -> Verdict | None:
        """Give the verdict on a finding; None where there is none."""
        judgement = self.verdicts.get(finding_id)
        return judgement.verdict if judgement else None

    def note(self, finding_id: int) -> str:
        """Give the note on a finding; empty where there is none."""
        judgement = self.verdicts.get(finding_id)
        return judgement.note if judgement else ""

    def mark(self, finding_ids: Iterable[int], verdict: Verdict | None, *, reason: str = "") -> "Review":
        """Give one verdict to some findings; None takes theirs back. Notes stay.

        Parameters
        ----------
        finding_ids
            Which findings.
        verdict
            What the reader says.
        reason
            Why, for a false positive.
        """
        now = datetime.now(UTC)
        given = {
            key: Judgement(verdict=verdict, reason=reason, note=self.note(key), when=now)
            for key in finding_ids
        }
        return self._next(self.verdicts | given, self.strokes)

    def write(self, finding_id: int, note: str) -> "Review":
        """Write a note on a finding; its verdict stays."""
        old = self.verdicts.get(finding_id) or Judgement(when=datetime.now(UTC))
        new = old.model_copy(update={"note": note, "when": datetime.now(UTC)})
        return self._next(self.verdicts | {finding_id: new}, self.strokes)

    def paint(self, where: Bool[np.ndarray, "z y x"], *, add: bool) -> "Review":
        """Add voxels to the mask, or erase them from it, whatever the threshold says.

        Parameters
        ----------
        where
            Which voxels.
        add
            True to add, False to erase.
        """
        before = self.edits(where.shape)
        strokes = np.zeros(where.shape, dtype=np.int8) if before is None else before.strokes.copy()
        strokes[where] = 1 if add else -1
        return self._next(self.verdicts, _runs(strokes.reshape(-1)))

    def edits(self, shape: tuple[int, ...]) -> Edits | None:
        """Give the painted corrections as an array; None where nothing was painted.

        Raises
        ------
        StaleReview
            If they do not fit into the shape.
        """
        if not self.strokes:
            return None
        flat = np.zeros(int(np.prod(shape)), dtype=np.int8)
        for stroke in self.strokes:
            end = stroke.start + stroke.length
            if end > flat.size:
                raise StaleReview(
                    f"The review paints voxel {end - 1}, and this scan has {flat.size} voxels. "
                    "Open the scan that was reviewed."
                )
            flat[stroke.start : end] = stroke.value
        return Edits(flat.reshape(shape))

    def undo(self) -> "Review":
        """Take the last step back; the same review where there is none."""
        if not self.past:
            return self
        return self._at(self.past[-1], past=self.past[:-1], future=(*self.future, self._state()))

    def redo(self) -> "Review":
        """Take the last `undo` back; the same review where there is none."""
        if not self.future:
            return self
        return self._at(self.future[-1], past=(*self.past, self._state()), future=self.future[:-1])

    def check(self, scan: Scan, anomaly_map: AnomalyMap) -> None:
        """Make sure that the review belongs to this scan and this map.

        Raises
        ------
        StaleReview
            If it was made on another one.
        """
        pairs = (
            ("scan", self.scan_sha256, scan.sha256),
            ("anomaly map", self.map_sha256, anomaly_map.sha256),
        )
        for what, mine, found in pairs:
            if mine != found:
                raise StaleReview(
                    f"The review was made on another {what} ({mine[:12]}) than the open one ({found[:12]}). "
                    "Open the one that was reviewed, or begin a new review."
                )

    def to_json(self) -> str:
        """Write the review as JSON; the steps for `undo` are not kept."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Review":
        """Read a review that `to_json` wrote.

        Raises
        ------
        ReviewError
            If the text is not a review of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            raise ReviewError(
                f"This is not a review that this version can read: {where}: {first['msg']}. "
                "Choose a review file, or update napari-anomaly."
            ) from error

    def _state(self) -> _State:
        return _State(verdicts=self.verdicts, strokes=self.strokes)

    def _next(self, verdicts: dict[int, Judgement], strokes: tuple[Stroke, ...]) -> "Review":
        state = _State(verdicts=verdicts, strokes=strokes)
        return self._at(state, past=(*self.past, self._state()), future=())

    def _at(self, state: _State, *, past: tuple[_State, ...], future: tuple[_State, ...]) -> "Review":
        return self.model_copy(
            update={"verdicts": state.verdicts, "strokes": state.strokes, "past": past, "future": future}
        )


def _runs(flat: np.ndarray) -> tuple[Stroke, ...]:
    """Write an array of -1, 0 and 1 as runs of equal values, without those of 0."""
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *edges.tolist(), flat.size]
    return tuple(
        Stroke(start=start, length=end - start, value=1 if flat[start] > 0 else -1)
        for start, end in pairwise(bounds)
        if flat[start] != 0
    )
