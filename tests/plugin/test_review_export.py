"""What leaves the reading dock for the archive."""

from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pytest
from pydicom import dcmread
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from dicoms import ROOT, classic, places
from fake_engine import fake_result
from napari_anomaly import io
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.report_pdf import report_pdf
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.review import Verdict
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")


def panel_on(scan: Scan, make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> ReviewPanel:
    viewer = make_napari_viewer(show=True)
    data, keywords, _ = scan_layer(scan)
    viewer.add_image(data, **keywords)
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    case = panel.desk.case
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    case.session.threshold = 0.8
    case.session.min_volume_mm3 = 0.0
    panel.desk.count()
    qtbot.waitUntil(lambda: panel.desk.counts.idle and case.session.has_findings, timeout=20_000)
    return panel


def test_a_reading_goes_back_to_its_archive(
    tmp_path: Path,
    scan: Scan,
    make_napari_viewer: Callable[..., napari.Viewer],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slices = np.rint(scan.voxels * 1000 / scan.voxels.max()).astype(np.int16)
    sz, sy, sx = scan.geometry.spacing
    classic(tmp_path / "in", slices, positions=places(len(slices), step=sz), PixelSpacing=[sy, sx])
    panel = panel_on(io.read_scan(tmp_path / "in"), make_napari_viewer, qtbot)
    assert panel.out.archive.isEnabled()
    findings = panel.desk.case.session.findings
    panel.desk.case.session.judge([findings.items[0].id], Verdict.FALSE_POSITIVE)
    out = tmp_path / "out"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *words: str(out))
    panel.out.archive.trigger()
    qtbot.waitUntil(lambda: panel.out.idle and out.is_dir(), timeout=60_000)
    made = {path.name.removeprefix("MR-7-t1-mprage_"): dcmread(path) for path in out.glob("*.dcm")}
    assert {"mask.seg.dcm", "anomaly.pm.dcm", "report.sr.dcm"} <= set(made)
    assert {each.StudyInstanceUID for each in made.values()} == {ROOT + "1"}
    labels = [item.SegmentLabel for item in made["mask.seg.dcm"].SegmentSequence]
    assert "Finding 1" not in labels
    assert "false_positive" in str(made["report.sr.dcm"].ContentSequence)
    out = tmp_path / "nameless"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words, **named: (str(tmp_path / "a.key"), ""))
    panel.out.nameless.trigger()
    qtbot.waitUntil(lambda: panel.out.idle and out.is_dir(), timeout=60_000)
    nameless = [dcmread(path) for path in out.glob("*.dcm")]
    assert len(nameless) == len(made)
    assert {str(each.PatientName) for each in nameless} == {
        io.Pseudonyms.read(tmp_path / "a.key").patient("ID4711")
    }
    assert not [path for path in out.glob("*.dcm") if b"Mustermann" in path.read_bytes()]
    panel.close()


def test_what_is_no_dicom_has_no_archive(
    scan: Scan, make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> None:
    panel = panel_on(scan, make_napari_viewer, qtbot)
    assert not panel.out.archive.isEnabled()
    panel.close()


def test_pdf_derivatives_and_agreement(
    tmp_path: Path,
    reviews: Path,
    scan: Scan,
    make_napari_viewer: Callable[..., napari.Viewer],
    qtbot: QtBot,
) -> None:
    panel = panel_on(scan, make_napari_viewer, qtbot)
    case = panel.desk.case
    case.session.judge([case.session.findings.items[0].id], Verdict.REAL)
    panel.out.write_reading(report_pdf, tmp_path / "report.pdf")
    panel.out.write_derivatives(tmp_path / "bids")
    panel.out.write_agreement(tmp_path / "alone.csv")
    qtbot.waitUntil(lambda: panel.out.idle and panel.desk.counts.idle, timeout=60_000)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "bids" / "sub-phantom" / "anat").is_dir()
    assert not (tmp_path / "alone.csv").exists()
    (mine,) = reviews.iterdir()
    other = mine.with_name(mine.name.replace(case.journal.header.reader, "ben"))
    lines = mine.read_text(encoding="utf-8").replace(f'"{case.journal.header.reader}"', '"ben"')
    other.write_text(lines.replace('"real"', '"unsure"'), encoding="utf-8")
    panel.out.write_agreement(tmp_path / "both.csv")
    qtbot.waitUntil(lambda: panel.out.idle, timeout=60_000)
    table = (tmp_path / "both.csv").read_text(encoding="utf-8")
    assert table.splitlines()[1].split(",")[1:] in (["unsure", "real", "no"], ["real", "unsure", "no"])
    panel.close()
    qtbot.waitUntil(lambda: panel.recalling.idle, timeout=60_000)
