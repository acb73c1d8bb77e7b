import shutil
import subprocess
import sys
import zipfile

import gdcm
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from dicoms import (
    AXIAL,
    CORONAL,
    ORIGIN,
    ROOT,
    SAGITTAL,
    SPACING,
    classic,
    enhanced,
    one_slice,
    places,
    ramp,
    save,
)
from napari_anomaly import io
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.io.dicom import frames_of, to_slices

SLICES = ramp()


def files_grid(scan):
    """Give the voxels as slices, rows, columns of the files."""
    return scan.source.to_file(scan.voxels).transpose(2, 1, 0)


def test_a_classic_series_is_sorted_by_position(tmp_path):
    classic(tmp_path / "a", SLICES)
    scan = io.read_scan(tmp_path / "a")
    np.testing.assert_array_equal(files_grid(scan), SLICES)
    assert scan.voxels.dtype == np.int16
    assert scan.geometry.spacing == pytest.approx((3.0, *SPACING))
    assert (scan.source.format, scan.modality, scan.notes) == ("dicom", "MR", ())
    # DICOM counts to the left and back, we to the right and front.
    corner = scan.source.affine @ (0, 0, 0, 1)
    np.testing.assert_allclose(corner[:3], (-ORIGIN[0], -ORIGIN[1], ORIGIN[2]))
    last = scan.source.affine @ (3, 5, 4, 1)
    np.testing.assert_allclose(last[:3], (20 - 3 * 0.75, 30 - 5 * 1.5, 40 + 4 * 3))


@pytest.mark.parametrize("directions", [AXIAL, CORONAL, SAGITTAL])
def test_every_voxel_keeps_its_place_in_every_plane(tmp_path, directions):
    classic(tmp_path, SLICES, directions=directions)
    scan = io.read_scan(tmp_path)
    for k, j, i in ((0, 0, 0), (4, 5, 3), (2, 1, 3)):
        across, down = np.array(directions)
        lps = places(5, directions=directions)[k] + across * i * SPACING[1] + down * j * SPACING[0]
        index = np.rint(scan.geometry.mm_to_index(lps * (-1, -1, 1))).astype(int)
        assert scan.voxels[tuple(index)] == SLICES[k, j, i]


def test_one_file_stands_for_its_series(tmp_path):
    classic(tmp_path, SLICES)
    other = classic(tmp_path, SLICES + 500, first=50, SeriesInstanceUID=ROOT + "77", SeriesNumber=8)
    assert int(io.read_scan(other[2]).voxels.min()) == 500
    with pytest.raises(UnreadableScan, match=r"holds 2 series.*--series.*0: MR.*1: MR"):
        io.read_scan(tmp_path)
    assert int(io.read_scan(tmp_path, series=1).voxels.min()) == 500
    assert io.volumes(tmp_path, series=1) == 1
    with pytest.raises(UnreadableScan, match="has no series 2; it holds 2"):
        io.read_scan(tmp_path, series=2)


def test_a_zip_is_read_as_the_folder_is(tmp_path):
    paths = classic(tmp_path / "a", SLICES)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
        for path in paths:
            archive.write(path, f"deep/inside/{path.name}")
    scan = io.read_scan(tmp_path / "a.zip")
    np.testing.assert_array_equal(scan.voxels, io.read_scan(tmp_path / "a").voxels)
    assert scan.source.path == tmp_path / "a.zip"
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    with pytest.raises(UnreadableScan, match=r"b\.zip"):
        io.read_scan(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("stored", "bits", "sign", "slope", "intercept", "dtype"),
    [
        (np.array([0, 4095], np.uint16), 12, 0, 1, -1024, np.int16),
        (np.array([0, 65535], np.uint16), 16, 0, 1, -1024, np.int32),
        (np.array([-2000, 3000], np.int16), 16, 1, 1, 0, np.int16),
        (np.array([0, 255], np.uint8), 8, 0, 1, 0, np.uint8),
        (np.array([0, 1000], np.uint16), 16, 0, 0.5, 0.25, np.float32),
    ],
)
def test_values_are_rescaled(tmp_path, stored, bits, sign, slope, intercept, dtype):
    slices = np.resize(stored, (3, 4, 4))
    classic(
        tmp_path,
        slices,
        kind=CTImageStorage,
        BitsAllocated=stored.itemsize * 8,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=sign,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )
    scan = io.read_scan(tmp_path)
    assert scan.voxels.dtype == dtype
    np.testing.assert_array_equal(files_grid(scan), slices.astype(float) * slope + intercept)


