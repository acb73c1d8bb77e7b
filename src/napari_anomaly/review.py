"""What the reader said: verdicts, notes and painted corrections on one scan."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Int32, Integer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ReviewError, StaleReview
from napari_anomaly.findings import Edits
from napari_anomaly.scan import Scan

__all__ = [
    "REASONS",
    "Change",
    "Entry",
    "Group",
    "Judgement",
    "Paint",
    "Review",
    "Seen",
    "Stroke",
    "Verdict",
    "groups_of",
    "judged",
    "paint_of",
    "voxels_of",
]

REASONS = ("vessel", "artefact", "normal variant", "post-surgical", "motion", "other")
"""Why a finding is a false positive, in a reader's words; any other word may be given too."""

MOST_GROUPS = (1 << 16) - 1
"""Highest number of a finding that was split or merged."""


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
        Why, for a false positive: see `REASONS`.
    note
        Free words.
    when
        Time in UTC.
    """

    verdict: Verdict | None = None
    reason: str = ""
    note: str = ""
    when: datetime


class _Run(_Frozen):
    start: int = Field(ge=0)
    length: int = Field(gt=0)
    value: int


_R = TypeVar("_R", bound=_Run)


class Paint(_Run):
    """A run of voxels, and what becomes of them.

    Parameters
    ----------
    start, length
        Flat C-order index (z, y, x) of the first voxel, and number of voxels.
    value
        1 for added, -1 for erased, 0 for neither: as the threshold has it.
    """

    value: Literal[1, 0, -1]


class Stroke(Paint):
    """A run of voxels that was painted or erased.

    Parameters
    ----------
    start, length
        See `Paint`.
    value
        1 for added, -1 for erased.
    """

    value: Literal[1, -1]


class Group(_Run):
    """A run of voxels of a finding that was split or merged.

    Parameters
    ----------
    start, length
        See `Paint`.
    value
        Number of the finding: equal ones are one finding, different ones never are; 0 for as they touch.
    """

    value: int = Field(ge=0, le=MOST_GROUPS)


class Change(_Frozen):
    """One step of a reader, as what it changes.

    Parameters
    ----------
    verdicts
        New judgements by finding id; None takes one away.
    paint
        New corrections.
    groups
        What was split or merged.
    """

    verdicts: dict[int, Judgement | None] = Field(default_factory=dict)
    paint: tuple[Paint, ...] = ()
    groups: tuple[Group, ...] = ()


class Seen(_Frozen):
    """A look at what other readers had said, before the reader had judged everything.

    Parameters
    ----------
    readers
        Who they are.
    unjudged
        How many findings had no verdict of this reader then.
    when
        Time in UTC; what this reader says later is no independent reading.
    """

    readers: tuple[str, ...]
    unjudged: int = Field(ge=0)
    when: datetime


class Entry(_Frozen):
    """What a reader did, as one line of a journal.

    Parameters
    ----------
    do
        ``"change"`` with the change; ``"undo"``; ``"redo"``; ``"settings"`` with what findings were made
        with from here on; ``"seen"`` with what was looked at.
    change, seen
        See `Change` and `Seen`.
    threshold, min_volume_mm3, snap, extend
        See `napari_anomaly.session.Session`.
    """

    do: Literal["change", "undo", "redo", "settings", "seen"]
    change: Change | None = None
    seen: Seen | None = None
    threshold: float | None = None
    min_volume_mm3: float | None = None
    snap: bool | None = None
    extend: bool | None = None


class Review(_Frozen):
    """All verdicts, notes and painted corrections of one reader on one scan.

    It never changes: every method that marks gives a new review, which remembers the steps before it for
    `undo`. It crosses files as JSON (`to_json`, `from_json`), tied by fingerprints to its scan, its detector
    and its anomaly map.

    Parameters
    ----------
    schema_version
        Version of this layout.
    scan_sha256, map_sha256
        Fingerprints of what was read: see `Scan.sha256` and `AnomalyMap.sha256`.
    detector_sha256
        Fingerprint of what made the map; empty where it is not known.
    reader
        Who read; empty where that is not to be kept.
    verdicts
        By finding id.
    strokes
        Painted corrections, as runs of voxels.
    groups
        Findings that were split or merged, as runs of voxels.
    seen
        When the reader looked at what others had said before judging everything; no `undo` takes that back.
    """

    schema_version: Literal[1] = 1
    scan_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    map_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    detector_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    reader: str = ""
    verdicts: dict[int, Judgement] = Field(default_factory=dict)
    strokes: tuple[Stroke, ...] = ()
    groups: tuple[Group, ...] = ()
    seen: tuple[Seen, ...] = ()
    past: tuple[Change, ...] = Field(default=(), exclude=True, repr=False)
    future: tuple[Change, ...] = Field(default=(), exclude=True, repr=False)

    @classmethod
    def of(cls, scan: Scan, anomaly_map: AnomalyMap, *, reader: str = "") -> "Review":
        """Begin an empty review of a scan and its map."""
        return cls(
            scan_sha256=scan.sha256,
            map_sha256=anomaly_map.sha256,
            detector_sha256=anomaly_map.detector_sha256,
            reader=reader,
        )

    # What was said

    def verdict(self, finding_id: int) -> Verdict | None:
        """Give the verdict on a finding; None where there is none."""
        judgement = self.verdicts.get(finding_id)
        return judgement.verdict if judgement else None

    def reason(self, finding_id: int) -> str:
        """Give the reason of a verdict; empty where there is none."""
        judgement = self.verdicts.get(finding_id)
        return judgement.reason if judgement else ""

    def note(self, finding_id: int) -> str:
        """Give the note on a finding; empty where there is none."""
        judgement = self.verdicts.get(finding_id)
        return judgement.note if judgement else ""

    def without_words(self) -> "Review":
        """Give the same review without the reader's name and free words, which may name the patient."""
        verdicts = {
            number: each.model_copy(
                update={"note": "", "reason": each.reason if each.reason in REASONS else ""}
            )
            for number, each in self.verdicts.items()
        }
        return self.model_copy(update={"reader": "", "verdicts": verdicts, "seen": ()})

    def edits(self, shape: tuple[int, ...]) -> Edits | None:
        """Give corrections, splits and merges as arrays; None where there are none.

        Raises
        ------
        StaleReview
            If they do not fit into the shape.
        """
        if not self.strokes and not self.groups:
            return None
        strokes = _as_array(self.strokes, shape, np.int8)
        return Edits(strokes, _as_array(self.groups, shape, np.uint16) if self.groups else None)

    # Steps

    def marking(self, finding_ids: Iterable[int], verdict: Verdict | None, *, reason: str = "") -> Change:
        """Give the step that `mark` makes."""
        now = datetime.now(UTC)
        return Change(
            verdicts={
                key: Judgement(verdict=verdict, reason=reason, note=self.note(key), when=now)
                for key in finding_ids
            }
        )

    def noting(self, finding_id: int, note: str) -> Change:
        """Give the step that `write` makes."""
        old = self.verdicts.get(finding_id) or Judgement(when=datetime.now(UTC))
        return Change(verdicts={finding_id: old.model_copy(update={"note": note, "when": datetime.now(UTC)})})

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
        return self.apply(self.marking(finding_ids, verdict, reason=reason))

    def write(self, finding_id: int, note: str) -> "Review":
        """Write a note on a finding; its verdict stays."""
        return self.apply(self.noting(finding_id, note))

    def paint(self, where: Bool[np.ndarray, "z y x"], *, add: bool) -> "Review":
        """Add voxels to the mask, or erase them from it, whatever the threshold says.

        Parameters
        ----------
        where
            Which voxels.
        add
            True to add, False to erase.
        """
        flat = np.flatnonzero(where)
        return self.apply(Change(paint=paint_of(flat, np.full(flat.size, 1 if add else -1, dtype=np.int8))))

    def apply(self, change: Change) -> "Review":
        """Make a step: one that `undo` takes back as a whole."""
        return self._at(change, past=(*self.past, self._inverse(change)), future=())

    def undo(self) -> "Review":
        """Take the last step back; the same review where there is none."""
        if not self.past:
            return self
        back = self.past[-1]
        return self._at(back, past=self.past[:-1], future=(*self.future, self._inverse(back)))

    def redo(self) -> "Review":
        """Take the last `undo` back; the same review where there is none."""
        if not self.future:
            return self
        again = self.future[-1]
        return self._at(again, past=(*self.past, self._inverse(again)), future=self.future[:-1])

    def follow(self, entry: Entry) -> "Review":
        """Do what a line of a journal says."""
        if entry.do == "change" and entry.change is not None:
            return self.apply(entry.change)
        if entry.do == "seen" and entry.seen is not None:
            return self.model_copy(update={"seen": (*self.seen, entry.seen)})
        if entry.do == "undo":
            return self.undo()
        return self.redo() if entry.do == "redo" else self

    # Files

    def check(self, scan: Scan, anomaly_map: AnomalyMap) -> None:
        """Make sure that the review belongs to this scan, this detector and this map.

        Raises
        ------
        StaleReview
            If it was made on another one.
        """
        pairs = (
            ("scan", self.scan_sha256, scan.sha256),
            ("detector", self.detector_sha256 or anomaly_map.detector_sha256, anomaly_map.detector_sha256),
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

    def _inverse(self, change: Change) -> Change:
        """Give what takes a change back."""
        verdicts = {key: self.verdicts.get(key) for key in change.verdicts}
        return Change.model_construct(
            verdicts=verdicts,
            paint=_as_before(self.strokes, change.paint, Paint),
            groups=_as_before(self.groups, change.groups, Group),
        )

    def _at(self, change: Change, *, past: tuple[Change, ...], future: tuple[Change, ...]) -> "Review":
        verdicts = dict(self.verdicts)
        for key, judgement in change.verdicts.items():
            if judgement is None:
                verdicts.pop(key, None)
            else:
                verdicts[key] = judgement
        update = {"verdicts": verdicts, "past": past, "future": future}
        if change.paint:
            update["strokes"] = _written_over(self.strokes, change.paint, Stroke)
        if change.groups:
            update["groups"] = _written_over(self.groups, change.groups, Group)
        return self.model_copy(update=update)


def voxels_of(runs: Iterable[_Run]) -> tuple[Integer[np.ndarray, " voxels"], Int32[np.ndarray, " voxels"]]:
    """Give flat indices and values of the voxels of some runs, in their order."""
    table = np.array([(run.start, run.length, run.value) for run in runs], dtype=np.int64).reshape(-1, 3)
    starts, lengths, values = table.T
    first = np.cumsum(lengths) - lengths
    flat = np.repeat(starts - first, lengths) + np.arange(lengths.sum())
    return flat, np.repeat(values, lengths).astype(np.int32)


def paint_of(
    flat: Integer[np.ndarray, " voxels"], values: Integer[np.ndarray, " voxels"]
) -> tuple[Paint, ...]:
    """Write voxels as runs of equal values.

    Parameters
    ----------
    flat
        Flat C-order indices, rising.
    values
        1, 0 or -1 for each.
    """
    return _runs_of(flat, values, Paint)


def groups_of(
    flat: Integer[np.ndarray, " voxels"], values: Integer[np.ndarray, " voxels"]
) -> tuple[Group, ...]:
    """Write voxels of findings that were split or merged as runs; see `paint_of` and `Group`."""
    return _runs_of(flat, values, Group)


def _runs_of(
    flat: Integer[np.ndarray, " voxels"], values: Integer[np.ndarray, " voxels"], kind: type[_R]
) -> tuple[_R, ...]:
    if not flat.size:
        return ()
    begins = np.concatenate(([0], np.flatnonzero((np.diff(flat) != 1) | (np.diff(values) != 0)) + 1))
    lengths = np.diff(np.append(begins, flat.size))
    rows = zip(flat[begins].tolist(), lengths.tolist(), values[begins].tolist(), strict=True)
    made = [kind.model_construct(start=s, length=n, value=v) for s, n, v in rows]
    return cast(tuple[_R, ...], tuple(made))


def _written_over(runs: Iterable[_Run], new: Iterable[_Run], kind: type[_R]) -> tuple[_R, ...]:
    """Give runs with others over them; a 0 leaves nothing."""
    before, old = voxels_of(runs)
    flat, values = voxels_of(new)
    kept = ~np.isin(before, flat)
    both, all_values = np.concatenate([before[kept], flat]), np.concatenate([old[kept], values])
    order = np.argsort(both, kind="stable")
    order = order[all_values[order] != 0]
    return _runs_of(both[order], all_values[order], kind)


def _as_before(runs: Iterable[_Run], new: Iterable[_Run], kind: type[_R]) -> tuple[_R, ...]:
    """Give what stood where others are to be written."""
    wanted, _ = voxels_of(new)
    known, values = voxels_of(runs)
    if not known.size:
        return _runs_of(wanted, np.zeros(wanted.size, dtype=np.int32), kind)
    place = np.minimum(np.searchsorted(known, wanted), known.size - 1)
    return _runs_of(wanted, np.where(known[place] == wanted, values[place], 0), kind)


def _as_array(runs: Iterable[_Run], shape: tuple[int, ...], kind: type[np.integer[Any]]) -> np.ndarray:
    flat = np.zeros(int(np.prod(shape)), dtype=kind)
    for run in runs:
        end = run.start + run.length
        if end > flat.size:
            raise StaleReview(
                f"The review paints voxel {end - 1}, and this scan has {flat.size} voxels. "
                "Open the scan that was reviewed."
            )
        flat[run.start : end] = run.value
    return flat.reshape(shape)


def judged(review: Review | None, finding_ids: Iterable[int]) -> Mapping[int, Verdict]:
    """Give the verdicts on some findings, without those that have none."""
    if review is None:
        return {}
    found = ((key, review.verdict(key)) for key in finding_ids)
    return {key: verdict for key, verdict in found if verdict is not None}
