"""What the docks ask of the memory: which findings are like one that the reader has rejected, beside the window."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from psygnal import Signal

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.descriptor import Describer
from napari_anomaly.errors import AnomalyError
from napari_anomaly.findings import Findings
from napari_anomaly.journal import reader_name
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.recall import Like, Memory, Reviewed, alike, memory_path
from napari_anomaly.review import Judgement, Review, Verdict
from napari_anomaly.scan import Scan

__all__ = ["Recalling", "Shot", "recalling", "shot_of"]

_MOST = 1000
"""The most unusual findings that are compared; more than that nobody reads one by one."""

_NONE: Mapping[int, Like] = MappingProxyType({})


class _Known:
    """What is known of one scan's findings; made when it is first asked for, by whoever asks."""

    def __init__(self, scan: Scan, anomaly_map: AnomalyMap) -> None:
        self.scan, self.map = scan, anomaly_map
        self._describer: Describer | None = None

    @property
    def describer(self) -> Describer:
        if self._describer is None:
            self._describer = Describer(self.scan, self.map)
        return self._describer


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A case as it was at one moment, so that another thread can go through it.

    Parameters
    ----------
    known
        What is known of its findings.
    findings
        What was found.
    review
        What was said; None where nothing was, or where it is kept by another window.
    reviewed
        Which scan, and who reads.
    """

    known: _Known
    findings: Findings
    review: Review | None
    reviewed: Reviewed


def shot_of(case: Case | None, before: _Known | None = None) -> Shot | None:
    """Take a case as it is now; None where it has no findings yet.

    Parameters
    ----------
    case
        Which one.
    before
        What was known a moment ago, to go on with where it is of the same map.
    """
    if case is None or case.session.map is None or case.shown is None or not case.session.has_findings:
        return None
    anomaly_map = case.session.map
    known = before if before is not None and before.map is anomaly_map else _Known(case.scan, anomaly_map)
    review = None if case.closed_to_review else case.session.review
    reviewed = Reviewed(case.scan.sha256, anomaly_map.detector_sha256, reader_name())
    return Shot(known, case.shown, review, reviewed)


def recalling(shot: Shot) -> Steps[Mapping[int, Like]]:
    """Remember what was judged, and tell which findings are like one that was rejected."""
    yield Progress(0, 0, "recalling")
    verdicts = dict(shot.review.verdicts) if shot.review is not None else {}
    if not memory_path().exists() and not any(_counts(one) for one in verdicts.values()):
        return _NONE
    with Memory() as memory:
        if not memory.on:
            return _NONE
        described = {}
        for finding in shot.findings:
            if finding.rank <= _MOST or finding.id in verdicts:
                described[finding.id] = shot.known.describer.describe(shot.findings, finding)
                yield Progress(len(described), len(shot.findings), "recalling")
        if shot.review is not None:
            memory.keep(
                shot.reviewed, verdicts, described, taken_back=_mentioned(shot.review) - set(verdicts)
            )
        remembered = memory.remembered(shot.reviewed.detector_sha256)
    return alike(described, remembered, shot.reviewed)


def _counts(one: Judgement) -> bool:
    return one.verdict in (Verdict.FALSE_POSITIVE, Verdict.REAL)


def _mentioned(review: Review) -> set[int]:
    """Give the findings of which something was said at some time, taken back or not."""
    return {key for change in (*review.past, *review.future) for key in change.verdicts}


class Recalling:
    """Keeps the memory in line with what the reader says, and knows what is like something rejected.

    Parameters
    ----------
    desk
        Whose findings.

    Attributes
    ----------
    changed
        Signal when `likes` has changed.
    problem
        Signal with an error of the memory; reading goes on without it.
    """

    changed = Signal()
    problem = Signal(Exception)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs: list[Jobs] = []
        self._current: Jobs | None = None
        self._known: _Known | None = None
        self._again = False
        self.likes: Mapping[int, Like] = _NONE

    @property
    def on(self) -> bool:
        """Whether the memory is on; it is made at the first verdict."""
        try:
            if memory_path().exists():
                with Memory() as memory:
                    return memory.on
        except AnomalyError:
            return False
        return True

    def switch(self, on: bool) -> None:
        """Switch the memory on or off, for all windows and from now on.

        Raises
        ------
        ReviewError
            If that cannot be kept.
        """
        with Memory() as memory:
            memory.on = on
        self.refresh()

    @property
    def idle(self) -> bool:
        """Whether nothing is being remembered or compared."""
        return all(jobs.idle for jobs in self._jobs)

    def refresh(self) -> None:
        """Take in what was said, and compare again; beside the window, and never twice at once for a scan."""
        case = self._desk.case
        shot = shot_of(case, self._known)
        same = shot is not None and shot.known is self._known
        if not same:
            # What runs for the scan before goes on, unheard: its last verdict is to be remembered, too.
            self._current = None
            self._show(_NONE)
        if shot is None:
            return
        if same and self._current is not None and self._current.running:
            self._again = True
            return
        jobs = Jobs(listed=False)
        self._jobs = [*(other for other in self._jobs if not other.idle), jobs]
        self._current, self._known, self._again = jobs, shot.known, False
        done, failed = partial(self._on_done, jobs), partial(self._on_failed, jobs)
        jobs.start(partial(recalling, shot), Listener(done=done, failed=failed))

    def close(self) -> None:
        """Compare no more; what is not remembered yet will be when its scan is opened again."""
        for jobs in self._jobs:
            jobs.close()

    def _on_done(self, jobs: Jobs, likes: Mapping[int, Like]) -> None:
        if jobs is not self._current:
            return
        self._show(likes)
        if self._again:
            self.refresh()

    def _on_failed(self, jobs: Jobs, error: Exception) -> None:
        if jobs is self._current:
            self._show(_NONE)
            self.problem.emit(error)

    def _show(self, likes: Mapping[int, Like]) -> None:
        if likes != self.likes:
            self.likes = likes
            self.changed.emit()
