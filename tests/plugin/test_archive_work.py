"""What the dock of the archive does beside the window, without a window."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicoms import ROOT, classic, ramp
from napari_anomaly import pacs
from napari_anomaly.errors import ArchiveError, ScanError
from napari_anomaly.pacs.match import Match, Query
from napari_anomaly.plugin.archive_place import ArchivePlace
from napari_anomaly.plugin.archive_work import adding, archive_words, reading_series, searching, sending
from napari_anomaly.progress import Progress, Steps, drain

PLACE = ArchivePlace(address="https://pacs.example")


class Shelf:
    """An archive without a wire, that fails with `problem` at the second file."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.stored: list[Any] = []
        self.closed = False

    def find(self, query: Query) -> Generator[Match, None, None]:
        try:
            for number in range(3):
                yield Match(ROOT + "1", f"{ROOT}2.{number}")
        finally:
            self.closed = True

    def search(self, query: Query) -> list[Match]:
        return list(self.find(query))

    def fetch(self, match: Match) -> Generator[Any, None, None]:
        yield from ()

    def store(self, dataset: Any) -> None:
        if self.problem is not None and self.stored:
            raise self.problem
        self.stored.append(dataset)


def on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(pacs, "connect", lambda *words, **named: shelf)
    return shelf


def written(folder: Path) -> Steps[list[Path]]:
    yield Progress(0, 0, "writing")
    return classic(folder, ramp((3, 4, 5)))


def test_a_search_that_is_left_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = on(Shelf(), monkeypatch)
    assert len(drain(searching(PLACE, Query(modality="MR")))) == 3
    shelf.closed = False
    steps = searching(PLACE, Query(modality="MR"))
    assert [next(steps).text for _ in range(2)] == ["asking the archive", "1 series so far"]
    steps.close()
    assert shelf.closed


def test_what_was_sent_is_gone_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = on(Shelf(), monkeypatch)
    assert drain(sending(PLACE, written(tmp_path / "out"), tmp_path / "out")) == 3
    assert len(shelf.stored) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ArchiveError("The archive is full."), r"is full\. 1 of 3 files were stored"),
        (ValueError("Mustermann"), r"\(ValueError\)"),
    ],
)
def test_what_was_refused_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, words: str
) -> None:
    on(Shelf(problem), monkeypatch)
    out = tmp_path / "out"
    with pytest.raises(ArchiveError, match=words) as caught:
        drain(sending(PLACE, written(out), out))
    assert f"The files stay in {out}" in str(caught.value)
    assert "Mustermann" not in str(caught.value)
    assert len([dcmread(path) for path in out.iterdir()]) == 3


def test_what_was_cancelled_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = on(Shelf(), monkeypatch)
    steps = sending(PLACE, written(tmp_path / "out"), tmp_path / "out")
    while not shelf.stored:
        next(steps)
    steps.close()
    assert len(shelf.stored) == 1
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_disk_names_nobody(tmp_path: Path) -> None:
    assert "No space left" in archive_words(OSError(28, "No space left", str(tmp_path / "Mustermann")))
    assert "Mustermann" not in archive_words(OSError(28, "No space left", str(tmp_path / "Mustermann")))
    assert "memory" in archive_words(MemoryError())
    assert archive_words(ScanError("torn")) == "torn"


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no DICOM file any more"):
        drain(reading_series(tmp_path))


def test_series_are_added_once(tmp_path: Path) -> None:
    classic(tmp_path / "a", ramp((3, 4, 5)))
    file = tmp_path / "list.sqlite"
    assert drain(adding(file, [tmp_path / "a"])) == 1
    assert drain(adding(file, [tmp_path / "a"])) == 0
