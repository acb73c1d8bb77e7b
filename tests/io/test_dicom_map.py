import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ParametricMapStorage

from dicoms import classic, detected, enhanced, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import GridMismatch
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.io.dicom_map import parametric_map
from napari_anomaly.io.dicom_sources import save
from phantoms import a_map

SLICES = ramp((6, 8, 7))


def by_position(made):
    """Give each frame by the place that its header names."""
    frames = np.atleast_3d(made.pixel_array).reshape(-1, made.Rows, made.Columns)
    return {
        tuple(groups.PlanePositionSequence[0].ImagePositionPatient): frame
        for groups, frame in zip(made.PerFrameFunctionalGroupsSequence, frames, strict=True)
    }


def sent(tmp_path, scan):
    anomaly_map, _ = detected(scan)
    save(parametric_map(anomaly_map, scan), tmp_path / "a.dcm")
    return dcmread(tmp_path / "a.dcm"), to_slices(anomaly_map.score, scan)


def test_scores_lie_on_the_source_slices_to_the_bit(tmp_path):
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    made, meant = sent(tmp_path, scan)
    assert made.SOPClassUID == ParametricMapStorage
    found = by_position(made)
    for frame, plane in zip(frames_of(scan), meant, strict=True):
        np.testing.assert_array_equal(found[tuple(frame.position)], plane)
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    source = dcmread(frames_of(scan)[0].place.path)
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert made[tag].value == source[tag].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID


def test_only_the_frames_of_the_volume_are_said_something_of(tmp_path):
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(12)}
    path = enhanced(
        tmp_path / "one.dcm",
        np.repeat(SLICES, 2, axis=0),
        positions=np.repeat(places(6), 2, axis=0),
        frame_tags=times,
    )
    scan = io.read_scan(path, volume=1)
    made, meant = sent(tmp_path, scan)
    assert made.NumberOfFrames == 6
    found = by_position(made)
    for frame, plane in zip(frames_of(scan), meant, strict=True):
        np.testing.assert_array_equal(found[tuple(frame.position)], plane)
    told = {
        int(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for groups in made.PerFrameFunctionalGroupsSequence
    }
    assert told == {2, 4, 6, 8, 10, 12}
    for groups in made.PerFrameFunctionalGroupsSequence:
        number = int(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        place = dcmread(path).PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
        assert place.ImagePositionPatient == groups.PlanePositionSequence[0].ImagePositionPatient


def test_highdicom_reads_it_back(tmp_path):
    classic(tmp_path / "in", SLICES, positions=places(6, lean=np.array((0.0, 1.0, 0.0))))
    scan = io.read_scan(tmp_path / "in")
    _, meant = sent(tmp_path, scan)
    assert meant.shape == SLICES.shape != scan.geometry.shape
    again = highdicom.imread(tmp_path / "a.dcm")
    frames = again.get_frames(apply_real_world_transform=True)
    assert float(frames.max()) == pytest.approx(0.999)
    assert frames.shape == meant.shape


def test_a_map_of_another_grid_is_refused(tmp_path):
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    with pytest.raises(GridMismatch, match="has shape"):
        parametric_map(a_map(np.zeros((3, 3, 3))), scan)
