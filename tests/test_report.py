import base64
import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_anomaly.errors import ScanError
from napari_anomaly.io import read_scan
from napari_anomaly.report import (
    STATEMENT,
    Reading,
    key_images,
    reading_csv,
    reading_json,
    report_html,
    write_text,
)
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_case, oriented, save_nifti

SCAN = Scan.from_array(
    np.random.default_rng(0).normal(100, 10, (6, 7, 8)).astype(np.float32),
    affine=oriented((0, 2, 1), (1, 1, -1)),
    name="head",
)
MADE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def reading() -> Reading:
    anomaly_map, _, findings = a_case(SCAN)
    review = Review.of(SCAN, anomaly_map, reader="anna").mark(
        [findings.items[1].id], Verdict.FALSE_POSITIVE, reason="vessel"
    )
    review = review.write(findings.items[1].id, "<b>5 > 3</b> & faint")
    return Reading(SCAN, anomaly_map, findings, review, (80.0, 120.0), "brain")


def test_the_report_says_what_a_reader_needs(reading: Reading) -> None:
    page = report_html(reading, made=MADE)
    for words in (
        STATEMENT,
        "80 to 120 (brain)",
        "threshold 0.9",
        "false positive: vessel",
        "not judged",
        "anna",
        SCAN.sha256[:16],
        "2026-03-04 05:06 UTC",
        "2 (1 false positive, 1 not judged)",
    ):
        assert words in page, words


def test_notes_cannot_break_the_page(reading: Reading) -> None:
    page = report_html(reading)
    assert "<b>5" not in page
    assert "&lt;b&gt;5 &gt; 3&lt;/b&gt; &amp; faint" in page


def test_the_report_needs_nothing_else(reading: Reading) -> None:
    page = report_html(reading)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "http" not in page
    pictures = re.findall(r"base64,([^\"]+)\"", page)
    assert len(pictures) == 6
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (230, 230)


def test_a_report_without_findings_says_so(reading: Reading) -> None:
    none = type(reading.findings)((), np.zeros_like(reading.findings.labels), SCAN.geometry, 0.9, 0.0, False)
    page = report_html(Reading(SCAN, reading.anomaly_map, none, reading.review, (0.0, 1.0)))
    assert "No findings at these settings" in page


def blue(picture: Image.Image) -> np.ndarray:
    return (np.asarray(picture) == (86, 180, 233)).all(axis=-1)


def test_key_images_lie_as_a_radiologist_expects(reading: Reading) -> None:
    voxels = np.zeros((20, 20, 20), dtype=np.float32)
    scan = Scan.from_array(voxels, name="empty")
    score = np.zeros(voxels.shape, dtype=np.float32)
    # High in the head, in front, on the patient's right.
    score[15:18, 2:5, 3:6] = 0.95
    from napari_anomaly.findings import find
    from phantoms import a_map

    anomaly_map = a_map(score, geometry=scan.geometry)
    findings = find(anomaly_map, 0.9)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.REAL)
    axial, coronal, sagittal = key_images(
        Reading(scan, anomaly_map, findings, review, (0.0, 1.0)), findings.items[0]
    )
    for picture in (axial, coronal, sagittal):
        rows, columns = np.nonzero(blue(picture))
        # Front or head is up; right or front is on the left.
        assert rows.mean() < 115
        assert columns.mean() < 115


def test_the_outline_has_the_colour_of_the_verdict(reading: Reading) -> None:
    first = reading.findings.items[0]
    assert not blue(key_images(reading, first)[0]).any()
    marked = reading.review.mark([first.id], Verdict.REAL)
    pictures = key_images(Reading(SCAN, reading.anomaly_map, reading.findings, marked, (80.0, 120.0)), first)
    assert all(blue(picture).any() for picture in pictures)


def test_the_table_and_json_hold_the_verdicts(reading: Reading) -> None:
    rows = list(csv.DictReader(io.StringIO(reading_csv(reading))))
    assert [row["verdict"] for row in rows] == ["", "false_positive"]
    assert rows[1]["reason"] == "vessel"
    assert rows[1]["judged"].endswith("+00:00")
    content = json.loads(reading_json(reading))
    assert content["findings"][1]["verdict"] == "false_positive"
    assert content["scan"]["sha256"] == SCAN.sha256
    assert content["statement"] == STATEMENT
    assert Review.from_json(json.dumps(content["review"])).verdicts == reading.review.verdicts


def test_text_is_written_and_never_over_the_scan(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "head.nii", np.zeros((4, 4, 4), np.float32), np.eye(4))
    scan = read_scan(path)
    assert write_text("ü", scan, tmp_path / "a.html").read_text(encoding="utf-8") == "ü"
    with pytest.raises(ScanError, match="never overwritten"):
        write_text("x", scan, path)
