"""The whole reading as a user does it, in a window of its own process, where PyTorch is not installed.

A worklist of real scans is read from the first finding to the last report, the window is killed again and again at
random moments, and nothing that it had shown may be missing in the next one.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fake_engine import fake_result
from napari_anomaly import recall
from napari_anomaly.anomaly import from_decades
from napari_anomaly.findings import find
from napari_anomaly.io import read_scan
from napari_anomaly.io.detections import save_detection
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.samples import sample_path
from napari_anomaly.worklist import Worklist

READER = Path(__file__).with_name("reader.py")
SCANS = ("ms-flair", "stroke-t2")
VERDICTS = ("real", "unsure", "false_positive")


@pytest.fixture
def worklist(tmp_path: Path) -> Path:
    """Make a worklist of real scans, found in by brightness alone: no detector is needed to read."""
    file = tmp_path / "list.sqlite"
    listed = Worklist(file)
    for place, name in enumerate(SCANS):
        path = tmp_path / sample_path(name).name
        shutil.copy(sample_path(name), path)
        scan = read_scan(path)
        result = fake_result(scan)
        decades = 5.0
        while len(find(result.map, from_decades(decades), min_volume_mm3=30)) < 4 and decades > 0.5:
            decades -= 0.25
        found = replace(result.map, default_threshold=from_decades(decades), default_min_volume_mm3=30.0)
        save_detection(tmp_path / f"{name}.zip", scan, found, result.supervoxels)
        listed.add([(path, -1)])
        row = next(row for row in listed.rows() if row.path == path)
        figures = {"scan_score": 0.9 - place / 10, "findings": 4, "volume_ml": 1.0}
        listed.ready(row, "0" * 64, name=scan.name, detection=tmp_path / f"{name}.zip", **figures)
    listed.close()
    return file


def begin(worklist: Path, seconds: float | None) -> list[dict]:
    """Start a reader, kill it some seconds after its first word, and give what it told; None lets it finish."""
    reports = worklist.parent / "reports"
    reports.mkdir(exist_ok=True)
    words = [sys.executable, str(READER), str(worklist), str(reports)]
    told: list[dict] = []
    with (
        (worklist.parent / "stderr.txt").open("ab") as errors,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        for line in process.stdout:
            if line.endswith(b"\n"):
                told.append(json.loads(line))
            if len(told) == 1 and seconds is not None:
                threading.Timer(seconds, process.send_signal, (signal.SIGKILL,)).start()
                seconds = None
    return told


@pytest.mark.usefixtures("screen")
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_worklist_is_read_to_its_last_report_without_torch_and_killed_on_the_way(
    worklist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = worklist.parent
    monkeypatch.setenv(VARIABLE, str(folder / "reviews"))
    monkeypatch.setenv(recall.VARIABLE, str(folder / "memory.sqlite"))
    monkeypatch.setenv("NAPARI_CONFIG", str(folder / "settings.yaml"))
    rng, shown = random.Random(int(os.environ.get("NAPARI_ANOMALY_SEED", "3"))), {}
    for kill in range(int(os.environ.get("NAPARI_ANOMALY_KILLS", "2")) + 1):
        last = kill == int(os.environ.get("NAPARI_ANOMALY_KILLS", "2"))
        told = begin(worklist, None if last else rng.uniform(0.0, 2.0))
        assert told, (folder / "stderr.txt").read_text()
        for state in told:
            if "scan" not in state:
                continue
            before = shown.get(state["scan"], {"verdicts": {}, "drawn": 0})
            assert before["verdicts"].items() <= state["verdicts"].items()
            assert before["drawn"] <= state["drawn"]
            shown[state["scan"]] = state
        if told[-1] == {"done": True} and not last:
            break
    assert told[-1] == {"done": True}, (folder / "stderr.txt").read_text()
    listed = Worklist(worklist)
    assert [row.status for row in listed.rows()] == ["read"] * len(SCANS)
    listed.close()
    for name, state in shown.items():
        assert state["findings"] >= 4
        assert len(state["verdicts"]) == state["findings"]
        assert state["drawn"] == 2
        page = (folder / "reports" / f"{name}.html").read_text(encoding="utf-8")
        assert page.count("false positive: vessel") >= list(state["verdicts"].values()).count(
            "false_positive"
        )
        assert "Not a medical device" in page or "not a medical device" in page
    assert {verdict for state in shown.values() for verdict in state["verdicts"].values()} == set(VERDICTS)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["info"], 0, "Detecting needs PyTorch, which is not installed"),
        (["memory", "list"], 0, ""),
        (["detect", "--sample", "ms-flair", "-o", "out"], 2, "needs PyTorch, which is not installed"),
        (["screen", "nowhere", "--worklist", "list.sqlite"], 2, "nowhere is not there"),
    ],
)
def test_the_command_line_says_what_needs_torch_and_does_the_rest(
    words: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(recall.VARIABLE, str(tmp_path / "memory.sqlite"))
    code = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'openvino'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        "from napari_anomaly.cli import main\n"
        f"sys.exit(main({words!r}))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert answer.returncode == status, answer.stderr
    assert said in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
