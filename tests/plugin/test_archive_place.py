import json
from pathlib import Path

import pytest

from napari_anomaly.errors import ArchiveError
from napari_anomaly.plugin.archive_place import VARIABLE, ArchivePlace, fetched_folder, unsent_folder

PLACE = "https://pacs.example/dicom-web"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def settings(tmp_path: Path) -> Path:
    return tmp_path / "config" / "napari-anomaly" / "archive.json"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert ArchivePlace.read() == ArchivePlace()
    place = ArchivePlace().changed(address=PLACE, folder=tmp_path, calling="READER")
    place.write()
    assert ArchivePlace.read() == place
    assert json.loads(settings(tmp_path).read_text())["folder"] == str(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"address": 7}', "[]"])
def test_a_file_that_cannot_be_read_is_no_obstacle(tmp_path: Path, text: str) -> None:
    settings(tmp_path).parent.mkdir(parents=True)
    settings(tmp_path).write_text(text)
    assert ArchivePlace.read() == ArchivePlace()


def test_a_file_of_a_later_version_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    settings(tmp_path).parent.mkdir(parents=True)
    settings(tmp_path).write_text(json.dumps({"address": PLACE, "more": 1}))
    assert ArchivePlace.read().url == PLACE


def test_the_variable_is_a_default_and_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PLACE)
    assert ArchivePlace().url == PLACE
    assert ArchivePlace().changed(address=PLACE) == ArchivePlace()
    other = ArchivePlace().changed(address="https://other.example")
    assert (other.address, other.url) == ("https://other.example", "https://other.example")
    assert other.changed(calling="READER").url == "https://other.example"


def test_a_password_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="A password does not belong"):
        ArchivePlace(address="https://reader:secret@pacs.example").write()
    assert not settings(tmp_path).exists()


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    with pytest.raises(ArchiveError, match="The choice cannot be kept"):
        ArchivePlace(address=PLACE).write()


def test_folders_are_in_the_data_of_the_user(tmp_path: Path) -> None:
    assert fetched_folder() == tmp_path / "data" / "napari-anomaly" / "archive"
    assert unsent_folder() == tmp_path / "data" / "napari-anomaly" / "unsent"
