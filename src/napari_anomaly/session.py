"""The open case without a screen: scan, map, findings, review.

The stages stand in this order; setting one clears those to its right. Findings are derived from the map and
from four settings (threshold, smallest volume, snap, extend), so they are computed when someone asks and never
edited. Verdicts are keyed by the id of a finding, which survives every move of the threshold: only a new map
or another scan ends a review.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int8, Integer
from psygnal import Signal

from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.corrections import become, judging, merging, noting, painting, splitting
from napari_anomaly.errors import GridMismatch, ReviewError
from napari_anomaly.export import Mask, to_mask
from napari_anomaly.findings import Findings, find
from napari_anomaly.review import Change, Entry, Review, Seen, Verdict
from napari_anomaly.scan import Scan

__all__ = ["KeepReview", "Question", "Record", "Result", "Session"]

KeepReview = Callable[[Scan, Review], object]
"""Writes a review somewhere safe, or raises."""

Record = Callable[[Entry], object]
"""Writes one step of the reader somewhere safe, or raises."""


@runtime_checkable
class Result(Protocol):
    """What a detection brings into a session."""

    @property
    def map(self) -> AnomalyMap:
        """The calibrated scores."""

    @property
    def supervoxels(self) -> Supervoxels:
        """The regions that findings can snap to."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Everything that findings follow from, so that another thread can answer it.

    Parameters
    ----------
    anomaly_map
        The calibrated scores.
    threshold
        Calibrated score from which a voxel belongs to a finding, 0 to 1.
    min_volume_mm3
        Smallest finding, in mm3.
    supervoxels
        What findings snap to; None where they do not.
    extend
        Whether findings extend below the threshold, as far as the map proposes.
    review
        Whose corrections, splits and merges count; None where there are none.
    """

    anomaly_map: AnomalyMap
    threshold: float
    min_volume_mm3: float
    supervoxels: Supervoxels | None
    extend: bool = True
    review: Review | None = None

    def answer(self) -> Findings:
        """Find what the question asks for; see `napari_anomaly.findings.find`."""
        return find(
            self.anomaly_map,
            self.threshold,
            min_volume_mm3=self.min_volume_mm3,
            supervoxels=self.supervoxels,
            edits=self.review.edits(self.anomaly_map.geometry.shape) if self.review is not None else None,
            hysteresis=None if self.extend else 0.0,
        )


class Session:
    """One open case.

    Parameters
    ----------
    keep_review
        Called with an unsaved review before it leaves the session. If it raises, the session stays as it is.
        Without it, a session with an unsaved review refuses to drop it.

    Attributes
    ----------
    scan_changed, result_changed, settings_changed, findings_changed, review_changed
        Signals without arguments, one per stage, emitted after the session has changed; `settings_changed`
        stands for threshold, smallest volume, snap and extend.
    """

    scan_changed: ClassVar[Signal] = Signal()
    result_changed: ClassVar[Signal] = Signal()
    settings_changed: ClassVar[Signal] = Signal()
    findings_changed: ClassVar[Signal] = Signal()
    review_changed: ClassVar[Signal] = Signal()

    def __init__(self, keep_review: KeepReview | None = None) -> None:
        self._keep_review = keep_review
        self._scan: Scan | None = None
        self._result: Result | None = None
        self._findings: Findings | None = None
        self._last: Findings | None = None
        self._question: Question | None = None
        self._review: Review | None = None
        self._unsaved = False
        self._record: Record | None = None
        self._threshold = 1.0
        self._min_volume_mm3 = 0.0
        self._snap = False
        self._extend = True
        self._detector = ""

    # Stages

    @property
    def scan(self) -> Scan | None:
        """The open scan."""
        return self._scan

    @property
    def map(self) -> AnomalyMap | None:
        """The anomaly map of the open scan."""
        return self._result.map if self._result else None

    @property
    def supervoxels(self) -> Supervoxels | None:
        """The supervoxels of the open scan."""
        return self._result.supervoxels if self._result else None

    def open(self, scan: Scan | None) -> None:
        """Open a scan, or none; map, findings and review of the one before leave.

        Raises
        ------
        ReviewError
            If an unsaved review could not be kept; the session is as it was.
        """
        if scan is self._scan:
            return
        self._leave_review()
        self._scan = scan
        self._result = self._last = None
        self._detector = ""
        self._forget_findings()
        self.scan_changed.emit()
        self.result_changed.emit()
        self.findings_changed.emit()

    def set_result(self, result: Result) -> None:
        """Take in what a detector made of the open scan; findings and review of the map before leave.

        The detector's own threshold and smallest volume are set, unless the map before came from the same
        detector: then those of the reader stay.

        Raises
        ------
        GridMismatch
            If the map does not lie on the grid of the open scan.
        ReviewError
            If an unsaved review could not be kept; the session is as it was.
        """
        if self._scan is None or not result.map.geometry.same_grid(self._scan.geometry):
            found = self._scan.geometry.shape if self._scan else "no open scan"
            raise GridMismatch(
                f"The anomaly map has the grid {result.map.geometry.shape} and belongs to another scan "
                f"than the open one ({found}). Open its scan first, or detect again."
            )
        self._leave_review()
        self._result = result
        self._last = None
        self._forget_findings()
        if self._detector != result.map.detector_sha256:
            self._detector = result.map.detector_sha256
            self._threshold = result.map.default_threshold
            self._min_volume_mm3 = result.map.default_min_volume_mm3
            self.settings_changed.emit()
        self.result_changed.emit()
        self.findings_changed.emit()

    # Settings of the findings

    @property
    def threshold(self) -> float:
        """Calibrated score from which a voxel belongs to a finding, 0 to 1."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"threshold must be a calibrated score within 0..1, got {value}")
        if value != self._threshold:
            self._threshold = float(value)
            self._settings_moved()

    @property
    def min_volume_mm3(self) -> float:
        """Smallest finding, in mm3."""
        return self._min_volume_mm3

    @min_volume_mm3.setter
    def min_volume_mm3(self, value: float) -> None:
        if not value >= 0.0:
            raise ValueError(f"min_volume_mm3 must be 0 or more, got {value}")
        if value != self._min_volume_mm3:
            self._min_volume_mm3 = float(value)
            self._settings_moved()

    @property
    def snap(self) -> bool:
        """Whether findings snap to supervoxels."""
        return self._snap

    @snap.setter
    def snap(self, value: bool) -> None:
        if value != self._snap:
            self._snap = bool(value)
            self._settings_moved()

    @property
    def extend(self) -> bool:
        """Whether findings extend below the threshold, as far as the map proposes."""
        return self._extend

    @extend.setter
    def extend(self, value: bool) -> None:
        if value != self._extend:
            self._extend = bool(value)
            self._settings_moved()

    @property
    def settings(self) -> Entry:
        """Threshold, smallest volume, snap and extend, as a line of a journal."""
        return Entry(
            do="settings",
            threshold=self._threshold,
            min_volume_mm3=self._min_volume_mm3,
            snap=self._snap,
            extend=self._extend,
        )

    @property
    def false_findings(self) -> float | None:
        """Expected findings per normal scan at these settings; None where nobody measured it."""
        table = self.map.false_findings if self.map else None
        return table.expected(self._threshold, self._min_volume_mm3) if table else None

    # Findings

    @property
    def question(self) -> Question | None:
        """What the findings follow from now; the same object until one of it changes. None without a map."""
        if self._question is None and self._result is not None:
            self._question = Question(
                self._result.map,
                self._threshold,
                self._min_volume_mm3,
                self._result.supervoxels if self._snap else None,
                self._extend,
                self._review,
            )
        return self._question

    def accept(self, question: Question, findings: Findings) -> bool:
        """Take in findings that were computed elsewhere, unless the question has changed since.

        Returns
        -------
        bool
            False if they came too late and were dropped.
        """
        if question is not self._question:
            return False
        self._findings = self._last = findings
        self.findings_changed.emit()
        return True

    @property
    def has_findings(self) -> bool:
        """Whether findings for the settings of now are at hand."""
        return self._findings is not None

    @property
    def findings(self) -> Findings | None:
        """The findings at the settings of now, computed here if nobody has; None without a map."""
        question = self.question
        if self._findings is None and question is not None:
            self.accept(question, question.answer())
        return self._findings

    @property
    def mask(self) -> Mask | None:
        """The mask that would leave the building now; None without a map."""
        findings = self.findings
        return None if findings is None else to_mask(findings, self._review)

    # Review

    @property
    def review(self) -> Review | None:
        """What the reader said of the findings; None before anything was said."""
        return self._review

    @property
    def unsaved(self) -> bool:
        """Whether the review holds something that no file holds."""
        return self._unsaved

    def set_review(self, review: Review, *, saved: bool = False) -> None:
        """Take in a review of the open scan and map.

        Parameters
        ----------
        review
            The review after the reader's last step, or one that was read from a file.
        saved
            Whether a file holds exactly this.

        Raises
        ------
        ReviewError
            If no map is open.
        StaleReview
            If the review belongs to another scan or map.
        """
        if self._scan is None or self._result is None:
            raise ReviewError("There is no anomaly map to review. Detect first, or open a reviewed case.")
        review.check(self._scan, self._result.map)
        before = self._review
        painted = _shape(review) != (_shape(before) if before is not None else ((), ()))
        self._review = review
        self._unsaved = not saved
        if painted:
            self._forget_findings()
            self.findings_changed.emit()
        self.review_changed.emit()

    def record_with(self, record: Record | None) -> None:
        """Have every step of the reader written down before it counts; None for nowhere.

        Parameters
        ----------
        record
            Called with each step. If it raises, the step is not made.
        """
        self._record = record

    def judge(self, finding_ids: Iterable[int], verdict: Verdict | None, *, reason: str = "") -> None:
        """Give one verdict to some findings, or to what they have become meanwhile; None takes theirs back.

        Raises
        ------
        ReviewError
            If no map is open, one has become part of another that was judged already, or the step cannot be
            written down; nothing has changed then.
        """
        review = self._begun()
        self._step(judging(review, self._targets(finding_ids), verdict, reason=reason))

    def annotate(self, finding_id: int, note: str) -> None:
        """Write a note on a finding; raises as `judge`."""
        review = self._begun()
        if review.note(finding_id) != note:
            self._step(noting(review, self._targets([finding_id]), finding_id, note))

    def paint(self, flat: Integer[np.ndarray, " voxels"], value: int | Int8[np.ndarray, " voxels"]) -> None:
        """Paint or erase voxels; raises as `judge`.

        Parameters
        ----------
        flat, value
            See `napari_anomaly.corrections.painting`.
        """
        review = self._begun()
        if flat.size and self._result is not None:
            self._step(painting(review, self._last, self._result.map, flat, value))

    def split(self, finding_id: int, *, along_supervoxels: bool = False) -> None:
        """Split a finding into its parts; raises as `judge`, and if it cannot be divided.

        Parameters
        ----------
        finding_id
            Which one.
        along_supervoxels
            Whether each supervoxel goes to one part as a whole.
        """
        review, findings, result = self._begun(), self.findings, self._result
        if findings is not None and result is not None:
            supervoxels = result.supervoxels if along_supervoxels else None
            self._step(splitting(review, findings, result.map, finding_id, supervoxels))

    def merge(self, finding_ids: Iterable[int]) -> None:
        """Make several findings one; raises as `judge`, and if they are fewer than two."""
        review, findings, result = self._begun(), self.findings, self._result
        if findings is not None and result is not None:
            self._step(merging(review, findings, result.map, finding_ids))

    def change(self, change: Change) -> None:
        """Make any other step; raises as `judge`."""
        self._begun()
        self._step(change)

    def note_seen(self, seen: Seen) -> None:
        """Note that the reader is about to see what others said; raises as `judge`, and no `undo` takes it back."""
        review, entry = self._begun(), Entry(do="seen", seen=seen)
        self._write(entry)
        self.set_review(review.follow(entry), saved=self._record is not None)

    def undo(self) -> Change | None:
        """Take the last step back; raises as `judge`.

        Returns
        -------
        Change
            What became of it; None where there was nothing to take back.
        """
        review = self._review
        if review is None or not review.past:
            return None
        self._write(Entry(do="undo"))
        self.set_review(review.undo(), saved=self._record is not None)
        return review.past[-1]

    def redo(self) -> Change | None:
        """Take the last `undo` back; raises and returns as that."""
        review = self._review
        if review is None or not review.future:
            return None
        self._write(Entry(do="redo"))
        self.set_review(review.redo(), saved=self._record is not None)
        return review.future[-1]

    def _begun(self) -> Review:
        if self._review is not None:
            return self._review
        if self._scan is None or self._result is None:
            raise ReviewError("There is no anomaly map to review. Detect first, or open a reviewed case.")
        return Review.of(self._scan, self._result.map)

    def _targets(self, finding_ids: Iterable[int]) -> dict[int, int]:
        """Give what findings on the screen are by now: a stroke or another threshold may have joined them since."""
        before = self._last
        now = self.findings if before is not None and self._findings is None else None
        if before is None or now is None:
            return {key: key for key in finding_ids}
        return become(finding_ids, before, now)

    def _step(self, change: Change) -> None:
        review = self._begun()
        self._write(Entry(do="change", change=change))
        self.set_review(review.apply(change), saved=self._record is not None)

    def _write(self, entry: Entry) -> None:
        if self._record is not None:
            self._record(entry)

    def mark_saved(self) -> None:
        """Note that a file holds the review as it is now."""
        self._unsaved = False

    def _leave_review(self) -> None:
        if self._unsaved and self._scan is not None and self._review is not None:
            if self._keep_review is None:
                raise ReviewError(
                    f"The review of {self._scan.name} is not saved and would be lost. Save it first."
                )
            self._keep_review(self._scan, self._review)
        had_review = self._review is not None
        self._review = None
        self._record = None
        self._unsaved = False
        if had_review:
            self.review_changed.emit()

    def _settings_moved(self) -> None:
        if self._review is not None:
            self._write(self.settings)
        self._forget_findings()
        self.settings_changed.emit()
        self.findings_changed.emit()

    def _forget_findings(self) -> None:
        self._findings = None
        self._question = None


def _shape(review: Review) -> tuple[object, object]:
    """Give what of a review decides which voxels are findings."""
    return review.strokes, review.groups
