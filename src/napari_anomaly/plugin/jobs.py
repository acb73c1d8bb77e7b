"""Long work beside the window: one job at a time, its progress, its end, and none of it late.

A job is a generator that yields `Progress` and returns its result. It runs in a worker thread; everything
that the window hears of it arrives in the window's thread, and nothing arrives from a job that was cancelled
or replaced.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, no_type_check

from napari.qt.threading import create_worker as listed_worker
from superqt.utils import create_worker as quiet_worker

from napari_anomaly.progress import Progress, Steps

__all__ = ["NICE", "SWITCH_S", "Job", "Jobs", "Listener", "time_left"]

T = TypeVar("T")

_SECONDS_BETWEEN_SIGNALS = 0.1

SWITCH_S = 1e-3
"""How soon a job hands Python over to the window, which wants it after every call of the graphics library."""

NICE = 5
"""By how many of Linux's steps a job gives way to the window, where both want the same processor."""


def _ignore(_: Any) -> None:
    """Hear nothing."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Listener(Generic[T]):
    """What to call, in the window's thread, as a job goes on.

    Parameters
    ----------
    done
        With the result.
    failed
        With the exception.
    progress
        With the latest `Progress`, at most ten times a second.
    stopped
        When the job was stopped from outside, by napari's task manager.
    """

    done: Callable[[T], object]
    failed: Callable[[Exception], object]
    progress: Callable[[Progress], object] = _ignore
    stopped: Callable[[], object] = _nothing


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class _Stopped:
    """Returned in place of a result by a job that was cancelled."""


@dataclass(eq=False)
class Job(Generic[T]):
    """The ticket of one piece of work: whoever holds it can tell whether its news are still wanted."""

    make: Callable[[], Steps[T]]
    listener: Listener[T]
    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    worker: Any = None

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began


class Jobs:
    """Runs one job at a time; a new one replaces the one before, and begins when that has let go.

    Parameters
    ----------
    listed
        Whether napari's task manager shows the jobs, and asks before the window closes on one.
    """

    def __init__(self, *, listed: bool = True) -> None:
        self._create = listed_worker if listed else quiet_worker
        self._current: Job[Any] | None = None
        self._waiting: Job[Any] | None = None
        self._ending: list[Job[Any]] = []
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether the result of a job is still wanted."""
        return self._current is not None or self._waiting is not None

    @property
    def idle(self) -> bool:
        """Whether no thread works any more, not even on something that nobody wants."""
        return not self.running and not self._ending

    def start(self, make: Callable[[], Steps[T]], listener: Listener[T]) -> Job[T]:
        """Cancel what runs, and begin a job.

        Parameters
        ----------
        make
            Gives the generator; called in the worker thread, so it may import and load what it needs.
        listener
            Who hears of it.
        """
        job = Job(make, listener)
        self.cancel()
        if self._closed:
            return job
        if self._ending:
            # Two detections at once would need twice the memory.
            self._waiting = job
        else:
            self._launch(job)
        return job

    def cancel(self) -> bool:
        """Stop the job within one of its steps; nothing more is heard of it.

        Returns
        -------
        bool
            Whether there was one.
        """
        had_one = self.running
        self._waiting = None
        if self._current is not None:
            self._current.stop.set()
            self._ending.append(self._current)
            self._current = None
        return had_one

    def close(self) -> None:
        """Cancel, and begin nothing more: the window is going."""
        self._closed = True
        self.cancel()

    def _launch(self, job: Job[Any]) -> None:
        self._current = job
        # The clock of the time left starts with the work, not with the wait for the job before.
        job.began = time.monotonic()
        worker: Any = self._create(_steps, job, _start_thread=False, _ignore_errors=True)
        job.worker = worker
        worker.yielded.connect(partial(self._on_progress, job))
        worker.returned.connect(partial(self._on_returned, job))
        worker.finished.connect(partial(self._on_finished, job))
        worker.start()

    def _on_progress(self, job: Job[Any], progress: Progress) -> None:
        if job is self._current:
            job.listener.progress(progress)

    def _on_returned(self, job: Job[Any], outcome: Any) -> None:
        if job is not self._current:
            return
        self._current = None
        if isinstance(outcome, _Failed):
            job.listener.failed(outcome.error)
        elif not isinstance(outcome, _Stopped):
            job.listener.done(outcome)

    def _on_finished(self, job: Job[Any]) -> None:
        if job is self._current:
            self._current = None
            job.listener.stopped()
        job.worker = None
        if job in self._ending:
            self._ending.remove(job)
        if self._waiting is not None and not self._ending and not self._closed:
            following, self._waiting = self._waiting, None
            self._launch(following)


class _Switching:
    """Has threads take turns more often as long as a job runs, and puts that back after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before = 0.0

    @contextmanager
    def often(self) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_S, self._before))
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    sys.setswitchinterval(self._before)


_SWITCHING = _Switching()


def _give_way() -> None:
    """Let the window go first where it wants the processor of this thread, or of one that this thread makes.

    Only Linux knows priorities of single threads that their children inherit; the threads of the networks are such. A
    thread cannot take it back, nor need it: it belongs to jobs alone, and where the window rests they are as fast.
    """
    if sys.platform != "linux":
        return
    # Where the program as a whole gives way already, a thread must not come before it.
    with suppress(OSError):
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, max(NICE, os.getpriority(os.PRIO_PROCESS, own)))


@no_type_check
def _steps(job):
    # Workers only take what Python calls a generator function; one that a type checker has wrapped is none.
    _give_way()
    with _SWITCHING.often():
        return (yield from _guarded(job))


def _guarded(job: Job[T]) -> Generator[Progress, None, T | _Failed | _Stopped]:
    """Run a job in the worker's thread: thin its progress, notice a cancel at every step, and keep its error.

    The error travels as a value, because napari would put a box with a traceback over the scan.
    """
    steps: Steps[T] | None = None
    last = 0.0
    try:
        steps = job.make()
        while not job.stop.is_set():
            progress = next(steps)
            now = time.monotonic()
            if now - last >= _SECONDS_BETWEEN_SIGNALS or _stopped_outside(job):
                last = now
                yield progress
        return _Stopped()
    except StopIteration as stop:
        result: T = stop.value
        return result
    except Exception as error:
        return _Failed(error)
    finally:
        if steps is not None:
            steps.close()


def _stopped_outside(job: Job[Any]) -> bool:
    # The worker looks at its own flag only when we yield, so it must not wait for the next signal.
    return job.worker is not None and bool(job.worker.abort_requested)


def time_left(progress: Progress, seconds: float) -> str:
    """Say how long a job will still take, in words; empty while that would be a guess.

    Parameters
    ----------
    progress
        How far it is.
    seconds
        How long it has taken so far.
    """
    share = progress.fraction
    if share < 0.05 or seconds < 0.7:
        return ""
    left = seconds / share * (1 - share)
    if left < 90:
        return f"{max(1, round(left))} s left"
    return f"{round(left / 60)} min left"
