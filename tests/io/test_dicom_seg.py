from datetime import date

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage

from dicoms import ROOT, SAGITTAL, classic, enhanced, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.export import to_mask
from napari_anomaly.findings import find
from napari_anomaly.io import dicom_seg
from napari_anomaly.io.dicom import to_slices
from napari_anomaly.review import Review, Verdict
from phantoms import a_case, a_map

SLICES = ramp((6, 8, 7))


def case_of(scan):
    score = np.full(scan.geometry.shape, 0.1, np.float32)
    score[1:3, 1:4, 1:3] = 0.95
    score[2, 2, 2] = 0.999
    score[-2:, -2:, -2:] = 0.97
    anomaly_map = a_map(score, geometry=scan.geometry)
    return anomaly_map, find(anomaly_map, 0.9)


def send(folder, *what):
    dicom_seg.save(dicom_seg.segmentation(*what), folder / "a.dcm")


def segments(path, uids):
    """Read a segmentation back: one label image per source image or frame."""
    seg = highdicom.seg.segread(path)
    return seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )


@pytest.mark.parametrize("directions", [None, SAGITTAL])
def test_a_mask_goes_back_to_the_voxel(tmp_path, directions):
    classic(tmp_path / "in", SLICES, **({"directions": directions} if directions else {}))
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    uids = [frame.uid for frame in scan.source.details["frames"]]
    np.testing.assert_array_equal(segments(tmp_path / "a.dcm", uids), to_slices(findings.labels, scan))
    assert len(findings) == 2


def test_it_belongs_to_study_and_space_of_its_source(tmp_path):
    source = dcmread(classic(tmp_path / "in", SLICES)[0])
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    made = dcmread(tmp_path / "a.dcm")
    assert made.SOPClassUID == SegmentationStorage
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert made[tag].value == source[tag].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    referred = {
        item.ReferencedSOPInstanceUID for item in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referred == {frame.uid for frame in scan.source.details["frames"]}
    first = made.SegmentSequence[0]
    assert (first.SegmentLabel, first.SegmentAlgorithmType) == ("Finding 1", "AUTOMATIC")
    assert first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "napari-anomaly test"
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    assert made.ContentDate == date.today().strftime("%Y%m%d")


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_an_enhanced_file_get_their_own(tmp_path, shared):
    order = [3, 0, 5, 1, 2, 4]
    path = enhanced(tmp_path / "one.dcm", SLICES[order], positions=places(6)[order])
    if not shared:  # some makers say for each frame what is the same for all
        data = dcmread(path)
        for groups in data.PerFrameFunctionalGroupsSequence:
            groups.update(data.SharedFunctionalGroupsSequence[0])
        data.SharedFunctionalGroupsSequence = [Dataset()]
        data.save_as(path)
    scan = io.read_scan(path)
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    seg = highdicom.seg.segread(tmp_path / "a.dcm")
    back = seg.get_pixels_by_source_frame(
        f"{ROOT}8.1", list(range(1, 7)), combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(back, to_slices(findings.labels, scan)[order])


def test_one_of_several_volumes_of_a_file_gets_its_own(tmp_path):
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(12)}
    path = enhanced(
        tmp_path / "one.dcm",
        np.repeat(SLICES, 2, axis=0),
        positions=np.repeat(places(6), 2, axis=0),
        frame_tags=times,
    )
    scan = io.read_scan(path, volume=1)
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    seg = highdicom.seg.segread(tmp_path / "a.dcm")
    back = seg.get_pixels_by_source_frame(
        f"{ROOT}8.1", list(range(2, 13, 2)), combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(back, to_slices(findings.labels, scan))


def test_an_empty_mask_is_an_empty_segment(tmp_path):
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    anomaly_map = a_map(np.zeros(scan.geometry.shape), geometry=scan.geometry)
    findings = find(anomaly_map, 0.9)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    made = dcmread(tmp_path / "a.dcm")
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["No finding"]
    assert made.pixel_array.sum() == 0


def test_what_the_reader_said_counts(tmp_path):
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = case_of(scan)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    stroke = np.zeros(scan.geometry.shape, bool)
    stroke[4, 6, 0] = True
    mask = to_mask(findings, review.paint(stroke, add=True))
    send(tmp_path, mask, findings, anomaly_map, scan)
    made = dcmread(tmp_path / "a.dcm")
    labels = [(item.SegmentLabel, item.SegmentAlgorithmType) for item in made.SegmentSequence]
    assert labels == [("Finding 2", "AUTOMATIC"), ("Painted by the reader", "MANUAL")]
    uids = [frame.uid for frame in scan.source.details["frames"]]
    np.testing.assert_array_equal(segments(tmp_path / "a.dcm", uids) > 0, to_slices(mask.voxels, scan))


def test_many_findings_share_a_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_seg, "MOST_SEGMENTS", 1)
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    assert [item.SegmentLabel for item in dcmread(tmp_path / "a.dcm").SegmentSequence] == ["2 findings"]


def test_a_tilted_series_gets_its_mask_on_its_own_slices(tmp_path):
    lean = np.array((0.0, 1.0, 0.0))
    classic(tmp_path / "in", SLICES, positions=places(6, lean=lean))
    scan = io.read_scan(tmp_path / "in")
    assert scan.geometry.shape != SLICES.shape
    anomaly_map, findings = case_of(scan)
    send(tmp_path, to_mask(findings), findings, anomaly_map, scan)
    uids = [frame.uid for frame in scan.source.details["frames"]]
    back = segments(tmp_path / "a.dcm", uids)
    assert back.shape == SLICES.shape
    np.testing.assert_array_equal(back > 0, to_slices(findings.mask, scan) > 0)


def test_a_saved_case_holds_it(tmp_path):
    classic(tmp_path / "in", SLICES, PatientSex=None, AccessionNumber=None)
    scan = io.read_scan(tmp_path / "in")
    paths = io.save_case(tmp_path / "out", scan, *a_case(scan), {})
    assert paths[-1].name == "MR-7-t1-mprage_mask.seg.dcm"
    assert all(path.is_file() for path in paths)
    assert dcmread(paths[-1]).StudyInstanceUID == ROOT + "1"


def test_a_series_without_a_frame_of_reference_gets_none_and_says_so(tmp_path):
    classic(tmp_path / "in", SLICES, FrameOfReferenceUID=None)
    scan = io.read_scan(tmp_path / "in")
    assert any("no DICOM segmentation" in note for note in scan.notes)
    paths = io.save_case(tmp_path / "out", scan, *a_case(scan), {})
    assert not [path for path in paths if path.suffix == ".dcm"]


def test_what_cannot_be_sent_back_loses_nothing_else(tmp_path):
    path = enhanced(tmp_path / "one.dcm", SLICES)
    scan = io.read_scan(path)
    out = tmp_path / "out"
    stale = io.save_case(out, scan, *a_case(scan), {})[-1]
    data = dcmread(path)
    for groups in data.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence
    data.save_as(path)
    with pytest.raises(ScanError, match=r"No DICOM segmentation.*All other results were written") as caught:
        io.save_case(out, scan, *a_case(scan), {})
    assert "Mustermann" not in str(caught.value)
    assert not stale.exists()
    assert len(list(out.iterdir())) == 5


def test_a_source_that_is_gone_loses_nothing_else(tmp_path):
    files = classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    files[-1].unlink()
    with pytest.raises(ScanError, match=r"cannot be read again.*All other results were written"):
        io.save_case(tmp_path / "out", scan, *a_case(scan), {})
    assert len(list((tmp_path / "out").iterdir())) == 5
