"""The journal: what was said is there again, whatever ended the program."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_anomaly.errors import ReviewError, StaleReview
from napari_anomaly.io import read_scan
from napari_anomaly.journal import (
    Header,
    Journal,
    journal_path,
    journals_beside,
    journals_of,
    normal_after_all,
    others_beside,
    reader_name,
)
from napari_anomaly.review import Change, Entry, Review, Seen, Verdict, paint_of
from napari_anomaly.samples import phantom

A, B = "a" * 64, "b" * 64


def header(**changes: str) -> Header:
    values = {"scan": "head", "scan_sha256": A, "detector": "d 1.0", "detector_sha256": A, "map_sha256": A}
    return Header(**{**values, "reader": "anna", **changes})


def mark(review: Review, key: int, verdict: Verdict) -> Entry:
    return Entry(do="change", change=review.marking([key], verdict, reason="vessel"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path, header())


@pytest.fixture
def begun(path: Path) -> Journal:
    journal = Journal.open(path, header())
    for key in (3, 4):
        journal.record(mark(journal.review, key, Verdict.FALSE_POSITIVE))
    journal.close()
    return journal


@pytest.mark.parametrize(
    ("verdicts", "drawn", "changed", "normal"),
    [
        ({"anna": ["false_positive", "false_positive"]}, False, False, True),
        ({"anna": ["false_positive", "real"]}, False, False, False),
        ({"anna": ["false_positive"], "ben": ["unsure"]}, False, False, False),
        ({"anna": ["false_positive"], "ben": ["false_positive"]}, False, False, True),
        ({"anna": ["false_positive"]}, True, False, False),
        ({"anna": ["false_positive"]}, False, True, False),
    ],
)
def test_scans_in_which_all_was_rejected_are_normal_after_all(
    tmp_path: Path, verdicts: dict[str, list[str]], drawn: bool, changed: bool, normal: bool
) -> None:
    scan = phantom((12, 14, 16), field_mm=80.0)
    nibabel.save(nibabel.Nifti1Image(scan.voxels, scan.geometry.affine), tmp_path / "head.nii.gz")
    sha = read_scan(tmp_path / "head.nii.gz").sha256
    for reader, said in verdicts.items():
        own = header(reader=reader, scan_sha256="c" * 64 if changed else sha)
        journal = Journal.open(journal_path(tmp_path, own), own)
        for key, verdict in enumerate(said):
            journal.record(mark(journal.review, key, Verdict(verdict)))
        if drawn:
            paint = paint_of(np.array([5]), np.array([1], dtype=np.int8))
            journal.record(Entry(do="change", change=Change(paint=paint)))
        journal.close()
    assert normal_after_all([tmp_path]) == ([tmp_path / "head.nii.gz"] if normal else [])


def test_what_nobody_judged_leaves_no_file(path: Path) -> None:
    journal = Journal.open(path, header())
    assert journal.is_new
    journal.close()
    assert not path.exists()


def test_steps_come_back_with_their_undo(path: Path) -> None:
    journal, review = Journal.open(path, header()), header().review()
    flat = np.array([5, 6, 9])
    marked = review.mark([3], Verdict.REAL)
    steps = [
        mark(review, 3, Verdict.REAL),
        Entry(do="change", change=marked.noting(3, "ü, beside the ventricle")),
        Entry(do="change", change=Change(paint=paint_of(flat, np.array([1, 1, -1], dtype=np.int8)))),
        mark(review, 4, Verdict.UNSURE),
        Entry(do="undo"),
        Entry(do="undo"),
        Entry(do="redo"),
    ]
    for step in steps:
        journal.record(step)
        review = review.follow(step)
    assert journal.synced()
    journal.close()
    again = Journal.open(path, header())
    assert again.review == review
    assert again.review.verdict(3) is Verdict.REAL
    assert again.review.verdict(4) is None
    assert again.review.edits((2, 5, 1)).strokes.reshape(-1).tolist() == [0] * 5 + [1, 1, 0, 0, -1]
    start = again.review.undo().undo().undo()
    assert (start.verdicts, start.strokes, start.past) == ({}, (), ())
    assert again.review.redo().verdict(4) is Verdict.UNSURE
    assert again.damaged == 0
    again.close()


def test_settings_come_back(path: Path) -> None:
    journal = Journal.open(path, header())
    journal.record(Entry(do="settings", threshold=0.9, min_volume_mm3=10.0, snap=False))
    journal.record(Entry(do="settings", threshold=0.99, min_volume_mm3=20.0, snap=True))
    journal.close()
    settings = Journal.open(path, header()).settings
    assert (settings.threshold, settings.min_volume_mm3, settings.snap) == (0.99, 20.0, True)


def test_a_person_can_read_it(begun: Journal, path: Path) -> None:
    first, second, *_ = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (first["product"], first["scan"], first["reader"]) == ("napari-anomaly review", "head", "anna")
    assert second["change"]["verdicts"]["3"]["verdict"] == "false_positive"
    assert second["when"].startswith("20")


@pytest.mark.parametrize("lost", [1, 2, 10, 150])
def test_a_torn_last_line_costs_that_line_only(begun: Journal, path: Path, lost: int) -> None:
    path.write_bytes(path.read_bytes()[:-lost])
    again = Journal.open(path, header())
    assert again.review.verdict(3) is Verdict.FALSE_POSITIVE
    assert again.review.verdict(4) is (Verdict.FALSE_POSITIVE if lost == 1 else None)
    again.record(mark(again.review, 5, Verdict.REAL))
    again.close()
    last = Journal.open(path, header())
    assert last.review.verdict(5) is Verdict.REAL
    assert last.damaged == (0 if lost == 1 else 1)


def test_zeros_after_a_power_cut_cost_nothing(begun: Journal, path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 4096)
    again = Journal.open(path, header())
    again.record(mark(again.review, 5, Verdict.REAL))
    again.close()
    review = Journal.open(path, header()).review
    assert sorted(review.verdicts) == [3, 4, 5]


def test_a_journal_that_died_in_its_first_line_begins_anew(begun: Journal, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])
    again = Journal.open(path, header())
    assert again.review.verdicts == {}
    again.record(mark(again.review, 5, Verdict.REAL))
    again.close()
    assert Journal.open(path, header()).review.verdict(5) is Verdict.REAL


@pytest.mark.parametrize(
    ("other", "what"), [({"scan_sha256": B}, "another scan"), ({"detector_sha256": B}, "another detector")]
)
def test_the_review_of_something_else_is_stale(
    begun: Journal, path: Path, other: dict[str, str], what: str
) -> None:
    with pytest.raises(StaleReview, match=f"the review of {what}"):
        Journal.open(path, header(**other))
    Journal.open(path, header()).close()


def test_each_scan_detector_and_reader_has_a_file_of_its_own(tmp_path: Path) -> None:
    others = ({}, {"scan_sha256": B}, {"detector_sha256": B}, {"reader": "ben"})
    paths = {journal_path(tmp_path, header(**other)) for other in others}
    assert len(paths) == 4
    for path in paths:
        path.touch()
    assert len(others_beside(tmp_path, header())) == 2
    assert others_beside(tmp_path / "none", header()) == []
    assert set(journals_of(tmp_path, header())) == {
        journal_path(tmp_path, header(reader=reader)) for reader in ("anna", "ben")
    }
    journal_path(tmp_path, header(scan="other head")).touch()
    assert set(journals_beside(tmp_path, header())) == paths
    assert journals_beside(tmp_path / "none", header()) == []


def test_a_map_that_was_made_again_is_the_same_review(begun: Journal, path: Path) -> None:
    again = Journal.open(path, header(map_sha256=B))
    assert again.review.map_sha256 == A
    assert len(again.review.verdicts) == 2


def test_two_windows_cannot_both_write(begun: Journal, path: Path) -> None:
    first = Journal.open(path, header())
    with pytest.raises(ReviewError, match="open in another window"):
        Journal.open(path, header())
    first.close()
    Journal.open(path, header()).close()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal.open(tmp_path / "file" / "review.jsonl", header())
    with pytest.raises(ReviewError, match=r"cannot be kept in .*Choose another folder"):
        journal.record(Entry(do="undo"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is a device of Linux")
def test_a_full_disk_refuses_the_step(tmp_path: Path) -> None:
    link = tmp_path / "review.jsonl"
    link.symlink_to("/dev/full")
    journal = Journal(link, header(), header().review())
    journal._take(create=False)
    with pytest.raises(ReviewError, match=r"The last step is not saved.*Free some space"):
        journal.record(Entry(do="undo"))
    journal.close()


@pytest.mark.skipif(
    not Path("/dev/null").exists(), reason="what takes words and keeps none is a device of Unix"
)
def test_what_does_not_reach_the_disk_is_told_and_nothing_more_is_taken(tmp_path: Path) -> None:
    link = tmp_path / "review.jsonl"
    link.symlink_to("/dev/null")
    journal = Journal(link, header(), header().review())
    journal._take(create=False)
    journal._begin_syncing()
    assert journal.problem == ""
    journal.record(Entry(do="undo"))
    assert not journal.synced()
    assert "may not be on the disk" in journal.problem
    with pytest.raises(ReviewError, match=r"may not be on the disk.*Save it elsewhere"):
        journal.record(Entry(do="undo"))
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_journal_that_somebody_removes_is_written_again(tmp_path: Path, whole_folder: bool) -> None:
    path = journal_path(tmp_path / "reviews", header())
    journal = Journal.open(path, header())
    for key in (3, 4):
        journal.record(mark(journal.review, key, Verdict.REAL))
    if whole_folder:
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    journal.record(mark(journal.review, 5, Verdict.UNSURE))
    journal.record(mark(journal.review, 6, Verdict.UNSURE))
    assert journal.synced()
    with pytest.raises(ReviewError, match="open in another window"):
        Journal.open(path, header())
    journal.close()
    again = Journal.open(path, header())
    again.close()
    assert sorted(again.review.verdicts) == [3, 4, 5, 6]
    assert again.damaged == 0


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_journal_that_was_replaced_is_not_written_over(begun: Journal, path: Path) -> None:
    journal = Journal.open(path, header())
    path.unlink()
    path.write_text("another program was here", encoding="utf-8")
    with pytest.raises(ReviewError, match="cannot be kept"):
        journal.record(Entry(do="undo"))
    journal.close()
    assert path.read_text(encoding="utf-8") == "another program was here"


def test_a_closed_journal_takes_nothing(begun: Journal, path: Path) -> None:
    journal = Journal.open(path, header())
    journal.close()
    with pytest.raises(ReviewError, match="was closed"):
        journal.record(Entry(do="undo"))


def test_a_newer_version_is_not_misread(begun: Journal, path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(ReviewError, match="newer version"):
        Journal.open(path, header())


def test_the_reader_has_a_name_that_a_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "Dr. Müller/x")
    assert reader_name() == "Dr.-M-ller-x"


READER = """
import os, sys
from pathlib import Path
import numpy as np
from napari_anomaly.journal import Header, Journal
from napari_anomaly.review import Entry, Verdict, groups_of
path, sha = Path(sys.argv[1]), "a" * 64
header = Header(scan="head", scan_sha256=sha, detector="d", detector_sha256=sha, map_sha256=sha, reader="r")
journal = Journal.open(path, header)
key = max(journal.review.verdicts, default=0)
while True:
    key += 1
    change = journal.review.marking([key], list(Verdict)[key % 3], reason="x" * (key % 50))
    if key % 9 == 0:
        # A finding is split: two numbers on voxels of its own.
        groups = groups_of(np.arange(9 * key, 9 * key + 4), np.array([2, 2, 1, 1]) + 2 * key % 60000)
        change = change.model_copy(update={"groups": groups})
    journal.record(Entry(do="change", change=change))
    # Only now does the reader see it.
    os.write(1, b"%d\\n" % key)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_9_at_random_moments_loses_no_verdict(tmp_path: Path) -> None:
    path, seen, rng = tmp_path / "review.jsonl", 0, random.Random(7)
    kills = int(os.environ.get("NAPARI_ANOMALY_KILLS", "6"))
    for _ in range(kills):
        with subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE) as process:
            first = process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
            shown = [int(line) for line in (first + process.stdout.read()).splitlines() if line]
        assert shown, "the reader has said nothing before it was killed"
        assert shown[0] == seen + 1 or shown[0] == seen + 2
        seen = shown[-1]
        sha = "a" * 64
        again = Journal.open(path, header(scan_sha256=sha, detector_sha256=sha, map_sha256=sha))
        missing = [
            key for key in range(1, seen + 1) if again.review.verdict(key) is not list(Verdict)[key % 3]
        ]
        again.close()
        assert missing == []
        split = {(run.start // 9, run.start % 9): run.value for run in again.review.groups}
        for key in range(9, seen + 1, 9):
            assert (split[key, 0], split[key, 2]) == (2 + 2 * key % 60000, 1 + 2 * key % 60000)
        seen = max(again.review.verdicts)


def test_a_look_at_what_others_said_is_kept_and_not_undone(path: Path) -> None:
    journal = Journal.open(path, header())
    journal.record(mark(journal.review, 3, Verdict.REAL))
    seen = Seen(readers=("ben",), unjudged=4, when=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    journal.record(Entry(do="seen", seen=seen))
    journal.record(Entry(do="undo"))
    journal.close()
    again = Journal.open(path, header())
    again.close()
    assert again.review.seen == (seen,)
    assert again.review.verdicts == {}
    assert again.damaged == 0
    assert Review.from_json(again.review.to_json()).seen == (seen,)
