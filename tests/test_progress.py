import pytest

from napari_anomaly.progress import Progress, Steps, drain


def counting(total: int, log: list[str]) -> Steps[str]:
    try:
        for done in range(total):
            yield Progress(done, total, f"step {done}")
        return "result"
    finally:
        log.append("closed")


@pytest.mark.parametrize(
    ("done", "total", "fraction"), [(0, 4, 0.0), (1, 4, 0.25), (4, 4, 1.0), (9, 4, 1.0), (3, 0, 0.0)]
)
def test_fraction(done: int, total: int, fraction: float) -> None:
    assert Progress(done, total, "").fraction == fraction


def test_drain_returns_the_result_and_reports_every_step() -> None:
    log: list[str] = []
    seen: list[Progress] = []
    assert drain(counting(3, log), seen.append) == "result"
    assert seen == [Progress(0, 3, "step 0"), Progress(1, 3, "step 1"), Progress(2, 3, "step 2")]
    assert log == ["closed"]


def test_drain_needs_no_listener() -> None:
    assert drain(counting(2, [])) == "result"


def test_a_listener_that_raises_closes_the_work() -> None:
    log: list[str] = []

    def stop(progress: Progress) -> None:
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        drain(counting(3, log), stop)
    assert log == ["closed"]
