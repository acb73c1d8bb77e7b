"""Both ways to an archive: DICOMweb and DIMSE do the same."""

from contextlib import contextmanager

import numpy as np
import pytest
from pydicom import dcmread

from archives import dimse_archive, web_archive
from dicoms import PATIENT, ROOT, classic, ramp
from napari_anomaly import io, pacs
from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address
from napari_anomaly.pacs.credentials import Credential, keep
from napari_anomaly.progress import drain

SLICES = ramp((4, 6, 5))
BASIC = "Basic cmVhZGVyOnNlY3JldA=="


@contextmanager
def an_archive(way):
    if way == "web":
        with web_archive() as (address, held, _):
            yield address, held
    else:
        with dimse_archive() as (address, held):
            yield address, held


@pytest.fixture(params=["web", "dimse"])
def archive(request, ring):
    with an_archive(request.param) as (address, held):
        yield pacs.connect(address, timeout=20), held


def fill(archive, folder, number="1", **words):
    files = classic(folder, SLICES, SeriesInstanceUID=f"{ROOT}{number}.7", **words)
    drain(pacs.storing(archive, files))
    return files


def test_what_is_stored_is_found_and_fetched(archive, tmp_path):
    archive, held = archive
    fill(archive, tmp_path / "in")
    assert len(held) == 4
    (match,) = archive.search(pacs.Query(patient_name="Muster", modality="mr", dates="20240201-"))
    assert (match.patient_name, match.study_date, match.modality) == (PATIENT, "20240229", "MR")
    assert (match.series, match.number, match.images) == (ROOT + "1.7", "7", 4)
    texts = []
    (folder,) = drain(
        pacs.fetching(archive, [match], tmp_path / "out"), lambda step: texts.append((step.done, step.total))
    )
    assert texts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [match.folder]
    one, other = io.read_scan(folder), io.read_scan(tmp_path / "in")
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_array_equal(one.geometry.affine, other.geometry.affine)


@pytest.mark.parametrize(
    "words", [{"patient_name": "Nobody"}, {"modality": "CT"}, {"dates": "20230101"}, {"series": "1.2.3"}]
)
def test_what_is_not_there_is_not_found(archive, tmp_path, words):
    archive, _ = archive
    fill(archive, tmp_path / "in")
    assert archive.search(pacs.Query(**words)) == []


def test_a_whole_name_goes_over_the_wire_and_no_letter_is_lost(ring, tmp_path):
    with web_archive() as (address, _, asked):
        archive = pacs.connect(address)
        fill(archive, tmp_path / "in")
        asked.clear()
        assert len(archive.search(pacs.Query(patient_name="Mustermann^Erika"))) == 1
        assert "PatientName=Mustermann?Erika*" in asked[0]
        assert archive.search(pacs.Query(patient_name="Mustermann=Erika")) == []


def test_a_search_that_is_left_asks_no_more(archive, tmp_path):
    archive, _ = archive
    for number in ("1", "2"):
        fill(archive, tmp_path / number, number, StudyInstanceUID=ROOT + number)
    assert [match.study for match in archive.find(pacs.Query())] == [ROOT + "1", ROOT + "2"]
    found = archive.find(pacs.Query())
    assert next(found).study == ROOT + "1"
    found.close()
    assert len(archive.search(pacs.Query())) == 2


def test_one_of_two_series_is_asked_for(archive, tmp_path):
    archive, _ = archive
    fill(archive, tmp_path / "a")
    fill(archive, tmp_path / "b", "2", Modality="CT")
    assert len(archive.search(pacs.Query())) == 2
    assert [match.series for match in archive.search(pacs.Query(modality="CT"))] == [ROOT + "2.7"]


def test_a_transfer_that_is_stopped_leaves_nothing(archive, tmp_path):
    archive, _ = archive
    fill(archive, tmp_path / "in")
    (match,) = archive.search(pacs.Query())
    steps = pacs.fetching(archive, [match], tmp_path / "out")
    next(steps)
    next(steps)
    steps.close()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "dicom://NONE@127.0.0.1:9"])
def test_an_archive_that_is_not_there(ring, address):
    with pytest.raises(ArchiveError, match="cannot be reached") as caught:
        pacs.connect(address, timeout=5).search(pacs.Query(patient_name="Muster"))
    assert "Muster" not in repr(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "wants a user"), (403, "refuses this user"), (404, "does not know"), (500, r"\(500\)")],
)
def test_a_refusal_names_no_patient(ring, status, words, caplog):
    with (
        web_archive(refuse=status) as (address, _, asked),
        pytest.raises(ArchiveError, match=words) as caught,
    ):
        pacs.connect(address).search(pacs.Query(patient_name="Muster"))
    assert "Muster" in asked[0]
    assert "Muster" not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("credential", "header"), [(Credential("secret", "reader"), BASIC), (Credential("abc"), "Bearer abc")]
)
def test_passwords_and_tokens_come_from_the_keyring(ring, credential, header):
    with web_archive(wants=header) as (address, _, _):
        with pytest.raises(ArchiveError, match="wants a user and a password"):
            pacs.connect(address).search(pacs.Query())
        keep(Address.of(address), credential)
        assert pacs.connect(address).search(pacs.Query()) == []


def test_what_is_no_dicomweb_is_told(ring, tmp_path):
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    handler = type("Page", (SimpleHTTPRequestHandler,), {"log_message": lambda *words: None})
    handler.do_GET = lambda self: (self.send_response(200), self.end_headers(), self.wfile.write(b"<html>"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with pytest.raises(ArchiveError, match="no DICOM"):
                pacs.connect(f"http://127.0.0.1:{server.server_address[1]}").search(pacs.Query())
        finally:
            server.shutdown()
            thread.join()


def test_a_title_that_is_not_known_is_told():
    with dimse_archive(knows="READER") as (address, _):
        with pytest.raises(ArchiveError, match="does not talk to NAPARIANOMALY"):
            pacs.connect(address).search(pacs.Query())
        assert pacs.connect(address, calling="READER").search(pacs.Query()) == []
    with pytest.raises(ArchiveError, match="1 to 16 letters"):
        pacs.connect(address, calling="A" * 17)


def test_files_of_another_series_are_refused(ring, tmp_path):
    with web_archive() as (address, held, _):
        archive = pacs.connect(address)
        fill(archive, tmp_path / "in")
        (match,) = archive.search(pacs.Query())
        for each in held:
            each.SeriesDescription = "changed"
        held.matching = lambda asked: [dcmread(tmp_path / "other" / "im001.dcm")]
        classic(tmp_path / "other", SLICES, SeriesInstanceUID=ROOT + "99")
        with pytest.raises(ArchiveError, match="files of another series"):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
