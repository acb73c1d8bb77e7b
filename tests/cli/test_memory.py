"""The memory from the command line."""

import json
from datetime import UTC, datetime

import pytest

from napari_anomaly.cli import main
from napari_anomaly.descriptor import SCALES, Descriptor
from napari_anomaly.recall import Memory, Reviewed
from napari_anomaly.review import Judgement, Verdict


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "memory.sqlite"
    said = Judgement(
        verdict=Verdict.FALSE_POSITIVE, reason="vessel", when=datetime(2026, 5, 4, 3, 2, tzinfo=UTC)
    )
    looks = Descriptor(numbers=(2.0, *(0.0,) * (len(SCALES) - 1)), anatomy=("insula",))
    with Memory(path) as memory:
        memory.keep(Reviewed("a" * 64, "d" * 64, "ann"), {5: said}, {5: looks})
    return path


def test_it_is_listed(file, capsys):
    assert main(["memory", "list", "--memory", str(file)]) == 0
    first, titles, line = capsys.readouterr().out.splitlines()
    assert first.endswith("1 findings, on")
    assert titles.split() == ["said", "verdict", "reason", "mm3", "anatomy", "scan", "detector", "reader"]
    assert line.split() == [
        "2026-05-04", "03:02", "false", "positive", "vessel", "100", "insula", "a" * 12, "d" * 12, "ann",
    ]  # fmt: skip


def test_it_is_exported(file, tmp_path):
    out = tmp_path / "out.json"
    assert main(["memory", "export", str(out), "--memory", str(file)]) == 0
    (one,) = json.loads(out.read_text(encoding="utf-8"))["findings"]
    assert (one["finding"], one["verdict"], one["reason"]) == (5, "false_positive", "vessel")


def test_it_is_switched_off_and_on_and_emptied(file, capsys):
    assert main(["memory", "off", "--memory", str(file)]) == 0
    assert main(["memory", "list", "--memory", str(file)]) == 0
    assert "1 findings, off" in capsys.readouterr().out
    assert main(["memory", "on", "--memory", str(file)]) == 0
    assert main(["memory", "clear", "--memory", str(file)]) == 0
    assert "1 findings forgotten" in capsys.readouterr().out
    assert main(["memory", "list", "--memory", str(file)]) == 0
    assert capsys.readouterr().out.endswith("0 findings, on\n")


def test_what_is_no_memory_is_told(tmp_path, capsys):
    (tmp_path / "text").write_text("no database, and long enough to be told from an empty one")
    assert main(["memory", "list", "--memory", str(tmp_path / "text")]) == 2
    assert "cannot be used" in capsys.readouterr().err
