"""``napari-anomaly pseudonymise``, and the same words of other commands."""

from pydicom import dcmread

from archives import web_archive
from dicoms import PATIENT, ROOT, classic, ramp
from napari_anomaly import io
from napari_anomaly.cli import main

SLICES = ramp((3, 6, 5))


def test_copies_and_results_of_the_original_belong_together(tmp_path, tiny, capsys):
    classic(tmp_path / "in", ramp((8, 16, 16)))
    key = tmp_path / "key"
    words = ["pseudonymise", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--key", str(key)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "a new key was made" in told.err
    assert key.read_text().strip() not in told.out + told.err
    (folder,) = told.out.splitlines()
    assert "Muster" not in folder.removeprefix(str(tmp_path))
    copy = dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert copy.PatientID == io.Pseudonyms.read(key).patient("ID4711")

    detect = ["detect", *tiny, str(tmp_path / "in"), "-o", str(tmp_path / "results"), "--dicom"]
    assert main([*detect, "--pseudonymise", str(key)]) == 0
    assert "a new key" not in capsys.readouterr().err
    for path in (tmp_path / "results").glob("*.dcm"):
        made = dcmread(path)
        assert (made.PatientID, made.StudyInstanceUID) == (copy.PatientID, copy.StudyInstanceUID)
        assert not any(word in path.read_bytes() for word in (b"Muster", b"ID4711", f"{ROOT}2".encode()))
    assert len(list((tmp_path / "results").glob("*.dcm"))) >= 3


def test_days_that_are_moved(tmp_path, capsys):
    classic(tmp_path / "in", SLICES)
    words = [
        "pseudonymise",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--key",
        str(tmp_path / "key"),
    ]
    assert main([*words, "--shift-dates"]) == 0
    day = dcmread(next((tmp_path / "out").rglob("*.dcm"))).StudyDate
    assert len(day) == 8
    assert day < "20240101"


def test_what_is_left_out_is_told(tmp_path, capsys):
    classic(tmp_path / "in", SLICES)
    classic(
        tmp_path / "in" / "more", SLICES, first=10, BurnedInAnnotation="YES", SeriesInstanceUID=ROOT + "5"
    )
    words = [
        "pseudonymise",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--key",
        str(tmp_path / "key"),
    ]
    assert main(words) == 2
    told = capsys.readouterr()
    assert "left out: 3 files" in told.err
    assert len(told.out.splitlines()) == 1


def test_a_series_is_fetched_without_the_patient(tmp_path, ring, monkeypatch, capsys):
    with web_archive() as (address, held, _):
        monkeypatch.setenv("NAPARI_ANOMALY_ARCHIVE", address)
        classic(tmp_path / "in", SLICES)
        assert main(["pacs", "store", str(tmp_path / "in")]) == 0
        words = ["pacs", "fetch", "--patient-id", "ID4711", "-o", str(tmp_path / "out")]
        words += ["--pseudonymise", str(tmp_path / "key")]
        assert main(words) == 0
        assert main(words) == 0
        assert all(each.PatientName == PATIENT for each in held)
    files = list((tmp_path / "out").rglob("*.dcm"))
    assert len(files) == 3
    for file in files:
        assert not any(word in file.read_bytes() for word in (b"Muster", b"ID4711", f"{ROOT}2".encode()))
    folder = io.read_scan(tmp_path / "out")
    assert folder.voxels.shape == (3, 6, 5)


def test_words_in_the_pixels_of_a_copy_are_pointed_out(tmp_path, capsys):
    slices = ramp((6, 24, 24))
    slices[:, 2:10:3, 2:18] = 30000
    classic(tmp_path / "in", slices)
    words = [
        "pseudonymise",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--key",
        str(tmp_path / "key"),
    ]
    assert main(words) == 0
    told = capsys.readouterr()
    assert f"look at {told.out.strip()}: the same pixels are the brightest" in told.err
