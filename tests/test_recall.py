"""What was rejected is remembered, taken back when the reader takes it back, and never lost half."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from napari_anomaly.descriptor import SCALES, Descriptor
from napari_anomaly.errors import ReviewError
from napari_anomaly.recall import VARIABLE, Memory, Remembered, Reviewed, alike, memory_path
from napari_anomaly.review import Judgement, Verdict

HERE = Reviewed("a" * 64, "d" * 64, "ann")
THERE = Reviewed("b" * 64, "d" * 64, "ann")
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def looks(*start: float) -> Descriptor:
    """Describe something; each number is in units of its scale."""
    scales = list(SCALES.values())
    values = [*start, *[0.0] * (len(scales) - len(start))]
    return Descriptor(numbers=tuple(v * s for v, s in zip(values, scales, strict=True)))


def said(verdict: Verdict | None, reason: str = "") -> Judgement:
    return Judgement(verdict=verdict, reason=reason, when=WHEN)


FALSE = said(Verdict.FALSE_POSITIVE, "vessel")
REAL = said(Verdict.REAL)


@pytest.fixture
def memory(tmp_path: Path):
    with Memory(tmp_path / "memory.sqlite") as memory:
        yield memory


def kept(memory: Memory) -> dict[tuple[str, int], Verdict]:
    return {(one.reviewed.scan_sha256[0], one.finding_id): one.verdict for one in memory.remembered()}


def test_what_was_judged_is_kept_and_what_was_taken_back_goes(memory: Memory) -> None:
    described = {1: looks(1), 2: looks(2), 3: looks(3)}
    memory.keep(HERE, {1: FALSE, 2: REAL, 3: said(Verdict.UNSURE)}, described)
    memory.keep(THERE, {1: FALSE}, described)
    assert kept(memory) == {
        ("a", 1): Verdict.FALSE_POSITIVE,
        ("a", 2): Verdict.REAL,
        ("b", 1): Verdict.FALSE_POSITIVE,
    }
    memory.keep(HERE, {2: REAL}, described)
    assert ("a", 1) in kept(memory), "a review that says nothing of it takes nothing away"
    memory.keep(HERE, {2: REAL}, described, taken_back=[1])
    assert ("a", 1) not in kept(memory)
    memory.keep(HERE, {1: FALSE}, described)
    memory.keep(HERE, {1: said(None), 2: FALSE}, described)
    assert kept(memory) == {("a", 2): Verdict.FALSE_POSITIVE, ("b", 1): Verdict.FALSE_POSITIVE}
    one = next(one for one in memory.remembered() if one.finding_id == 2)
    assert (one.reason, one.said, one.descriptor) == ("vessel", "2026-05-04T03:02:01+00:00", looks(2))


def test_a_finding_that_the_threshold_hides_stays(memory: Memory) -> None:
    memory.keep(HERE, {1: FALSE}, {1: looks(1)})
    memory.keep(HERE, {1: FALSE}, {})
    assert kept(memory) == {("a", 1): Verdict.FALSE_POSITIVE}


def test_readers_do_not_take_each_others_back(memory: Memory) -> None:
    other = Reviewed(HERE.scan_sha256, HERE.detector_sha256, "ben")
    memory.keep(HERE, {1: FALSE}, {1: looks(1)})
    memory.keep(other, {}, {})
    assert len(memory.remembered()) == 1


def test_what_looks_like_it_is_marked_here_and_in_the_next_scan(memory: Memory) -> None:
    memory.keep(HERE, {1: FALSE}, {1: looks(1)})
    remembered = memory.remembered("d" * 64)
    described = {1: looks(1), 2: looks(1.5), 3: looks(9, 9)}
    found = alike(described, remembered, HERE)
    assert set(found) == {2}
    assert str(found[2]) == "like one you rejected on 2026-05-04: vessel"
    assert found[2].same_scan
    found = alike(described, remembered, THERE)
    assert set(found) == {1, 2}
    assert not found[1].same_scan
    assert memory.remembered("e" * 64) == []


def test_what_is_more_like_something_real_is_not_marked(memory: Memory) -> None:
    memory.keep(HERE, {1: FALSE, 2: REAL}, {1: looks(0), 2: looks(2)})
    found = alike({7: looks(0.5), 8: looks(1.5)}, memory.remembered(), THERE)
    assert set(found) == {7}


def test_it_opens_again_as_it_was_and_can_be_emptied_and_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "new" / "memory.sqlite"
    with Memory(file) as memory:
        memory.keep(HERE, {1: FALSE}, {1: looks(1)})
        assert memory.on
        memory.on = False
    with Memory(file) as memory:
        assert not memory.on
        assert len(memory.remembered()) == 1
        written = json.loads(memory.to_json())
        assert written["findings"][0]["descriptor"] == looks(1).model_dump(mode="json")
        assert memory.clear() == 1
        assert memory.remembered() == []
        memory.on = True
        assert memory.on


def test_the_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert memory_path().name == "memory.sqlite"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "here"))
    assert memory_path() == tmp_path / "here"


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, and long enough to be told from an empty one")
    with pytest.raises(ReviewError, match=r"cannot be used: .*kept all the same"):
        Memory(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE theirs (one)")
    other.close()
    with pytest.raises(ReviewError, match="is no memory that this version can read"):
        Memory(tmp_path / "other")


def test_what_another_version_described_is_left_out(memory: Memory) -> None:
    memory.keep(HERE, {1: FALSE, 2: FALSE}, {1: looks(1), 2: looks(2)})
    memory._db.execute("UPDATE findings SET descriptor = '{\"numbers\": [1.0]}' WHERE finding = 1")
    assert [one.finding_id for one in memory.remembered()] == [2]
    assert isinstance(memory.remembered()[0], Remembered)


READER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from napari_anomaly.descriptor import SCALES, Descriptor
from napari_anomaly.recall import Memory, Reviewed
from napari_anomaly.review import Judgement, Verdict
looks = Descriptor(numbers=(1.0,) * len(SCALES))
verdicts = {}
with Memory(Path(sys.argv[1])) as memory:
    start = len(memory.remembered())
    while True:
        for _ in range(2):
            verdicts[start + len(verdicts)] = Judgement(verdict=Verdict.FALSE_POSITIVE, when=datetime.now(UTC))
        memory.keep(Reviewed(sys.argv[2], "d" * 64, "r"), verdicts, dict.fromkeys(verdicts, looks))
        os.write(1, b"%d\\n" % len(verdicts))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_9_leaves_whole_steps(tmp_path: Path) -> None:
    file, rng = tmp_path / "memory.sqlite", random.Random(3)
    for kill in range(int(os.environ.get("NAPARI_ANOMALY_KILLS", "3"))):
        words = [sys.executable, "-c", READER, str(file), str(kill) * 64]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            first = process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
            shown = [int(line) for line in (first + process.stdout.read()).splitlines()]
        with Memory(file) as memory:
            mine = [one for one in memory.remembered() if one.reviewed.scan_sha256 == str(kill) * 64]
        # Each step adds two, so nothing was written half.
        assert len(mine) in (shown[-1], shown[-1] + 2)
