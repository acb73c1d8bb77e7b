"""``napari-anomaly pacs``."""

import io as bytes_io
import json

import pytest

from archives import web_archive
from dicoms import PATIENT, classic, ramp
from napari_anomaly.cli import main

SLICES = ramp((3, 6, 5))


@pytest.fixture
def place(ring, monkeypatch):
    with web_archive() as (address, _, _):
        monkeypatch.setenv("NAPARI_ANOMALY_ARCHIVE", address)
        yield address


def test_store_search_and_fetch(tmp_path, place, capsys):
    classic(tmp_path / "in", SLICES)
    assert main(["pacs", "store", str(tmp_path / "in")]) == 0
    assert capsys.readouterr().out == "3 files stored\n"
    assert main(["pacs", "search", "--modality", "MR"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["date", "patient", "ID", "modality", "number", "description", "files", "series"]
    assert row.split()[:4] == ["20240229", PATIENT, "ID4711", "MR"]
    assert main(["pacs", "search", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["images"] == 3
    assert main(["pacs", "fetch", "--patient-id", "ID4711", "-o", str(tmp_path / "out")]) == 0
    assert "Muster" not in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("MR-7-*/*.dcm"))) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fetch", "-o", "out"], "Everything in the archive would be fetched"),
        (["fetch", "-o", "out", "--patient-id", "nobody"], "holds no such series"),
        (["store", "nothing.dcm"], "no DICOM file"),
        (["search", "--dates", "soon"], "is no date"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, place, capsys, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["pacs", *words]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_told(tmp_path, place, capsys):
    assert main(["pacs", "store", str(tmp_path)]) == 2
    assert "no file to store" in capsys.readouterr().err


def test_login_and_logout(ring, monkeypatch, capsys):
    words = ["--archive", "https://pacs.example/dicom-web"]
    monkeypatch.setattr("sys.stdin", bytes_io.StringIO("secret\n"))
    assert main(["pacs", "login", *words, "--user", "reader"]) == 0
    assert list(ring.kept.values()) == ['["reader", "secret"]']
    assert "secret" not in capsys.readouterr().out
    assert main(["pacs", "logout", *words]) == 0
    assert ring.kept == {}
    assert main(["pacs", "logout", *words]) == 0
    assert "There was none" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", bytes_io.StringIO("\n"))
    assert main(["pacs", "login", *words]) == 2
    assert "nothing was kept" in capsys.readouterr().err
