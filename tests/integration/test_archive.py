"""A real archive, Orthanc, on this machine: series in, found, fetched, results back, frames agree.

It needs Debian's packages orthanc and orthanc-dicomweb, and the extra pacs; without them it is skipped.
"""

import io as bytes_io
import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicoms import PATIENT, ROOT, classic, detected, places, ramp
from fake_engine import fake_result
from napari_anomaly import io, pacs
from napari_anomaly.cli import main
from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.progress import drain
from napari_anomaly.review import Review, Verdict
from orthanc import MISSING, WANTED, Orthanc

pytestmark = pytest.mark.skipif(MISSING, reason=WANTED)
SLICES = ramp((6, 16, 12))


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
    renamed(files, number)
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


def renamed(files, number):
    """Give each archive's copy a UID of its own."""
    for file in files:
        data = dcmread(file)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.{number}"
        data.save_as(file)


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
    renamed(files, uid[-2:])
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


@pytest.mark.usefixtures("screen")
def test_the_whole_way_round_in_the_window(
    orthanc, ring, scan, tmp_path, make_napari_viewer, qtbot, monkeypatch, caplog
):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog

    from napari_anomaly.plugin.display import prepare
    from napari_anomaly.plugin.engine import Outcome

    def press(button):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def until(done):
        qtbot.waitUntil(lambda: done() and not panel.busy, timeout=300_000)

    def search(modality):
        panel.form.modality.setCurrentText(modality)
        panel.form.patient.clear()
        qtbot.keyClicks(panel.form.patient, "Fenster")
        qtbot.keyClick(panel.form.patient, Qt.Key.Key_Return)
        until(lambda: panel.count.text() != "" or panel.message.text() != "")

    caplog.set_level("DEBUG")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *words: str(tmp_path))
    _, panel = make_napari_viewer(show=True).window.add_plugin_dock_widget("napari-anomaly", "Archive")
    panel.form.address.setText(orthanc.web)
    search("MR")
    assert "wants a user and a password" in panel.message.text()
    press(panel.form.sign_in)
    qtbot.keyClicks(panel.signing.user, "reader")
    qtbot.keyClicks(panel.signing.secret, "secret")
    press(panel.signing.ok)
    until(lambda: "Kept in the keyring" in panel.message.text())

    slices = np.rint(scan.voxels * 1000 / scan.voxels.max()).astype(np.int16)
    step, *spacing = scan.geometry.spacing
    words = {"StudyInstanceUID": ROOT + "41", "SeriesInstanceUID": ROOT + "41.1", "PixelSpacing": spacing}
    words |= {"PatientName": "Fenster^Fiona", "PatientID": "ID41"}
    files = classic(tmp_path / "in", slices, positions=places(len(slices), step=step), **words)
    renamed(files, "41")
    drain(pacs.storing(pacs.connect(orthanc.web), files))

    search("MR")
    assert panel.count.text() == "1 series"
    assert panel.table.model().index(0, 1).data() == "Fenster, Fiona"
    press(panel.fetch)
    until(lambda: len(panel.viewer.layers) == 1)
    layer = panel.viewer.layers[0]
    np.testing.assert_array_equal(layer.data, io.read_scan(tmp_path / "in").voxels)

    case = panel.desk.choose(layer)
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    case.session.threshold, case.session.min_volume_mm3 = 0.8, 1000.0
    panel.desk.count()
    qtbot.waitUntil(lambda: panel.desk.counts.idle and case.session.has_findings, timeout=300_000)
    press(panel.results.button)
    assert f"127.0.0.1:{orthanc.web_port}" in panel.results.confirming.text()
    press(next(each for each in panel.results.confirming.buttons() if each.text() == "Send"))
    until(lambda: "2 files of" in panel.message.text())
    search("SEG")
    assert panel.count.text() == "1 series"
    found = pacs.connect(orthanc.web).search(pacs.Query(study=ROOT + "41"))
    assert {(match.modality, match.images) for match in found} == {("MR", len(files)), ("SEG", 1), ("SR", 1)}
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert not [text for text in [*written, layer.name, caplog.text] if "Fenster" in text or "secret" in text]
    panel.close()
    qtbot.waitUntil(lambda: panel.idle, timeout=60_000)
