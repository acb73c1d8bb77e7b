from pathlib import Path

import pytest

from dicoms import ROOT, classic, ramp
from napari_anomaly.errors import ReviewError, ScanError
from napari_anomaly.worklist import Row, Worklist, scans_in

SHA = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two", "three", "bad"):
        (tmp_path / f"{name}.nii").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def worklist(folder: Path) -> Worklist:
    worklist = Worklist(folder / "list.sqlite")
    worklist.add((path, -1) for path in sorted(folder.glob("*.nii")))
    for row in worklist.to_screen(SHA):
        screened(worklist, row, folder)
    return worklist


def screened(worklist: Worklist, row: Row, folder: Path) -> None:
    if row.name.startswith("bad"):
        worklist.failed(row, SHA, "the file is damaged")
        return
    detection = folder / "list" / f"{row.name}.zip"
    detection.parent.mkdir(exist_ok=True)
    detection.touch()
    score = {"one": 0.5, "two": 0.99, "three": 0.8}[row.name.split(".")[0]]
    worklist.ready(
        row,
        SHA,
        name=row.name.split(".")[0],
        detection=detection,
        scan_score=score,
        findings=3,
        volume_ml=1.5,
    )


def names(worklist: Worklist) -> list[str]:
    return [row.name for row in worklist.rows()]


def number(worklist: Worklist, name: str) -> int:
    return next(row.id for row in worklist.rows() if row.name == name)


def test_the_most_unusual_comes_first_and_failures_last(worklist: Worklist) -> None:
    assert names(worklist) == ["two", "three", "one", "bad.nii"]
    assert [row.state for row in worklist.rows()] == ["ready"] * 3 + ["failed"]
    assert worklist.rows()[-1].reason == "the file is damaged"
    assert worklist.rows()[0].detection.exists()


def test_screening_goes_on_where_it_was(worklist: Worklist, folder: Path) -> None:
    assert worklist.to_screen(SHA) == []
    assert worklist.add([(folder / "one.nii", -1)]) == 0
    assert [row.name for row in worklist.to_screen(SHA, retry=True)] == ["bad.nii"]
    assert len(worklist.to_screen("b" * 64)) == 4
    (folder / "one.nii").write_bytes(b"another scan under this name")
    assert [row.name for row in worklist.to_screen(SHA)] == ["one"]
    worklist.rows()[0].detection.unlink()
    assert {row.name for row in worklist.to_screen(SHA)} == {"one", "two"}


def test_the_next_one_is_what_nobody_has_read(worklist: Worklist) -> None:
    assert worklist.following().name == "two"
    worklist.take(number(worklist, "two"), "anna")
    assert worklist.following().name == "three"
    worklist.give_back(number(worklist, "two"), "read")
    worklist.take(number(worklist, "three"), "ben")
    assert worklist.following().name == "one"
    assert worklist.following(number(worklist, "one")) is None
    assert worklist.row(number(worklist, "two")).reader == "anna"


def test_what_a_reader_has_begun_comes_first(worklist: Worklist) -> None:
    worklist.take(number(worklist, "one"), "anna")
    assert worklist.following(reader="anna").name == "one"
    assert worklist.following(reader="ben").name == "two"
    assert worklist.following(number(worklist, "one"), reader="anna").name == "two"


def test_two_readers_cannot_read_one_scan(worklist: Worklist) -> None:
    two = number(worklist, "two")
    other = Worklist(worklist.file)
    assert worklist.take(two, "anna").status == "in progress"
    with pytest.raises(ReviewError, match="two is being read by anna on "):
        other.take(two, "ben")
    assert other.take(two, "anna").reader == "anna"
    other.give_back(two, "unread")
    assert other.take(two, "ben").reader == "ben"


def test_what_is_not_ready_cannot_be_read(worklist: Worklist) -> None:
    with pytest.raises(ReviewError, match="not ready to be read: the file is damaged"):
        worklist.take(number(worklist, "bad.nii"), "anna")
    with pytest.raises(ScanError, match="not on the worklist"):
        worklist.take(99, "anna")


def test_a_moved_folder_still_works(worklist: Worklist, folder: Path, tmp_path_factory) -> None:
    worklist.close()
    moved = tmp_path_factory.mktemp("moved") / "share"
    folder.rename(moved)
    again = Worklist(moved / "list.sqlite")
    assert all(row.path.exists() for row in again.rows())
    assert again.rows()[0].detection.exists()
    again.close()
    moved.rename(folder)


def test_what_is_no_worklist_is_refused(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / "text.sqlite").write_text("this is no database at all, " * 40)
    with pytest.raises(ScanError, match="cannot be"):
        Worklist(tmp_path / "text.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE things (id INTEGER)")
    other.close()
    with pytest.raises(ScanError, match="no worklist that this version can read"):
        Worklist(tmp_path / "other.sqlite")


def test_results_of_ours_are_left_out(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a_anomaly.nii.gz", "a_mask.nii.gz", ".hidden.nii", "notes.txt", "b.TIF"):
        (tmp_path / name).write_bytes(bytes(3))
    assert [path.name for path, _ in scans_in(tmp_path)] == ["a.nii.gz", "b.TIF"]


def test_scans_in_formats_of_itk_are_listed_and_their_data_files_are_not(tmp_path: Path) -> None:
    for name in ("a.nrrd", "b.nhdr", "b.raw", "c.mha", "d.mhd", "d.zraw"):
        (tmp_path / name).write_bytes(bytes(3))
    assert [path.name for path, _ in scans_in(tmp_path)] == ["a.nrrd", "b.nhdr", "c.mha", "d.mhd"]


def test_every_series_of_a_folder_is_a_scan(tmp_path: Path) -> None:
    classic(tmp_path / "a" / "one", ramp((3, 4, 5)))
    for number in ("7", "8"):
        classic(tmp_path / "b" / number, ramp((3, 4, 5)), SeriesInstanceUID=ROOT + number)
    assert list(scans_in(tmp_path / "a")) == [(tmp_path / "a", -1)]
    assert list(scans_in(tmp_path / "b")) == [(tmp_path / "b", 0), (tmp_path / "b", 1)]
    with pytest.raises(ScanError, match="is not there"):
        list(scans_in(tmp_path / "c"))