def test_unused_bits_carry_a_sign(tmp_path):
    stored = np.resize(np.array([0x0FFF, 0x0800, 0x07FF, 0xF001], np.uint16), (3, 2, 2))
    classic(tmp_path, stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(files_grid(scan)[0].ravel(), [-1, -2048, 2047, 1])


def test_each_slice_has_a_scale_of_its_own(tmp_path):
    for k, place in enumerate(places(3)):
        save(one_slice(SLICES[k], place, k + 1, RescaleSlope=k + 1), tmp_path / f"{k}.dcm")
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(files_grid(scan), SLICES[:3] * np.array([1, 2, 3])[:, None, None])


def test_inverted_grey_is_turned_round_and_said(tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 0, "BitsStored": 12}
    classic(tmp_path / "mr", SLICES, HighBit=11, **tags)
    scan = io.read_scan(tmp_path / "mr")
    np.testing.assert_array_equal(files_grid(scan), 4095 - SLICES)
    assert any("turned round" in note for note in scan.notes)
    classic(tmp_path / "ct", SLICES, kind=CTImageStorage, HighBit=11, **tags)
    scan = io.read_scan(tmp_path / "ct")
    np.testing.assert_array_equal(files_grid(scan), SLICES)
    assert any("kept as they are" in note for note in scan.notes)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_pixels_are_the_same(tmp_path, syntax):
    for path in classic(tmp_path, ramp((4, 64, 48))):
        data = dcmread(path)
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(path)
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path)), ramp((4, 64, 48)))


