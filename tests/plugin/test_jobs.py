import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from pytestqt.qtbot import QtBot

from napari_anomaly.plugin import jobs as jobs_module
from napari_anomaly.plugin.jobs import Jobs, Listener, time_left
from napari_anomaly.progress import Progress, Steps

pytestmark = pytest.mark.usefixtures("screen")


def until(qtbot: QtBot, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(done, timeout=60_000)


class Ear:
    """Hears everything, and in which thread."""

    def __init__(self) -> None:
        self.results: list[object] = []
        self.errors: list[Exception] = []
        self.progress: list[Progress] = []
        self.stopped = 0
        self.threads: set[int] = set()

    def listener(self) -> Listener[object]:
        return Listener(self._done, self._failed, self._progress, self._stopped)

    def _done(self, result: object) -> None:
        self.results.append(result)
        self.threads.add(threading.get_ident())

    def _failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.threads.add(threading.get_ident())

    def _progress(self, progress: Progress) -> None:
        self.progress.append(progress)
        self.threads.add(threading.get_ident())

    def _stopped(self) -> None:
        self.stopped += 1


class Work:
    """A generator with so many steps; remembers where it ran and how it ended."""

    def __init__(self, steps: int, seconds: float = 0.0, result: object = "done") -> None:
        self.steps, self.seconds, self.result = steps, seconds, result
        self.done = 0
        self.closed = False
        self.thread = 0
        self.began = 0.0

    def __call__(self) -> Steps[object]:
        self.thread = threading.get_ident()
        self.began = time.monotonic()
        try:
            for step in range(self.steps):
                time.sleep(self.seconds)
                self.done += 1
                yield Progress(step + 1, self.steps, "working")
        except GeneratorExit:
            self.closed = True
            raise
        return self.result


@pytest.fixture(params=[True, False], ids=["listed", "quiet"])
def jobs(request: pytest.FixtureRequest, qtbot: QtBot) -> Generator[Jobs, None, None]:
    jobs = Jobs(listed=request.param)
    yield jobs
    jobs.close()
    until(qtbot, lambda: jobs.idle)


def test_a_job_runs_in_another_thread_and_is_heard_of_in_this_one(jobs: Jobs, qtbot: QtBot) -> None:
    ear, work = Ear(), Work(5)
    jobs.start(work, ear.listener())
    until(qtbot, lambda: bool(ear.results))
    assert ear.results == ["done"]
    assert work.thread != threading.get_ident()
    assert ear.threads == {threading.get_ident()}
    assert not jobs.running


def test_progress_comes_at_most_ten_times_a_second(jobs: Jobs, qtbot: QtBot) -> None:
    ear = Ear()
    work = Work(600, 0.001)
    jobs.start(work, ear.listener())
    until(qtbot, lambda: bool(ear.results))
    seconds = time.monotonic() - work.began
    assert 1 <= len(ear.progress) <= seconds * 10 + 1


def test_an_error_arrives_as_it_is(jobs: Jobs, qtbot: QtBot) -> None:
    problem = ValueError("no")

    def fail() -> Steps[object]:
        yield Progress(0, 1, "working")
        raise problem

    ear = Ear()
    jobs.start(fail, ear.listener())
    until(qtbot, lambda: bool(ear.errors))
    assert ear.errors == [problem]
    assert ear.results == []
    assert not jobs.running


def test_a_generator_that_cannot_even_be_made_is_an_error(jobs: Jobs, qtbot: QtBot) -> None:
    def broken() -> Steps[object]:
        raise RuntimeError("cannot load")

    ear = Ear()
    jobs.start(broken, ear.listener())
    until(qtbot, lambda: bool(ear.errors))
    assert str(ear.errors[0]) == "cannot load"


def test_cancel_stops_within_one_step_and_nothing_is_heard(jobs: Jobs, qtbot: QtBot) -> None:
    ear, work = Ear(), Work(1000, 0.02)
    jobs.start(work, ear.listener())
    until(qtbot, lambda: work.done >= 3)
    done = work.done
    assert jobs.cancel()
    heard = len(ear.progress)
    assert not jobs.running
    until(qtbot, lambda: work.closed)
    assert work.done <= done + 2
    until(qtbot, lambda: jobs.idle)
    assert (ear.results, ear.errors, len(ear.progress)) == ([], [], heard)


def test_cancel_of_nothing_is_nothing(jobs: Jobs) -> None:
    assert not jobs.cancel()


def test_a_new_job_replaces_the_one_before_and_waits_for_it(jobs: Jobs, qtbot: QtBot) -> None:
    first, second = Ear(), Ear()
    slow, fast = Work(1000, 0.02, "first"), Work(2, 0.0, "second")
    jobs.start(slow, first.listener())
    until(qtbot, lambda: slow.done >= 2)
    jobs.start(fast, second.listener())
    assert jobs.running
    until(qtbot, lambda: bool(second.results))
    assert slow.closed
    assert first.results == []
    assert second.results == ["second"]


def test_only_the_last_of_many_is_heard(jobs: Jobs, qtbot: QtBot) -> None:
    ears = [Ear() for _ in range(5)]
    for place, ear in enumerate(ears):
        jobs.start(Work(20, 0.005, place), ear.listener())
    until(qtbot, lambda: bool(ears[-1].results))
    assert [ear.results for ear in ears] == [[], [], [], [], [4]]


def test_after_close_nothing_begins_and_nothing_is_heard(jobs: Jobs, qtbot: QtBot) -> None:
    ear, work = Ear(), Work(1000, 0.01)
    jobs.start(work, ear.listener())
    until(qtbot, lambda: work.done >= 2)
    jobs.close()
    late = Work(1)
    jobs.start(late, ear.listener())
    until(qtbot, lambda: jobs.idle)
    assert work.closed
    assert late.thread == 0
    assert ear.results == []


def test_a_job_that_is_stopped_from_outside_ends_well(qtbot: QtBot) -> None:
    jobs, ear, work = Jobs(), Ear(), Work(1000, 0.01)
    job = jobs.start(work, ear.listener())
    until(qtbot, lambda: work.done >= 2)
    # What the cancel button of napari's task manager calls.
    job.worker.quit()
    until(qtbot, lambda: ear.stopped == 1)
    until(qtbot, lambda: jobs.idle)
    assert work.done < 100
    assert ear.results == []
    assert not jobs.running


def test_a_result_of_none_is_a_result(jobs: Jobs, qtbot: QtBot) -> None:
    ear = Ear()
    jobs.start(Work(1, result=None), ear.listener())
    until(qtbot, lambda: ear.results == [None])


@pytest.fixture
def usual_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """Threads take turns as usual, whatever still runs from another test."""
    monkeypatch.setattr(jobs_module, "_SWITCHING", jobs_module._Switching())
    found = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield sys.getswitchinterval()
    sys.setswitchinterval(found)


def test_threads_take_turns_more_often_while_jobs_run_and_as_before_afterwards(
    usual_turns: float, qtbot: QtBot
) -> None:
    before = usual_turns
    let_go = [threading.Event(), threading.Event()]
    both = [Jobs(listed=False), Jobs(listed=False)]
    seen: list[float] = []

    def waiting(event: threading.Event) -> Steps[float]:
        yield Progress(0, 1, "waiting")
        event.wait(30)
        return sys.getswitchinterval()

    for one, event in zip(both, let_go, strict=True):
        one.start(partial(waiting, event), Listener(done=seen.append, failed=pytest.fail))
    qtbot.waitUntil(lambda: sys.getswitchinterval() < before, timeout=20_000)
    for number, (one, event) in enumerate(zip(both, let_go, strict=True), 1):
        event.set()
        qtbot.waitUntil(lambda one=one: one.idle, timeout=20_000)
        assert len(seen) == number
    assert max(seen) == pytest.approx(1e-3)
    assert sys.getswitchinterval() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of single threads")
def test_a_job_and_the_threads_that_it_makes_give_way_to_the_window(jobs: Jobs, qtbot: QtBot) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def asking() -> Steps[tuple[int, int]]:
        yield Progress(0, 1, "asking")
        with ThreadPoolExecutor(1) as own:
            return priority(), own.submit(priority).result()

    ear, before = Ear(), priority()
    jobs.start(asking, ear.listener())
    until(qtbot, lambda: bool(ear.results))
    expected = max(before, jobs_module.NICE)
    assert ear.results == [(expected, expected)]
    assert priority() == before


@pytest.mark.parametrize(
    ("done", "seconds", "text"),
    [
        (50, 4.0, "4 s left"),
        (99, 10.0, "1 s left"),
        (10, 60.0, "9 min left"),
        (2, 10.0, ""),
        (50, 0.2, ""),
    ],
)
def test_time_left(done: int, seconds: float, text: str) -> None:
    assert time_left(Progress(done, 100, ""), seconds) == text


def test_time_left_of_an_unknown_amount() -> None:
    assert time_left(Progress(0, 0, ""), 100.0) == ""
