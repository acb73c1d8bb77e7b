"""A real archive, Orthanc, on this machine: series in, found, fetched, results back, frames agree.

It needs Debian's packages orthanc and orthanc-dicomweb, and the extra pacs; without them it is skipped.
"""

import io as bytes_io
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicoms import PATIENT, ROOT, classic, detected, ramp
from napari_anomaly import io, pacs
from napari_anomaly.cli import main
from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.progress import drain
from napari_anomaly.review import Review, Verdict

PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = next(
    (
        path
        for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
        for path in Path(folder).glob("libOrthancDicomWeb.so*")
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    PROGRAM is None or PLUGIN is None, reason="needs Orthanc: apt-get install orthanc orthanc-dicomweb"
)
SLICES = ramp((6, 16, 12))


class Orthanc:
    """An archive that runs until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.web_port, self.dimse_port = free_port(), free_port()
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.web_port,
            "DicomPort": self.dimse_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"reader": "secret"},
            "Plugins": [str(PLUGIN)],
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowStore": True,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        self.log = (folder / "log.txt").open("w")
        self._process = subprocess.Popen(
            [str(PROGRAM), str(folder / "settings.json")], stdout=self.log, stderr=subprocess.STDOUT
        )

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dicom://ORTHANC@127.0.0.1:{self.dimse_port}"

    def get(self, path: str) -> bytes:
        """Ask in Orthanc's own words, not in DICOM's."""
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, f"http://127.0.0.1:{self.web_port}", "reader", "secret")
        ask = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        with ask.open(f"http://127.0.0.1:{self.web_port}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def wait(self) -> None:
        for _ in range(600):
            try:
                self.get("/system")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("Orthanc does not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self.log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture
def key(ring, orthanc, monkeypatch, capsys):
    """Keep the archive's password in a keyring that lives as long as the test."""
    monkeypatch.setattr("sys.stdin", bytes_io.StringIO("secret\n"))
    assert main(["pacs", "login", "--archive", orthanc.web, "--user", "reader"]) == 0
    assert "secret" not in capsys.readouterr().out


def test_a_wrong_password_is_told(orthanc, ring):
    with pytest.raises(ArchiveError, match="wants a user and a password"):
        pacs.connect(orthanc.web).search(pacs.Query(patient_name="Muster"))


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_the_whole_way_round(orthanc, key, tmp_path, way, capsys, caplog):
    place, number = getattr(orthanc, way), {"web": "21", "dimse": "22"}[way]
    words = {"StudyInstanceUID": ROOT + number, "SeriesInstanceUID": ROOT + number + ".1"}
    files = classic(tmp_path / "in", SLICES, **words)
    for file in files:  # a UID of its own for each archive's copy
        data = dcmread(file)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.{number}"
        data.save_as(file)
    assert main(["pacs", "store", "--archive", place, *map(str, files)]) == 0
    assert "6 files stored" in capsys.readouterr().out
    query = ["--patient-name", "Muster", "--modality", "MR", "--dates", "20240201-20240301"]
    query += ["--study", ROOT + number]
    assert main(["pacs", "search", "--archive", place, *query]) == 0
    told = capsys.readouterr()
    assert PATIENT in told.out
    assert ROOT + number + ".1" in told.out
    assert main(["pacs", "fetch", "--archive", place, *query, "-o", str(tmp_path / "out")]) == 0
    fetched = Path(capsys.readouterr().out.strip())
    assert len(list(fetched.glob("*.dcm"))) == 6
    assert "Muster" not in str(fetched.relative_to(tmp_path))
    scan, before = io.read_scan(fetched), io.read_scan(tmp_path / "in")
    np.testing.assert_array_equal(scan.voxels, before.voxels)
    np.testing.assert_allclose(scan.geometry.affine, before.geometry.affine, atol=1e-9)
    assert "Muster" not in caplog.text

    anomaly_map, findings = detected(scan)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    results = io.save_dicom(tmp_path / "results", scan, anomaly_map, findings, review=review)
    assert main(["pacs", "store", "--archive", place, str(tmp_path / "results")]) == 0
    assert f"{len(results)} files stored" in capsys.readouterr().out
    archive = pacs.connect(place)
    kinds = {match.modality for match in archive.search(pacs.Query(study=ROOT + number))}
    assert kinds == {"MR", "SEG", "SR", "OT"}
    agrees_with_what_orthanc_shows(orthanc, results, scan)


def agrees_with_what_orthanc_shows(orthanc, results, scan):
    """Compare with the bytes and the frames that Orthanc itself decodes."""
    by_uid = {
        json.loads(orthanc.get(f"/instances/{each}/simplified-tags"))["SOPInstanceUID"]: each
        for each in json.loads(orthanc.get("/instances"))
    }
    for path in results:
        ours = dcmread(path)
        theirs = by_uid[ours.SOPInstanceUID]
        assert dcmread(bytes_io.BytesIO(orthanc.get(f"/instances/{theirs}/file"))) == ours, path.name
        if path.name.endswith("sc.dcm"):
            np.testing.assert_array_equal(array(orthanc, theirs), ours.pixel_array)
    for frame, plane in zip(frames_of(scan), to_slices(scan.voxels, scan), strict=True):
        np.testing.assert_array_equal(array(orthanc, by_uid[frame.uid])[..., 0], plane)


def array(orthanc, instance):
    """Give the pixels as Orthanc decodes them: rows, columns, channels."""
    return np.load(bytes_io.BytesIO(orthanc.get(f"/instances/{instance}/frames/0/numpy")))


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_transfer_that_is_stopped_leaves_nothing(orthanc, key, tmp_path, way):
    place = getattr(orthanc, way)
    archive = pacs.connect(place)
    uid = ROOT + {"web": "31", "dimse": "32"}[way]
    files = classic(tmp_path / "in", SLICES, StudyInstanceUID=uid, SeriesInstanceUID=uid + ".1")
    for file in files:
        data = dcmread(file)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.{uid[-2:]}"
        data.save_as(file)
    assert drain(pacs.storing(archive, files)) == 6
    (match,) = archive.search(pacs.Query(study=uid))
    assert match.images == 6
    steps = pacs.fetching(archive, [match], tmp_path / "out")
    for _ in range(3):
        next(steps)
    steps.close()
    assert list((tmp_path / "out").iterdir()) == []
    (folder,) = drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert len(list(folder.iterdir())) == 6


def test_an_archive_without_the_series_says_so(orthanc, key, tmp_path, capsys):
    words = ["pacs", "fetch", "--archive", orthanc.web, "--patient-id", "nobody", "-o", str(tmp_path)]
    assert main(words) == 2
    assert "holds no such series" in capsys.readouterr().err
