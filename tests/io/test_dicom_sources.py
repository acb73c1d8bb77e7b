import warnings

import numpy as np
import pytest
from pydicom import Dataset

from dicoms import classic, enhanced, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom_sources import making, sources_of

SLICES = ramp((6, 8, 7))


def test_headers_are_whole_and_in_the_order_of_the_slices(tmp_path):
    classic(tmp_path, SLICES, PatientSex=None, DeidentificationMethod="")
    scan = io.read_scan(tmp_path)
    sources = sources_of(scan)
    assert [each.SOPInstanceUID for each in sources.datasets] == [frame.uid for frame in sources.frames]
    first = sources.datasets[0]
    assert (first.PatientSex, first.DeidentificationMethod) == ("", "not stated by the source")
    assert "PixelData" not in first
    assert sources.of_slice(2)[1] is None


def test_frames_of_one_file_come_in_the_order_of_the_slices_and_keep_their_numbers(tmp_path):
    order = [3, 0, 5, 1, 2, 4]
    scan = io.read_scan(enhanced(tmp_path / "one.dcm", SLICES[order], positions=places(6)[order]))
    sources = sources_of(scan)
    assert sources.multiframe
    groups = sources.datasets[0].PerFrameFunctionalGroupsSequence
    found = [each.PlanePositionSequence[0].ImagePositionPatient for each in groups]
    np.testing.assert_allclose(found, [frame.position for frame in sources.frames])
    assert [sources.of_slice(k)[1] for k in range(6)] == [order.index(k) + 1 for k in range(6)]
    made, reference, derived, frame = Dataset(), Dataset(), Dataset(), Dataset()
    reference.ReferencedFrameNumber = 2
    derived.SourceImageSequence, frame.DerivationImageSequence = [reference], [derived]
    made.PerFrameFunctionalGroupsSequence = [frame]
    sources.renumber(made)
    assert reference.ReferencedFrameNumber == order.index(1) + 1


def test_frames_of_other_volumes_are_left_out(tmp_path):
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(12)}
    twice = np.repeat(SLICES, 2, axis=0), np.repeat(places(6), 2, axis=0)
    path = enhanced(tmp_path / "one.dcm", twice[0], positions=twice[1], frame_tags=times)
    sources = sources_of(io.read_scan(path, volume=1))
    assert sources.datasets[0].NumberOfFrames == 6
    assert [sources.of_slice(k)[1] for k in range(6)] == [2, 4, 6, 8, 10, 12]


def test_files_that_are_gone_are_told(tmp_path):
    files = classic(tmp_path, SLICES)
    scan = io.read_scan(tmp_path)
    files[0].unlink()
    with pytest.raises(ScanError, match="cannot be read again"):
        sources_of(scan)


def test_what_highdicom_says_becomes_ours(tmp_path):
    classic(tmp_path, SLICES)
    scan = io.read_scan(tmp_path)
    with pytest.raises(ScanError, match=r"No thing of MR-7-t1-mprage can be made: 'odd'\. Its source files"):
        fail(scan)


def fail(scan):
    with making("thing", scan):
        warnings.warn("Mustermann", stacklevel=1)
        raise KeyError("odd")
