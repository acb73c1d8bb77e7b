from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_engine import fake_result
from napari_anomaly.anatomy import Anatomy, label_of
from napari_anomaly.anomaly import to_decades
from napari_anomaly.errors import ScanError, StaleReview
from napari_anomaly.findings import find
from napari_anomaly.io.detections import load_detection, save_detection
from napari_anomaly.scan import Scan


@pytest.fixture
def path(scan: Scan, tmp_path: Path) -> Path:
    result = fake_result(scan)
    save_detection(tmp_path / "d.zip", scan, result.map, result.supervoxels, ("a note",))
    return tmp_path / "d.zip"


def test_a_detection_comes_back_as_it_was(path: Path, scan: Scan) -> None:
    made, stored = fake_result(scan), load_detection(path, scan)
    assert stored.map.sha256 == made.map.sha256
    assert stored.map.false_findings == made.map.false_findings
    assert stored.map.scan_score == made.map.scan_score
    assert (stored.map.detector, stored.notes) == (made.map.detector, ("a note",))
    np.testing.assert_array_equal(stored.supervoxels.ids, made.supervoxels.ids)
    np.testing.assert_array_equal(stored.supervoxels.image, made.supervoxels.image)
    # The same findings under the same ids: verdicts fit.
    ids = [[one.id for one in find(result.map, 0.8)] for result in (made, stored)]
    assert ids[0] == ids[1]


def test_anatomy_and_the_lower_of_two_looks_come_back_too(scan: Scan, tmp_path: Path) -> None:
    made = fake_result(scan)
    labels = np.full(scan.geometry.shape, label_of("thalamus", "left"), np.uint8)
    least = to_decades(made.map.score).astype(np.float16)
    known = Anatomy(labels, np.zeros_like(labels), scan.geometry)
    save_detection(tmp_path / "d.zip", scan, replace(made.map, anatomy=known, least=least), made.supervoxels)
    findings = find(load_detection(tmp_path / "d.zip", scan).map, 0.8)
    assert {one.where for one in findings} == {"left thalamus"}
    assert {one.stability for one in findings} == {1.0}


def test_the_detection_of_another_scan_is_stale(path: Path, scan: Scan) -> None:
    other = Scan(scan.voxels + 1, scan.geometry, scan.source, scan.name)
    with pytest.raises(StaleReview, match="made on another scan"):
        load_detection(path, other)


def test_a_damaged_file_says_so(path: Path, scan: Scan) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ScanError, match=r"no detection that this version can read.*Screen the scan again"):
        load_detection(path, scan)
    with pytest.raises(ScanError, match="no detection that this version can read"):
        load_detection(path.with_name("none.zip"), scan)
