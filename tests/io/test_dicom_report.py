import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage

from dicoms import PATIENT, classic, detected, enhanced, ramp
from napari_anomaly import io
from napari_anomaly.anatomy import label_of
from napari_anomaly.export import to_mask
from napari_anomaly.findings import find
from napari_anomaly.io import dicom_report
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.io.dicom_codes import VERDICT
from napari_anomaly.io.dicom_report import report
from napari_anomaly.io.dicom_seg import segmentation
from napari_anomaly.io.dicom_sources import save
from napari_anomaly.review import Review, Verdict
from phantoms import a_map

SLICES = ramp((6, 8, 7))
COMMENT = codes.DCM.Comment


@pytest.fixture
def scan(tmp_path):
    classic(tmp_path / "in", SLICES)
    return io.read_scan(tmp_path / "in")


def sent(tmp_path, scan, anomaly_map, findings, review=None):
    """Write a report and read it back; give it, its groups by name, and the segmentation."""
    seg = segmentation(to_mask(findings, review), findings, anomaly_map, scan)
    save(report(findings, anomaly_map, scan, seg, review=review), tmp_path / "a.dcm")
    made = highdicom.sr.srread(tmp_path / "a.dcm")
    groups = [
        *made.content.get_image_measurement_groups(),
        *made.content.get_volumetric_roi_measurement_groups(),
    ]
    return made, {group.tracking_identifier: group for group in groups}, seg


def words(group):
    return [item.value for item in group[0].ContentSequence if item.name == COMMENT]


def verdict(group):
    return next(item.value.value for item in group.get_qualitative_evaluations() if item.name == VERDICT)


def values(group):
    return [(m.name.meaning, m.value) for m in group.get_measurements()]


def test_every_finding_is_measured_and_points_at_its_segment(tmp_path, scan):
    anomaly_map, findings = detected(scan, structure=label_of("thalamus", "left"))
    made, groups, seg = sent(tmp_path, scan, anomaly_map, findings)
    assert made.SOPClassUID == Comprehensive3DSRStorage
    assert list(groups) == ["Whole scan", "Finding 1", "Finding 2"]
    for finding, segment in zip(findings, seg.SegmentSequence, strict=True):
        group = groups[f"Finding {finding.rank}"]
        assert values(group) == [
            ("Volume", round(finding.volume_mm3, 3)),
            ("Diameter", round(finding.diameter_mm, 3)),
            ("Percentile Ranking of measurement", pytest.approx(100 * finding.peak, abs=1e-6)),
            ("Percentile Ranking of measurement", pytest.approx(100 * finding.mean, abs=1e-6)),
        ]
        assert group.tracking_uid == segment.TrackingUID
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert group.referenced_segment.referenced_segment_numbers == [segment.SegmentNumber]
        assert verdict(group) == "not_judged"
        site = group.finding_sites[0]
        assert (site.value.meaning, site.laterality.meaning) == ("Thalamus", "Left")
        assert words(group) == ["left thalamus"]
    assert made.CompletionFlag == "PARTIAL"


def test_what_the_reader_said_stands_in_it(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    one, other = findings
    review = Review.of(scan, anomaly_map, reader="Dr. Vogt^=\\")
    review = review.mark([one.id], Verdict.FALSE_POSITIVE, reason="vessel").write(one.id, "a vein")
    review = review.mark([other.id], Verdict.REAL)
    stroke = np.zeros(scan.geometry.shape, bool)
    stroke[4, 6, 0] = True
    made, groups, _ = sent(tmp_path, scan, anomaly_map, findings, review.paint(stroke, add=True))
    assert list(groups) == ["Whole scan", "Finding 1", "Finding 2", "Painted by the reader"]
    assert [verdict(groups[f"Finding {k}"]) for k in (1, 2)] == ["false_positive", "real"]
    assert words(groups["Finding 1"]) == ["vessel. a vein"]
    on = np.flatnonzero((to_slices(findings.labels, scan) == 1).any(axis=(1, 2)))
    told = {item.referenced_sop_instance_uid for item in groups["Finding 1"].source_images}
    assert told == {frames_of(scan)[k].uid for k in on}
    assert made.CompletionFlag == "COMPLETE"
    assert made.VerificationFlag == "UNVERIFIED"
    names = [str(i.value) for i in made.ContentSequence if i.name == codes.DCM.PersonObserverName]
    assert names == ["Dr. Vogt^"]


def test_it_belongs_to_the_study_and_names_no_one_else(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    made, _, seg = sent(tmp_path, scan, anomaly_map, findings)
    source = dcmread(frames_of(scan)[0].place.path)
    for tag in ("StudyInstanceUID", "PatientID", "PatientName"):
        assert made[tag].value == source[tag].value
    evidence = {
        item.ReferencedSOPInstanceUID
        for key in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in made.get(key, ())
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert evidence == {frame.uid for frame in frames_of(scan)} | {seg.SOPInstanceUID}
    body = str(made.ContentSequence)
    assert PATIENT.split("^")[0] not in body


def test_no_finding_is_an_answer_too(tmp_path, scan):
    anomaly_map = a_map(np.zeros(scan.geometry.shape), geometry=scan.geometry)
    _, groups, _ = sent(tmp_path, scan, anomaly_map, find(anomaly_map, 0.9))
    assert list(groups) == ["Whole scan"]
    assert words(groups["Whole scan"])[0].startswith("0 findings, at threshold 0.9")
    assert values(groups["Whole scan"]) == [("Percentile Ranking of measurement", 50.0)]


def test_beyond_a_number_findings_are_only_counted(tmp_path, scan, monkeypatch):
    monkeypatch.setattr(dicom_report, "MOST_GROUPS", 1)
    anomaly_map, findings = detected(scan)
    _, groups, _ = sent(tmp_path, scan, anomaly_map, findings)
    assert list(groups) == ["Whole scan", "Finding 1"]
    assert words(groups["Whole scan"])[0].startswith("2 findings, of which the first 1 are listed")


def test_frames_of_an_enhanced_file_are_named(tmp_path):
    scan = io.read_scan(enhanced(tmp_path / "one.dcm", SLICES))
    anomaly_map, findings = detected(scan)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    _, groups, _ = sent(tmp_path, scan, anomaly_map, findings, review)
    on = np.flatnonzero((to_slices(findings.labels, scan) == 1).any(axis=(1, 2)))
    told = [item.referenced_frame_numbers for item in groups["Finding 1"].source_images]
    assert [number for numbers in told for number in np.atleast_1d(numbers)] == [int(k) + 1 for k in on]
