import os
import stat
from pathlib import Path

import pytest

from napari_anomaly.errors import ScanError
from napari_anomaly.io.atomic import together


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def write(*paths: Path, stop: bool = False, left_out: Path | None = None) -> None:
    """Stage some files and write them; stop with an error, or stage one more and leave it unwritten."""
    with together() as stage:
        for path in paths:
            stage(path).write_text("new")
        if stop:
            raise RuntimeError("stopped here")
        if left_out is not None:
            stage(left_out)


def keeping(kept: Path, target: Path) -> None:
    with together(keep=[kept]) as stage:
        stage(target).write_text("new")


def test_all_files_appear_at_the_end(tmp_path: Path) -> None:
    with together() as stage:
        for name in ("a", "b"):
            part = stage(tmp_path / name)
            assert part.parent == tmp_path
            part.write_text(f"new {name}")
        assert not {"a", "b"} & set(contents(tmp_path))
    assert contents(tmp_path) == {"a": "new a", "b": "new b"}


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    with pytest.raises(RuntimeError, match="stopped here"):
        write(tmp_path / "a", tmp_path / "b", stop=True)
    assert contents(tmp_path) == {"a": "old a"}


def test_a_file_that_cannot_take_its_name_takes_the_others_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "c").mkdir()
    with pytest.raises(ScanError, match="Nothing was written"):
        write(*(tmp_path / name for name in "abc"))
    assert contents(tmp_path) == {"a": "old a"}
    assert (tmp_path / "c").is_dir()


def test_what_was_staged_but_not_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="Nothing was written"):
        write(tmp_path / "a", left_out=tmp_path / "b")
    assert contents(tmp_path) == {}


def test_files_to_keep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scan").write_text("scan")
    os.link(tmp_path / "scan", tmp_path / "same")
    for name in ("scan", "same"):
        with pytest.raises(ScanError, match="never overwritten"):
            keeping(tmp_path / "scan", tmp_path / name)
    assert contents(tmp_path) == {"scan": "scan", "same": "scan"}


def test_a_file_to_keep_may_be_gone(tmp_path: Path) -> None:
    keeping(tmp_path / "gone", tmp_path / "a")
    assert contents(tmp_path) == {"a": "new"}
    with pytest.raises(ScanError, match="never overwritten"):
        keeping(tmp_path / "gone", tmp_path / "gone")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_what_the_folder_lets_them_read(tmp_path: Path) -> None:
    with together() as stage:
        stage(tmp_path / "a").write_text("new")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
