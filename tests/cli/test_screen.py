"""``napari-anomaly screen`` on small phantoms."""

import pytest

from napari_anomaly import io
from napari_anomaly.cli import main, screen
from napari_anomaly.io.detections import load_detection
from napari_anomaly.worklist import Worklist


@pytest.fixture
def run_screen(tiny, tmp_path):
    """Run the command with a fast detector, and give its exit status and the rows of the list."""

    def run(*words):
        file = tmp_path / "list.sqlite"
        status = main(["screen", *map(str, words), "--worklist", str(file), *tiny, "--threshold", "0.9"])
        worklist = Worklist(file)
        rows = worklist.rows()
        worklist.close()
        return status, rows

    return run


def test_a_folder_becomes_a_worklist_and_a_bad_scan_a_row(run_screen, write_phantom, tmp_path, capsys):
    write_phantom("scans/a.nii.gz")
    write_phantom("scans/deep/b.nii.gz", seed=1)
    (tmp_path / "scans" / "bad.nii.gz").write_bytes(b"no scan at all")
    status, rows = run_screen(tmp_path / "scans")
    assert status == 2
    assert sorted(row.name for row in rows[:2]) == ["a", "b"]
    assert [row.state for row in rows] == ["ready", "ready", "failed"]
    assert "bad.nii.gz" in rows[2].reason
    for row in rows[:2]:
        scan = io.read_scan(row.path)
        stored = load_detection(row.detection, scan)
        assert stored.map.scan_score == row.scan_score
    assert "3 scans, 3 to look at" in capsys.readouterr().out

    status, again = run_screen(tmp_path / "scans")
    assert (status, again) == (0, rows)
    assert "3 scans, 0 to look at" in capsys.readouterr().out


def test_it_goes_on_where_it_was_stopped(run_screen, write_phantom, tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_phantom(f"scans/{name}.nii.gz")
    one = screen._Noting.one

    def stopped(self, row, outcome, title):
        if title.startswith("2"):
            raise KeyboardInterrupt
        return one(self, row, outcome, title)

    monkeypatch.setattr(screen._Noting, "one", stopped)
    status, rows = run_screen(tmp_path / "scans")
    assert status == 130
    assert [row.state for row in rows] == ["ready", "waiting"]
    monkeypatch.setattr(screen._Noting, "one", one)
    status, rows = run_screen(tmp_path / "scans")
    assert status == 0
    assert [row.state for row in rows] == ["ready", "ready"]


def test_a_mask_is_no_scan(run_screen, write_truth, tmp_path):
    (tmp_path / "scans").mkdir()
    write_truth("scans/lesions.nii.gz")
    status, rows = run_screen(tmp_path / "scans")
    assert status == 2
    assert "holds a mask" in rows[0].reason


def test_a_folder_that_is_not_there(run_screen, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["screen", str(tmp_path)])
    status, rows = run_screen(tmp_path / "none")
    assert (status, rows) == (2, [])
    assert "is not there" in capsys.readouterr().err
