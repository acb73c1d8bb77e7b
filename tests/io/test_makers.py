"""What makers write in places of their own: mosaics and b-values."""

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicoms import AXIAL, CORONAL, ORIGIN, SAGITTAL, SPACING, classic, csa, header, mosaic, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError, UnreadableScan
from napari_anomaly.io.makers import b_value
from napari_anomaly.io.series import list_series

SLICES = ramp((7, 6, 4))


@pytest.mark.parametrize("directions", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_tiles_of_a_mosaic_are_slices_in_their_place(tmp_path, directions, sign):
    scan = io.read_scan(mosaic(tmp_path / "a.dcm", SLICES, directions=directions, sign=sign))
    across, down = np.array(directions)
    for k, j, i in ((0, 0, 0), (6, 5, 3), (2, 1, 3)):
        normal = sign * np.cross(across, down)
        lps = np.array(ORIGIN) + across * i * SPACING[1] + down * j * SPACING[0] + normal * k * 3.0
        index = np.rint(scan.geometry.mm_to_index(lps * (-1, -1, 1))).astype(int)
        assert scan.voxels[tuple(index)] == SLICES[k, j, i]
    assert scan.voxels.size == SLICES.size
    assert sorted(scan.geometry.spacing) == pytest.approx(sorted((3.0, *SPACING)))


def test_mosaics_of_a_series_are_its_volumes(tmp_path):
    for number in (1, 2, 3):
        mosaic(tmp_path / f"{number}.dcm", SLICES + 1000 * number, number=number)
    assert io.volumes(tmp_path) == 3
    assert "3 volumes of 7 slices" in io.series_in(tmp_path)[0]
    for number in (1, 2, 3):
        scan = io.read_scan(tmp_path, volume=number - 1)
        assert int(scan.voxels.min()) == 1000 * number


def test_no_segmentation_can_refer_to_a_mosaic_and_that_is_said(tmp_path):
    scan = io.read_scan(mosaic(tmp_path / "a.dcm", SLICES))
    assert any("no DICOM segmentation" in note for note in scan.notes)
    assert not scan.source.details["referable"]


@pytest.mark.parametrize(
    "private",
    [
        None,
        b"SV10 and nothing",
        csa(NumberOfImagesInMosaic=[7]),
        csa(NumberOfImagesInMosaic=["many"], SliceNormalVector=[0, 0, 1]),
        csa(NumberOfImagesInMosaic=[10**9], SliceNormalVector=[0, 0, 1]),
        csa(NumberOfImagesInMosaic=[16], SliceNormalVector=[0, 0, 1]),
        csa(NumberOfImagesInMosaic=[7], SliceNormalVector=[0, 1, 1]),
    ],
)
def test_a_mosaic_that_does_not_say_where_its_tiles_lie_is_refused(tmp_path, private):
    path = mosaic(tmp_path / "a.dcm", SLICES)
    data = dcmread(path)
    if private is None:
        del data[0x00291010]
    else:
        data[0x00291010].value = private
    data.save_as(path)
    with pytest.raises(UnreadableScan, match="Siemens mosaic"):
        io.read_scan(path)


def test_a_damaged_mosaic_is_an_error_of_ours(tmp_path):
    path = mosaic(tmp_path / "a.dcm", SLICES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ScanError, match=r"a\.dcm"):
        io.read_scan(path)


@pytest.mark.parametrize(
    ("group", "creator", "number", "vr", "value"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "1000"),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", ["1000001000", "8", "0", "0"]),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", 1000.0),
    ],
)
def test_b_values_split_a_series_where_only_the_maker_says_them(tmp_path, group, creator, number, vr, value):
    low = {"IS": ["0", "8", "0", "0"] if isinstance(value, list) else "0", "FL": 0.0}[vr]
    for first, told in ((1, value), (20, low)):
        for path in classic(tmp_path, SLICES + first * 100, first=first):
            data = dcmread(path)
            data.private_block(group, creator, create=True).add_new(number, vr, told)
            assert b_value(data) == (0 if told is low else 1000)
            data.save_as(path)
    assert io.volumes(tmp_path) == 2
    assert int(io.read_scan(tmp_path, volume=0).voxels.min()) == 2000


def test_another_makers_element_is_no_b_value(tmp_path):
    data = header()
    data.private_block(0x0019, "SOMEBODY ELSE", create=True).add_new(0x0C, "IS", "1000")
    assert b_value(data) is None
    assert b_value(Dataset()) is None


def test_a_damaged_private_element_refuses_no_scan(tmp_path):
    for path in classic(tmp_path, SLICES):
        data = dcmread(path)
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "LO", "no number")
        data.save_as(path)
    assert not list_series(tmp_path).series[0].problem
