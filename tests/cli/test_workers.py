"""Several workers on one worklist: real processes, and one that is killed."""

import os
import signal
from pathlib import Path

import pytest

from napari_anomaly.cli import looking as looking_module
from napari_anomaly.cli import main, workers
from napari_anomaly.cli.detecting import FindingSettings
from napari_anomaly.cli.looking import Looking, Outcome, look
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.worklist import Worklist

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def listed(file):
    worklist = Worklist(file)
    rows = worklist.rows()
    worklist.close()
    return rows


def looking_with(tiny, results):
    return Looking(
        tiny[1], DetectSettings(device="cpu", engine="torch"), FindingSettings(threshold=0.9), results
    )


def test_two_workers_find_what_one_finds(tiny, write_phantom, tmp_path):
    for seed, name in enumerate(("a", "b", "c")):
        write_phantom(f"scans/{name}.nii.gz", seed=seed)
    (tmp_path / "scans" / "bad.nii.gz").write_bytes(b"no scan at all")
    found: dict[str, dict[str, tuple]] = {}
    scores: dict[str, dict[str, float]] = {}
    for count in ("1", "2"):
        file = tmp_path / f"by{count}.sqlite"
        words = ["screen", str(tmp_path / "scans"), "--worklist", str(file), "--workers", count]
        assert main([*words, *tiny, "--threshold", "0.9"]) == 2
        rows = listed(file)
        found[count] = {row.path.name: (row.state, row.findings, row.volume_ml, row.reason) for row in rows}
        scores[count] = {row.path.name: row.scan_score for row in rows if row.scan_score is not None}
    assert found["1"] == found["2"]
    # Two workers use fewer threads each, which sum in another order.
    assert len(scores["1"]) == 3
    assert scores["1"] == pytest.approx(scores["2"], rel=1e-4)
    assert [found["2"][f"{name}.nii.gz"][0] for name in ("a", "b", "c", "bad")] == ["ready"] * 3 + ["failed"]


def _deadly(looking: Looking, path: Path, series: int) -> Outcome:
    """Kill the worker at its first scan, as the kernel does when memory is short; always at a poisoned one."""
    mark = looking.results / "killed"
    if "poison" in path.name or not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return look(looking, path, series)


def test_the_scan_of_a_killed_worker_goes_to_another(tiny, write_phantom, tmp_path, monkeypatch):
    for name in ("a", "b", "poison"):
        write_phantom(f"scans/{name}.nii.gz")
    (tmp_path / "results").mkdir()
    worklist = Worklist(tmp_path / "list.sqlite")
    worklist.add((path, -1) for path in sorted((tmp_path / "scans").iterdir()))
    monkeypatch.setattr(workers, "look", _deadly)
    done = workers.look_at_all(looking_with(tiny, tmp_path / "results"), worklist.rows(), workers=2)
    outcomes = {row.name: outcome for row, outcome in done}
    worklist.close()
    assert outcomes["a.nii.gz"].detection.exists()
    assert outcomes["b.nii.gz"].detection.exists()
    assert outcomes["poison.nii.gz"].detection is None
    assert "lost 3 times" in outcomes["poison.nii.gz"].reason


def test_a_scheduler_that_does_not_answer_is_named(tiny, write_phantom, tmp_path, capsys, monkeypatch):
    write_phantom("scans/a.nii.gz")
    words = ["screen", str(tmp_path / "scans"), "--worklist", str(tmp_path / "list.sqlite"), *tiny]
    monkeypatch.setattr(workers, "PATIENCE", 1)
    assert main([*words, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert [row.state for row in listed(tmp_path / "list.sqlite")] == ["waiting"]


def test_without_dask_the_extra_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(Exception, match=r"napari-anomaly\[cluster\]"):
        next(workers.look_at_all(looking_with(tiny, tmp_path), [], workers=2))


def test_a_detector_is_read_once(tiny):
    looking_module._detector.cache_clear()
    assert looking_module._detector(tiny[1]) is looking_module._detector(tiny[1])


def test_the_workers_of_a_scheduler_do_it_and_a_bad_scan_is_a_row(tiny, write_phantom, tmp_path):
    from distributed import LocalCluster

    write_phantom("scans/a.nii.gz")
    (tmp_path / "scans" / "bad.nii.gz").write_bytes(b"no scan at all")
    words = ["screen", str(tmp_path / "scans"), "--worklist", str(tmp_path / "list.sqlite"), *tiny]
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        assert main([*words, "--scheduler", cluster.scheduler_address]) == 2
    rows = {row.path.name: row for row in listed(tmp_path / "list.sqlite")}
    assert rows["a.nii.gz"].detection.exists()
    assert rows["bad.nii.gz"].state == "failed"
    assert rows["bad.nii.gz"].reason