def encoded(path, syntax):
    """Write a file in another transfer syntax by GDCM, which writes those that pydicom only reads."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


@pytest.mark.parametrize(
    ("kind", "uid", "bits", "off"),
    [
        ("JPEGBaselineProcess1", "1.2.840.10008.1.2.4.50", 8, 4),
        ("JPEGExtendedProcess2_4", "1.2.840.10008.1.2.4.51", 8, 4),
        ("JPEGLosslessProcess14", "1.2.840.10008.1.2.4.57", 12, 0),
        ("JPEGLosslessProcess14_1", "1.2.840.10008.1.2.4.70", 12, 0),
        ("JPEGLSNearLossless", "1.2.840.10008.1.2.4.81", 12, 4),
        ("JPEG2000", "1.2.840.10008.1.2.4.91", 12, 40),
    ],
)
def test_other_encoders_pixels_are_read(tmp_path, kind, uid, bits, off):
    rows, columns = np.mgrid[:64, :48]
    top = (1 << bits) - 1
    slices = np.stack([rows * top // 130 + columns * top // 98 + k for k in range(4)])
    slices = slices.astype(np.uint8 if bits == 8 else np.uint16)
    tags = {
        "BitsAllocated": slices.itemsize * 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
    }
    for path in classic(tmp_path, slices, **tags):
        assert encoded(path, getattr(gdcm.TransferSyntax, kind)) == uid
    scan = io.read_scan(tmp_path)
    assert np.abs(files_grid(scan).astype(int) - slices).max() <= off


def test_lossy_jpeg_of_12_bits_names_what_reads_it(tmp_path):
    for path in classic(tmp_path, ramp((4, 64, 48)) % 4096, BitsStored=12, HighBit=11, PixelRepresentation=0):
        assert encoded(path, gdcm.TransferSyntax.JPEGExtendedProcess2_4) == JPEGExtended12Bit
    with pytest.raises(UnreadableScan, match=r"JPEG Extended.*pip install pylibjpeg-libjpeg"):
        io.read_scan(tmp_path)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_plain_encoding_is_read(tmp_path, syntax):
    for path in classic(tmp_path, SLICES):
        data = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            data.PixelData = data.pixel_array.astype(">i2").tobytes()
        data.file_meta.TransferSyntaxUID = syntax
        again = Dataset(data)
        again.file_meta = data.file_meta
        again.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path)), SLICES)


def test_pet_keeps_its_uptake(tmp_path):
    for k, place in enumerate(places(4)):
        data = one_slice(SLICES[k], place, k + 1, kind=PositronEmissionTomographyImageStorage)
        data.Modality, data.Units = "PT", "BQML"
        data.RescaleSlope, data.RescaleIntercept = 1.25 + k, 0
        save(data, tmp_path / f"{k}.dcm")
    scan = io.read_scan(tmp_path)
    assert (scan.modality, scan.voxels.dtype) == ("PT", np.float32)
    slopes = np.array([1.25, 2.25, 3.25, 4.25])[:, None, None]
    np.testing.assert_allclose(files_grid(scan), SLICES[:4] * slopes)
    assert scan.geometry.spacing == pytest.approx((3.0, *SPACING))


@pytest.mark.parametrize(
    ("kind", "modality"),
    [
        (EnhancedCTImageStorage, "CT"),
        (EnhancedPETImageStorage, "PT"),
        (LegacyConvertedEnhancedCTImageStorage, "CT"),
        (LegacyConvertedEnhancedMRImageStorage, "MR"),
        (LegacyConvertedEnhancedPETImageStorage, "PT"),
    ],
)
def test_every_enhanced_kind_is_read(tmp_path, kind, modality):
    path = enhanced(tmp_path / "a.dcm", SLICES, SOPClassUID=kind, Modality=modality)
    scan = io.read_scan(path)
    assert scan.modality == modality
    np.testing.assert_array_equal(files_grid(scan), SLICES)


def test_an_enhanced_file_is_sorted_by_position(tmp_path):
    order = [3, 0, 4, 1, 2]
    path = enhanced(tmp_path / "one.dcm", SLICES[order], positions=places(5)[order])
    scan = io.read_scan(path)
    np.testing.assert_array_equal(files_grid(scan), SLICES)
    assert [frame.index for frame in frames_of(scan)] == [1, 3, 4, 0, 2]
    assert scan.geometry.spacing == pytest.approx((3.0, *SPACING))


def test_volumes_of_an_enhanced_file_are_told_apart(tmp_path):
    both = np.stack([SLICES, SLICES + 1000], axis=1).reshape(-1, *SLICES.shape[1:])
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(10)}
    path = enhanced(tmp_path / "one.dcm", both, positions=np.repeat(places(5), 2, axis=0), frame_tags=times)
    assert io.volumes(path) == 2
    for volume in (0, 1):
        scan = io.read_scan(path, volume=volume)
        np.testing.assert_array_equal(files_grid(scan), SLICES + 1000 * volume)
        assert any("split into 2 volumes" in note for note in scan.notes)
    with pytest.raises(UnreadableScan, match="holds 2 volumes"):
        io.read_scan(path)
    with pytest.raises(UnreadableScan, match="has no volume 2; it holds 2"):
        io.read_scan(path, volume=2)


def test_echoes_of_a_classic_series_are_its_volumes(tmp_path):
    classic(tmp_path, SLICES, EchoTime=20.0)
    classic(tmp_path, SLICES + 1000, first=20, EchoTime=9.5)
    assert io.volumes(tmp_path) == 2
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path, volume=0)), SLICES + 1000)
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path, volume=1)), SLICES)


def tilted(folder, degrees=18.0):
    """Write a bright rod along the head's axis, scanned with a tilted gantry; give its place in LPS."""
    angle = np.radians(degrees)
    down = np.array((0.0, np.cos(angle), -np.sin(angle)))
    positions = np.array(ORIGIN) + np.outer(np.arange(9), (0.0, 0.0, 4.0))
    rod = np.array((-20.0 + 0.75 * 6, -18.0))
    slices = np.zeros((9, 24, 14), np.int16)
    for k, place in enumerate(positions):
        row = (rod[1] - place[1]) / down[1] / SPACING[0]
        distance = np.abs(np.arange(24) - row)
        slices[k, :, 6] = np.rint(1000 * np.clip(2 - distance, 0, 1))
    classic(folder, slices, positions=positions, directions=((1.0, 0.0, 0.0), tuple(down)))
    return slices, rod


