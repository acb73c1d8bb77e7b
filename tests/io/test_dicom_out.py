import pytest
from pydicom import dcmread

from dicoms import classic, detected, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom_out import everything
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_case

SLICES = ramp((6, 8, 7))
NAME = "MR-7-t1-mprage"


@pytest.fixture
def scan(tmp_path):
    classic(tmp_path / "in", SLICES)
    return io.read_scan(tmp_path / "in")


def test_all_objects_are_series_of_their_own_in_one_study(scan):
    anomaly_map, findings = detected(scan)
    made = everything(findings, anomaly_map, scan)
    assert list(made) == ["mask.seg.dcm", "anomaly.pm.dcm", "report.sr.dcm", "key1.sc.dcm", "key2.sc.dcm"]
    assert [each.Modality for each in made.values()] == ["SEG", "OT", "SR", "OT", "OT"]
    assert len({each.StudyInstanceUID for each in made.values()}) == 1
    assert len({each.SOPInstanceUID for each in made.values()}) == 5
    assert len({each.SeriesInstanceUID for each in made.values()}) == 4
    assert len({each.SeriesNumber for each in made.values()}) == 4


def test_a_reading_is_saved_and_saved_again(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    out = tmp_path / "out"
    paths = io.save_dicom(out, scan, anomaly_map, findings)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in paths)
    assert len(paths) == 5
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    again = io.save_dicom(out, scan, anomaly_map, findings, review=review)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in again)
    assert f"{NAME}_key2.sc.dcm" not in {path.name for path in again}
    seg = dcmread(out / f"{NAME}_mask.seg.dcm")
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Finding 2"]


def test_segmentation_and_report_alone(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    io.save_dicom(tmp_path / "out", scan, anomaly_map, findings)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    paths = io.save_dicom(tmp_path / "out", scan, anomaly_map, findings, review=review, whole=False)
    assert [path.name for path in paths] == [f"{NAME}_mask.seg.dcm", f"{NAME}_report.sr.dcm"]
    assert sorted((tmp_path / "out").iterdir()) == paths
    seg, told = (dcmread(path) for path in paths)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Finding 2"]
    assert seg.SOPInstanceUID in str(told)
    assert "false_positive" in str(told)


def test_a_case_holds_it_all_where_that_is_asked_for(tmp_path, scan):
    out = tmp_path / "out"
    paths = io.save_case(out, scan, *a_case(scan), {}, dicom=True)
    names = {path.name.removeprefix(f"{NAME}_") for path in paths if path.suffix == ".dcm"}
    assert names == {"mask.seg.dcm", "anomaly.pm.dcm", "report.sr.dcm", "key1.sc.dcm", "key2.sc.dcm"}
    io.save_case(out, scan, *a_case(scan), {})
    assert [path.name for path in out.glob("*.dcm")] == [f"{NAME}_mask.seg.dcm"]


def test_a_scan_that_is_no_dicom_has_nothing_to_refer_to(tmp_path):
    scan = Scan.from_array(SLICES)
    anomaly_map, findings = detected(scan)
    with pytest.raises(ScanError, match="was not read from DICOM files"):
        io.save_dicom(tmp_path / "out", scan, anomaly_map, findings)
    assert not (tmp_path / "out").exists()
