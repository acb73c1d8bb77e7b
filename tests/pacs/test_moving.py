"""C-MOVE: files come in at a port of ours, which is open no longer than that takes."""

import socket
import threading
import time

import numpy as np
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage

from archives import dimse_archive
from dicoms import ROOT, classic, one_slice, places, ramp
from napari_anomaly import io, pacs
from napari_anomaly.errors import ArchiveError
from napari_anomaly.progress import drain
from orthanc import free_port

SLICES = ramp((4, 6, 5))
UID = ROOT + "2"


@pytest.fixture
def port():
    return free_port()


def closed(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def fill(address, folder, **words):
    files = classic(folder, SLICES, **words)
    drain(pacs.storing(pacs.connect(address, timeout=20), files))


def test_a_series_is_moved_where_nothing_can_be_got(tmp_path, port):
    with dimse_archive(sends_to={"READER": port}) as (address, _):
        fill(address, tmp_path / "in")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query(series=UID))
        (folder,) = drain(pacs.fetching(archive, [match], tmp_path / "out"))
        with pytest.raises(ArchiveError, match=r"does not offer.*GET.*--move PORT"):
            drain(pacs.fetching(pacs.connect(address, timeout=20), [match], tmp_path / "got"))
    one, other = io.read_scan(folder), io.read_scan(tmp_path / "in")
    np.testing.assert_array_equal(one.voxels, other.voxels)
    assert closed(port)
    assert list((tmp_path / "got").iterdir()) == []


def test_the_port_opens_again_for_the_next_series(tmp_path, port):
    with dimse_archive(sends_to={"READER": port}) as (address, _):
        fill(address, tmp_path / "a")
        fill(address, tmp_path / "b", SeriesInstanceUID=ROOT + "5")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        found = archive.search(pacs.Query())
        assert len(drain(pacs.fetching(archive, found, tmp_path / "out"))) == 2
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 8


def test_a_title_that_no_port_is_known_of_is_told(tmp_path, port):
    with dimse_archive(sends_to={"OTHER": port}) as (address, _):
        fill(address, tmp_path / "in")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query())
        with pytest.raises(ArchiveError, match=f"READER is this machine, at port {port}"):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
    assert closed(port)


def test_files_that_cannot_be_sent_are_told_and_nothing_is_left(tmp_path, port):
    with dimse_archive(sends_to={"READER": port}, loses=1) as (address, _):
        fill(address, tmp_path / "in")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query())
        with pytest.raises(ArchiveError, match="could not send 1 files"):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
    assert closed(port)


def test_an_archive_that_reaches_another_port_is_given_up(tmp_path, port):
    with dimse_archive(sends_to={"READER": free_port()}) as (address, _):
        fill(address, tmp_path / "in")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query())
        with pytest.raises(
            ArchiveError, match=rf"READER is this machine, at port {port}, and let no firewall"
        ):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))


def test_a_transfer_that_is_stopped_is_cancelled_and_closes_the_port(tmp_path, port):
    with dimse_archive(sends_to={"READER": port}) as (address, held):
        fill(address, tmp_path / "in")
        first = held[0]
        for number in range(2, 200):
            data = one_slice(SLICES[0], places(1)[0], number)
            data.file_meta = first.file_meta
            held.append(data)
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query())
        steps = pacs.fetching(archive, [match], tmp_path / "out")
        for _ in range(3):
            next(steps)
        assert not closed(port)
        steps.close()
        assert list((tmp_path / "out").iterdir()) == []
        assert closed(port)
        for _ in range(100):
            if held.cancelled:
                break
            time.sleep(0.1)
        assert held.cancelled


def test_files_that_were_not_asked_for_are_not_taken(tmp_path, port):
    statuses = []

    def push():
        entity = AE(ae_title="STRANGER")
        entity.add_requested_context(MRImageStorage)
        for called in ("READER", "NOBODY"):
            association = entity.associate("127.0.0.1", port, ae_title=called)
            if not association.is_established:
                statuses.append("rejected")
                continue
            data = one_slice(SLICES[0], places(1)[0], 1, SeriesInstanceUID=ROOT + "99")
            statuses.append(association.send_c_store(data).Status)
            association.release()

    with dimse_archive(sends_to={"READER": port}) as (address, _):
        fill(address, tmp_path / "in")
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query())
        steps = pacs.fetching(archive, [match], tmp_path / "out")
        next(steps)
        stranger = threading.Thread(target=push)
        stranger.start()
        stranger.join()
        (folder,) = drain(steps)
    assert statuses == [0xA900, "rejected"]
    assert {str(each.name) for each in folder.iterdir()} == {f"{number:06d}.dcm" for number in range(1, 5)}


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as taken, dimse_archive(sends_to={"READER": 1}) as (address, _):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        fill(address, tmp_path / "in")
        number = taken.getsockname()[1]
        archive = pacs.connect(address, calling="READER", timeout=20, move_port=number)
        (match,) = archive.search(pacs.Query())
        with pytest.raises(ArchiveError, match=f"Port {number} of this machine cannot be opened"):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://pacs.example", "speaks DICOMweb, which needs no port"),
        ("dicoms://ARCHIVE@pacs.example", "is to be encrypted"),
    ],
)
def test_where_a_port_makes_no_sense(ring, address, words):
    with pytest.raises(ArchiveError, match=words):
        pacs.connect(address, move_port=11112)
