"""Damaged DICOM: whatever is in a file, it is read, left out with a note, or refused in words of ours."""

import resource
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicoms import classic, enhanced, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import AnomalyError
from napari_anomaly.io.instances import quiet
from napari_anomaly.scan import Scan

SLICES = ramp((4, 5, 6))
PUBLIC = Path(pydicom.__file__).parent / "data" / "test_files"
SCANNERS = (
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"),
    *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"),
)
FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TAGS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "InstanceNumber", "SeriesNumber", "EchoTime", "WindowCenter"),
    *("WindowWidth", "ImageType", "SeriesDescription", "PatientName", "StudyDate", "SOPClassUID"),
    *("SeriesInstanceUID", "NumberOfFrames", "Modality", "DiffusionGradientOrientation"),
)
VALUES = st.one_of(
    st.binary(max_size=24),
    st.sampled_from(
        [
            b"",
            b"0 ",
            b"-1",
            b"1e300 ",
            b"nan ",
            b"inf ",
            b"1\\2 ",
            b"0\\0\\0 ",
            b"\\\\\\ ",
            b"\xff" * 8,
            b"\0" * 4,
        ]
    ),
)


def outcome(place: Path) -> Scan | None:
    """Read what is there; give None where it was refused in our words."""
    try:
        scan = io.read_scan(place)
    except AnomalyError:
        return None
    assert scan.voxels.size <= 1 << 24
    assert np.isfinite(scan.voxels).all()
    assert np.isfinite(scan.geometry.affine).all()
    return scan


@FEW
@given(tag=st.sampled_from(TAGS), value=VALUES, which=st.integers(0, 3))
def test_a_header_with_a_damaged_value(tmp_path_factory, tag, value, which):
    folder = tmp_path_factory.mktemp("fuzz")
    paths = classic(folder, SLICES)
    with quiet():
        data = dcmread(paths[which])
        raw = value + b" " * (len(value) % 2)
        vr = data[tag].VR if tag in data else "DS"
        data._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)
        data.save_as(paths[which], enforce_file_format=False)
    outcome(folder)


@FEW
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    many=st.booleans(),
)
def test_bytes_that_flipped(tmp_path_factory, changes, many):
    folder = tmp_path_factory.mktemp("fuzz")
    path = enhanced(folder / "one.dcm", SLICES) if many else classic(folder, SLICES)[0]
    content = bytearray(path.read_bytes())
    for where, byte in changes:
        content[min(len(content) - 1, int(where * len(content)))] = byte
    path.write_bytes(content)
    outcome(folder)


@FEW
@given(
    name=st.sampled_from(SCANNERS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_bytes_that_flipped_in_files_of_scanners(tmp_path_factory, name, changes):
    folder = tmp_path_factory.mktemp("fuzz")
    paths = [moved(folder, name, number) for number in range(3)]
    assert outcome(folder) is not None
    content = bytearray(paths[1].read_bytes())
    for where, byte in changes:
        content[min(len(content) - 1, int(where * len(content)))] = byte
    paths[1].write_bytes(content)
    outcome(folder)


def moved(folder, name, number):
    """Write a file of a scanner once more, a slice higher; one slice alone would not be read at all."""
    with quiet():
        data = dcmread(PUBLIC / name)
        data.SOPInstanceUID = f"{data.SOPInstanceUID}.{number}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.InstanceNumber = number + 1
        data.ImagePositionPatient = [0, 0, 3 * number]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.save_as(folder / f"{number}.dcm", enforce_file_format=False)
    return folder / f"{number}.dcm"


@pytest.mark.parametrize("path", sorted(PUBLIC.glob("*.dcm")), ids=lambda path: path.stem)
def test_public_files_of_every_kind_are_read_or_refused(tmp_path, path):
    (tmp_path / "a.dcm").write_bytes(path.read_bytes())
    outcome(tmp_path)


@FEW
@given(share=st.floats(0, 1))
def test_a_file_that_breaks_off(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("fuzz")
    path = classic(folder, SLICES)[1]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    outcome(folder)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"RescaleSlope": "0"}, "damaged"),
        ({"PixelSpacing": [1e9, 1e9]}, "Its header is damaged"),
        ({"PixelSpacing": [0, 1]}, "must be positive"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, words, told):
    classic(tmp_path, SLICES, **words)
    with pytest.raises(AnomalyError, match=told):
        io.read_scan(tmp_path)


def test_positions_that_cannot_be(tmp_path):
    far = places(4) + np.array((0.0, 0.0, 1e9))
    classic(tmp_path / "far", SLICES, positions=far)
    with pytest.raises(AnomalyError, match="farther than 100 m"):
        io.read_scan(tmp_path / "far")
    classic(tmp_path / "steep", SLICES, positions=places(4, lean=np.array((0.0, 40.0, 0.0))))
    with pytest.raises(AnomalyError, match="leans by 86 degrees"):
        io.read_scan(tmp_path / "steep")
    apart = places(4)
    apart[3, 2] += 50_000.4
    classic(tmp_path / "apart", SLICES, positions=apart)
    with pytest.raises(AnomalyError, match=r"mm apart"):
        io.read_scan(tmp_path / "apart")


def test_a_window_that_is_no_number_does_no_harm(tmp_path):
    with quiet():
        for path in classic(tmp_path, SLICES, WindowCenter=100, WindowWidth=50):
            data = dcmread(path)
            data._dict[Tag("WindowCenter")] = RawDataElement(
                Tag("WindowCenter"), "DS", 4, b"abc ", 0, False, True
            )
            data.save_as(path, enforce_file_format=False)
    scan = io.read_scan(tmp_path)
    assert scan.source.details["windows"] == ()
    np.testing.assert_array_equal(np.sort(scan.voxels.ravel()), np.sort(SLICES.ravel()))


@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of memory is told in bytes of 1024 on Linux alone"
)
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path):
    paths = classic(tmp_path, SLICES)
    for path in paths:
        data = dcmread(path)
        data.Rows = data.Columns = 65535
        data.save_as(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(tmp_path) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20