def test_tilt_is_resampled_to_a_straight_grid(tmp_path):
    slices, rod = tilted(tmp_path)
    scan = io.read_scan(tmp_path)
    directions = scan.source.affine[:3, :3] / np.linalg.norm(scan.source.affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-9)
    assert any("tilted by 18.0 degrees" in note for note in scan.notes)
    assert scan.geometry.spacing == pytest.approx((4 * np.cos(np.radians(18)), *SPACING))
    # The rod stays where it was, in millimetres.
    for bright in np.argwhere(scan.voxels > 900):
        x, y, _ = scan.geometry.index_to_mm(bright)
        assert -x == pytest.approx(rod[0])
        assert -y == pytest.approx(rod[1], abs=2 * SPACING[0])
    assert slices.max() == 1000


def test_what_was_found_in_a_tilted_scan_goes_back_to_its_slices(tmp_path):
    slices, _ = tilted(tmp_path)
    scan = io.read_scan(tmp_path)
    back = to_slices(scan.voxels, scan)
    assert back.shape == slices.shape
    for mine, theirs in zip(back, slices, strict=True):
        assert abs(int(mine[:, 6].argmax()) - int(theirs[:, 6].argmax())) <= 1
    outside = to_slices(np.ones_like(scan.voxels), scan)
    assert outside.min() == 1


def test_slices_of_a_straight_scan_come_back_exactly(tmp_path):
    classic(tmp_path, SLICES)
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(to_slices(scan.voxels, scan), SLICES)


def test_uneven_slices_are_resampled_and_said(tmp_path):
    depths = np.array([0, 2, 4, 6, 11, 16, 21.0])
    positions = np.array(ORIGIN) + np.outer(depths, (0, 0, 1))
    slices = np.broadcast_to((depths * 100).astype(np.int16)[:, None, None], (7, 6, 4)).copy()
    classic(tmp_path, slices, positions=positions)
    scan = io.read_scan(tmp_path)
    assert any("2.00 to 5.00 mm apart: resampled" in note for note in scan.notes)
    assert scan.geometry.spacing[0] == pytest.approx(2.1)
    np.testing.assert_allclose(files_grid(scan)[:, 0, 0], np.arange(11) * 210, atol=1)


@pytest.mark.parametrize("lost", [1, 2])
def test_missing_slices_are_named(tmp_path, lost):
    paths = classic(tmp_path, ramp((9, 4, 4)))
    for path in paths[4 : 4 + lost]:
        path.unlink()
    names = f"{paths[3].name} and {paths[4 + lost].name}"
    with pytest.raises(UnreadableScan, match=rf"{lost} slices are missing between {names}"):
        io.read_scan(tmp_path)


def test_doubled_slices_are_named(tmp_path):
    classic(tmp_path, SLICES)
    save(one_slice(SLICES[2] + 1, places(5)[2], 99), tmp_path / "again.dcm")
    with pytest.raises(UnreadableScan, match=r"doubled or missing") as caught:
        io.read_scan(tmp_path)
    assert "again.dcm" in str(caught.value)


