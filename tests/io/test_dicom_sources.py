import warnings

import numpy as np
import pytest

from dicoms import classic, enhanced, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom import to_slices
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
    np.testing.assert_array_equal(sources.lay(scan.voxels, scan), SLICES)


def test_frames_of_one_file_are_laid_where_it_has_them(tmp_path):
    order = [3, 0, 5, 1, 2, 4]
    scan = io.read_scan(enhanced(tmp_path / "one.dcm", SLICES[order], positions=places(6)[order]))
    sources = sources_of(scan)
    assert sources.multiframe
    np.testing.assert_array_equal(sources.lay(scan.voxels, scan), SLICES[order])
    assert not np.array_equal(sources.lay(scan.voxels, scan), to_slices(scan.voxels, scan))
    assert [sources.of_slice(k)[1] for k in range(6)] == [order.index(k) + 1 for k in range(6)]


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
