import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from dicoms import PATIENT, SAGITTAL, classic, detected, enhanced, ramp
from napari_anomaly import io
from napari_anomaly.io import dicom_pictures
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.io.dicom_pictures import key_images
from napari_anomaly.io.dicom_sources import save
from napari_anomaly.review import Review, Verdict

SLICES = ramp((6, 32, 28))
OUTLINE = np.array([0, 229, 255])


def drawn_outline(image):
    """Give the rows and columns of the outline, as shares of the image."""
    rows, columns = np.nonzero((image == OUTLINE).all(axis=-1))
    return (rows + 0.5) / image.shape[0], (columns + 0.5) / image.shape[1]


@pytest.mark.parametrize(("directions", "orientation"), [(None, ["L", "P"]), (SAGITTAL, ["P", "F"])])
def test_each_finding_is_outlined_where_it_lies(tmp_path, directions, orientation):
    classic(tmp_path / "in", SLICES, **({"directions": directions} if directions else {}))
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = detected(scan)
    made = key_images(findings, anomaly_map, scan)
    assert len(made) == len(findings) == 2
    labels = to_slices(findings.labels, scan)
    for finding, image in zip(findings, made, strict=True):
        save(image, tmp_path / "a.dcm")
        back = dcmread(tmp_path / "a.dcm")
        assert back.SOPClassUID == SecondaryCaptureImageStorage
        uid = back.SourceImageSequence[0].ReferencedSOPInstanceUID
        number = [frame.uid for frame in frames_of(scan)].index(uid)
        inside = labels[number] == finding.rank
        assert inside.sum() == max(np.count_nonzero(plane == finding.rank) for plane in labels)
        down, across = drawn_outline(back.pixel_array)
        rows, columns = np.nonzero(inside)
        for found, where, size in ((down, rows, 32), (across, columns, 28)):
            np.testing.assert_allclose(
                (found.min(), found.max()), (where.min() / size, (where.max() + 1) / size), atol=0.005
            )
        assert list(back.PatientOrientation) == orientation
        height, width = back.pixel_array.shape[:2]
        assert height / width == pytest.approx(32 * 1.5 / (28 * 0.75), rel=0.01)


def test_it_belongs_to_the_study_and_is_marked_as_derived(tmp_path):
    source = dcmread(classic(tmp_path / "in", SLICES)[0])
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = detected(scan)
    made = key_images(findings, anomaly_map, scan)
    for tag in ("StudyInstanceUID", "PatientID", "PatientName"):
        assert {each[tag].value for each in made} == {source[tag].value}
    assert len({each.SeriesInstanceUID for each in made}) == 1
    assert len({each.SOPInstanceUID for each in made}) == 2
    assert [each.InstanceNumber for each in made] == [1, 2]
    assert made[0].ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert made[0].BurnedInAnnotation == "NO"
    assert PATIENT.split("^")[0] not in str(made[0].DerivationDescription)


def test_what_was_judged_false_is_left_out_and_a_burnt_in_name_is_told(tmp_path):
    classic(tmp_path / "in", SLICES, BurnedInAnnotation="YES")
    scan = io.read_scan(tmp_path / "in")
    anomaly_map, findings = detected(scan)
    review = Review.of(scan, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    (made,) = key_images(findings, anomaly_map, scan, review=review)
    assert made.BurnedInAnnotation == "YES"
    everything = review.mark([finding.id for finding in findings], Verdict.FALSE_POSITIVE)
    assert key_images(findings, anomaly_map, scan, review=everything) == []


def test_only_the_worst_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_pictures, "MOST_PICTURES", 1)
    scan = io.read_scan(enhanced(tmp_path / "one.dcm", SLICES))
    anomaly_map, findings = detected(scan)
    (made,) = key_images(findings, anomaly_map, scan)
    number = int(made.SourceImageSequence[0].ReferencedFrameNumber)
    assert (to_slices(findings.labels, scan)[number - 1] == 1).any()


def test_the_window_of_the_header_is_taken(tmp_path):
    classic(tmp_path / "a", SLICES, WindowCenter=100, WindowWidth=50)
    classic(tmp_path / "b", SLICES, WindowCenter=9000, WindowWidth=50)
    means = []
    for name in ("a", "b"):
        scan = io.read_scan(tmp_path / name)
        anomaly_map, findings = detected(scan)
        means.append(key_images(findings, anomaly_map, scan)[1].pixel_array.mean())
    assert means[0] > 240 > 60 > means[1]