def test_a_series_that_is_there_twice_and_differs_is_refused(tmp_path):
    classic(tmp_path, SLICES)
    classic(tmp_path, SLICES + 1, first=20)
    with pytest.raises(UnreadableScan, match="lie at the same place, and nothing in their headers tells"):
        io.read_scan(tmp_path)


def test_copies_are_dropped_and_said(tmp_path):
    paths = classic(tmp_path, SLICES)
    shutil.copy(paths[1], tmp_path / "copy.dcm")
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(files_grid(scan), SLICES)
    assert any("im004.dcm: a copy of copy.dcm" in note for note in scan.notes)


def test_a_localiser_in_the_series_is_left_out_and_said(tmp_path):
    classic(tmp_path, SLICES)
    tags = {"directions": SAGITTAL, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    save(one_slice(SLICES[0], ORIGIN, 90, **tags), tmp_path / "scout.dcm")
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(files_grid(scan), SLICES)
    assert any("a localiser" in note for note in scan.notes)


def test_mixed_orientations_are_parts_to_choose_from(tmp_path):
    classic(tmp_path, SLICES)
    classic(tmp_path, SLICES + 500, first=30, directions=CORONAL)
    with pytest.raises(UnreadableScan, match=r"2 series.*axial.*coronal"):
        io.read_scan(tmp_path)
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path / "im031.dcm")), SLICES + 500)


def test_a_slice_beside_the_row_is_named(tmp_path):
    positions = places(5)
    positions[2] += (3.0, 0, 0)
    paths = classic(tmp_path, SLICES, positions=positions)
    with pytest.raises(UnreadableScan, match=rf"{paths[2].name} lies 4\.0 pixels beside the row"):
        io.read_scan(tmp_path)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "Secondary Capture Image Storage"),
        ({"ImagePositionPatient": None}, "does not say where it lies"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "names an orientation that is none"),
        ({"PixelSpacing": [0, 0]}, "pixel spacing of"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a Siemens mosaic"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not in grey values"),
        ({"NumberOfFrames": 3}, "no place in space"),
    ],
)
def test_what_is_no_scan_is_refused_by_name(tmp_path, tags, why):
    classic(tmp_path, SLICES, **tags)
    with pytest.raises(UnreadableScan, match=why) as caught:
        io.read_scan(tmp_path)
    assert "Mustermann" not in str(caught.value)


def test_a_single_slice_is_refused(tmp_path):
    classic(tmp_path, SLICES[:1])
    with pytest.raises(UnreadableScan, match=r"im001\.dcm is a single slice"):
        io.read_scan(tmp_path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_truncated_file_is_named(tmp_path, share):
    paths = classic(tmp_path, ramp((4, 32, 32)))
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: int(len(whole) * share)])
    if share == 0.05:  # nothing of it is left that says to which series it belongs
        with pytest.raises(UnreadableScan, match="1 slices are missing"):
            io.read_scan(tmp_path)
        return
    with pytest.raises(UnreadableScan, match=rf"pixels of {paths[1].name} cannot be read"):
        io.read_scan(tmp_path)


def test_a_damaged_file_beside_the_series_is_said(tmp_path):
    classic(tmp_path, SLICES)
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "notes.txt").write_text("not an image")
    scan = io.read_scan(tmp_path)
    assert any("broken.dcm" in note for note in scan.notes)
    assert not any("notes.txt" in note for note in scan.notes)


def test_windows_of_the_header_are_kept(tmp_path):
    classic(tmp_path, SLICES, WindowCenter=[40, 300], WindowWidth=[80, 1500])
    windows = io.read_scan(tmp_path).source.details["windows"]
    assert [(each["center"], each["width"]) for each in windows] == [(40, 80), (300, 1500)]


def test_nothing_that_is_shown_names_the_patient(tmp_path):
    classic(tmp_path, SLICES, BurnedInAnnotation="YES")
    scan = io.read_scan(tmp_path)
    assert scan.name == "MR-7-t1-mprage"
    assert any("burnt-in" in note for note in scan.notes)
    assert "Muster" not in f"{scan.name} {scan.notes}"


def test_results_lie_on_the_grid_of_the_series(tmp_path):
    classic(tmp_path / "in", SLICES, directions=SAGITTAL)
    scan = io.read_scan(tmp_path / "in")
    io.write_like(scan.voxels, scan, tmp_path / "out.nii.gz", kind="image")
    again = io.read_scan(tmp_path / "out.nii.gz")
    assert again.geometry.same_grid(scan.geometry)
    np.testing.assert_array_equal(again.voxels, scan.voxels)


def test_without_the_extra_the_message_names_it(tmp_path):
    classic(tmp_path, SLICES)
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from napari_anomaly import errors, io\n"
        f"try: io.read_scan({str(tmp_path)!r})\n"
        "except errors.MissingExtra as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'napari-anomaly[dicom]'" in answer.stdout


def test_a_series_is_asked_of_dicom_alone(tmp_path):
    classic(tmp_path / "in", SLICES)
    scan = io.read_scan(tmp_path / "in")
    io.write_like(scan.voxels, scan, tmp_path / "a.nii", kind="image")
    with pytest.raises(UnreadableScan, match="is not DICOM"):
        io.read_scan(tmp_path / "a.nii", series=0)


def test_time_tells_volumes_apart_where_nothing_else_does(tmp_path):
    for volume in (1, 0):
        for k, place in enumerate(places(5)):
            data = one_slice(SLICES[k] + 1000 * volume, place, 10 * volume + k + 1)
            data.AcquisitionTime = f"1200{10 * volume + (k % 2) * 5 + k // 2:02d}.5"
            save(data, tmp_path / f"{volume}-{k}.dcm")
    assert io.volumes(tmp_path) == 2
    for volume in (0, 1):
        scan = io.read_scan(tmp_path, volume=volume)
        np.testing.assert_array_equal(files_grid(scan), SLICES + 1000 * volume)
        assert any("by the time at which each was taken" in note for note in scan.notes)


def test_inversion_times_are_volumes(tmp_path):
    classic(tmp_path, SLICES, InversionTime=2500.0)
    classic(tmp_path, SLICES + 1000, first=20, InversionTime=700.0)
    np.testing.assert_array_equal(files_grid(io.read_scan(tmp_path, volume=0)), SLICES + 1000)


def test_windows_of_the_header_are_kept_in_values(tmp_path):
    words = {
        "WindowCenter": [40, 400],
        "WindowWidth": [80, 2000],
        "WindowCenterWidthExplanation": ["BRAIN", "BONE"],
    }
    classic(tmp_path / "ct", SLICES, kind=CTImageStorage, **words)
    windows = io.read_scan(tmp_path / "ct").source.details["windows"]
    assert windows == (
        {"center": 40.0, "width": 80.0, "name": "BRAIN"},
        {"center": 400.0, "width": 2000.0, "name": "BONE"},
    )
    classic(tmp_path / "odd", SLICES, WindowCenter="", WindowWidth=100)
    assert io.read_scan(tmp_path / "odd").source.details["windows"] == ()


def test_a_window_is_turned_round_with_the_grey_scale(tmp_path):
    tags = {
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelRepresentation": 0,
        "BitsStored": 12,
        "HighBit": 11,
    }
    classic(tmp_path, SLICES, WindowCenter=100, WindowWidth=200, **tags)
    (window,) = io.read_scan(tmp_path).source.details["windows"]
    assert (window["center"], window["width"]) == (3995.0, 200.0)


def test_windows_of_an_enhanced_file_stand_with_its_frames(tmp_path):
    path = enhanced(tmp_path / "a.dcm", SLICES)
    data = dcmread(path)
    for k, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = 10 * k + 5, 50
        groups.FrameVOILUTSequence = [window]
    data.save_as(path)
    (window,) = io.read_scan(path).source.details["windows"]
    assert (window["center"], window["width"]) == (25.0, 50.0)
