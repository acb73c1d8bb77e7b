import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.errors import BadGeometry, UnreadableScan
from napari_anomaly.scan import Scan
from phantoms import ORIENTATIONS, oriented, patch, rotation, save_nifti

RNG = np.random.default_rng(0)
ARRAY = RNG.integers(-900, 3000, (5, 6, 7)).astype(np.int16)
AFFINE = oriented((0, 1, 2), (-1, 1, 1))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (13, -7, 18)], ids=["straight", "oblique"])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_a_mask_goes_back_to_the_voxels_it_was_drawn_on(tmp_path: Path, order, signs, degrees, form) -> None:
    affine = oriented(order, signs, turn=rotation(*degrees))
    image = nib.Nifti1Image(ARRAY, affine)
    image.set_sform(affine, code=3 if form == "sform" else 0)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image.to_filename(tmp_path / "scan.nii")
    source = nib.load(tmp_path / "scan.nii")

    scan = io.read_scan(tmp_path / "scan.nii")
    # The reader agrees with nibabel on where every voxel is.
    index = np.array(list(np.ndindex(scan.voxels.shape)))
    in_file = scan.source.index_to_file(index)
    np.testing.assert_array_equal(scan.voxels[tuple(index.T)], ARRAY[tuple(in_file.T)])
    np.testing.assert_allclose(
        scan.geometry.index_to_mm(index), nib.affines.apply_affine(source.affine, in_file), atol=1e-5
    )

    io.write_like(scan.voxels > 1000, scan, tmp_path / "mask.nii.gz", kind="mask")
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), ARRAY > 1000)
    np.testing.assert_array_equal(mask.affine, source.affine)
    for field in ("sform_code", "qform_code", "pixdim", "quatern_b", "quatern_c", "quatern_d", "srow_x"):
        np.testing.assert_array_equal(
            mask.header[field][:4] if field == "pixdim" else mask.header[field],
            source.header[field][:4] if field == "pixdim" else source.header[field],
        )
    again = io.read_scan(tmp_path / "mask.nii.gz")
    assert again.geometry.same_grid(scan.geometry, tolerance_mm=0)
    np.testing.assert_array_equal(again.voxels, scan.voxels > 1000)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">i2", "<i4", ">u4", "<i8", "<f4", ">f4", "<f8"])
def test_types_versions_and_byte_orders(tmp_path: Path, suffix: str, version, dtype: str) -> None:
    array = ARRAY.astype(np.int16) % 100
    header = version.header_class(endianness=dtype[0] if dtype[0] in "<>" else "<")
    image = version(array.astype(dtype), AFFINE, header)
    image.set_data_dtype(dtype)
    image.to_filename(tmp_path / f"scan{suffix}")
    scan = io.read_scan(tmp_path / f"scan{suffix}")
    assert scan.voxels.dtype == np.dtype(dtype).newbyteorder("=")
    assert scan.voxels.dtype.isnative
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels), array)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    written = nib.load(tmp_path / "map.nii")
    assert type(written) is version
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(written.dataobj), array)
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / f"scan{suffix}").affine)


@pytest.mark.parametrize(("slope", "inter"), [(0.5, 0.0), (1.0, -1024.0), (-2.0, 3.0)])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_slope_and_intercept(tmp_path: Path, slope: float, inter: float, dtype) -> None:
    path = patch(save_nifti(tmp_path / "scan.nii", ARRAY.astype(dtype), AFFINE), 112, [slope, inter], "<f4")
    scan = io.read_scan(path)
    assert scan.voxels.dtype == np.float32
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels), ARRAY * slope + inter)
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels), nib.load(path).get_fdata())
    io.write_like(scan.voxels, scan, tmp_path / "image.nii", kind="image")
    np.testing.assert_array_equal(nib.load(tmp_path / "image.nii").get_fdata(), ARRAY * slope + inter)


@pytest.mark.parametrize(("slope", "inter"), [(0.0, 5.0), (np.nan, 0.0), (1.0, 0.0), (np.inf, 0.0)])
def test_a_slope_that_does_nothing_keeps_the_type(tmp_path: Path, slope: float, inter: float) -> None:
    path = patch(save_nifti(tmp_path / "scan.nii", ARRAY, AFFINE), 112, [slope, inter], "<f4")
    assert io.read_scan(path).voxels.dtype == np.int16


@pytest.mark.parametrize("version", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("packed", [False, True])
def test_pairs_open_by_either_half(tmp_path: Path, version, packed: bool) -> None:
    ending = ".gz" if packed else ""
    version(ARRAY, AFFINE).to_filename(tmp_path / f"scan.img{ending}")
    for half in ("hdr", "img"):
        scan = io.read_scan(tmp_path / f"scan.{half}{ending}")
        assert scan.name == "scan"
        np.testing.assert_array_equal(scan.source.to_file(scan.voxels), ARRAY)
    io.write_like(scan.voxels > 0, scan, tmp_path / "mask.nii", kind="mask")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), ARRAY > 0)


def test_half_a_pair_says_what_is_missing(tmp_path: Path) -> None:
    nib.Nifti1Pair(ARRAY, AFFINE).to_filename(tmp_path / "scan.img")
    (tmp_path / "scan.img").rename(tmp_path / "elsewhere.img")
    with pytest.raises(UnreadableScan, match=r"scan\.img is not beside it"):
        io.read_scan(tmp_path / "scan.hdr")
    with pytest.raises(UnreadableScan, match=r"elsewhere\.hdr is not beside it"):
        io.read_scan(tmp_path / "elsewhere.img")
    (tmp_path / "scan.hdr").rename(tmp_path / "scan.nii")
    with pytest.raises(UnreadableScan, match="one half of a"):
        io.read_scan(tmp_path / "scan.nii")


def test_the_sform_goes_before_the_qform(tmp_path: Path) -> None:
    other = oriented((2, 0, 1), (1, 1, 1))
    image = nib.Nifti1Image(ARRAY, None)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE, code=4)
    image.set_qform(other, code=1)
    image.to_filename(tmp_path / "both.nii")
    np.testing.assert_allclose(io.read_scan(tmp_path / "both.nii").source.affine, AFFINE, atol=1e-6)
    image.set_sform(AFFINE, code=0)
    image.to_filename(tmp_path / "qform.nii")
    np.testing.assert_allclose(io.read_scan(tmp_path / "qform.nii").source.affine, other, atol=1e-5)


def test_a_damaged_sform_is_passed_over_visibly(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, None)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    image.to_filename(tmp_path / "scan.nii")
    patch(tmp_path / "scan.nii", 280, [np.nan] * 4, "<f4")
    scan = io.read_scan(tmp_path / "scan.nii")
    np.testing.assert_allclose(scan.source.affine, AFFINE, atol=1e-5)
    assert "sform" in " ".join(scan.notes)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_orientation_that_is_no_place_is_refused(tmp_path: Path, value: float) -> None:
    path = patch(save_nifti(tmp_path / "scan.nii", ARRAY, AFFINE), 296, [value] * 4, "<f4")
    with pytest.raises(BadGeometry, match=r"scan\.nii has no usable orientation; sform"):
        io.read_scan(path)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001)])
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "scan.nii")
    scan = io.read_scan(tmp_path / "scan.nii")
    assert scan.geometry.unit == "mm"
    assert scan.geometry.spacing == pytest.approx(np.array((2.5, 1.3, 0.7)) * factor)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    assert nib.load(tmp_path / "map.nii").header.get_xyzt_units()[0] == unit
    assert io.read_scan(tmp_path / "map.nii").geometry.same_grid(scan.geometry, tolerance_mm=0)


def test_an_unnamed_unit_is_taken_as_mm_visibly(tmp_path: Path) -> None:
    nib.Nifti1Image(ARRAY, AFFINE).to_filename(tmp_path / "scan.nii")
    scan = io.read_scan(tmp_path / "scan.nii")
    assert scan.geometry.unit == "mm"
    assert any("no unit of length" in note for note in scan.notes)
    assert io.read_scan(save_nifti(tmp_path / "mm.nii", ARRAY, AFFINE)).notes == ()


@pytest.mark.parametrize("pixdim", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (2.0, 0.0, 2.0), (1.0, np.nan, 1.0)])
def test_a_missing_spacing_is_counted_in_voxels(tmp_path: Path, pixdim: tuple[float, ...]) -> None:
    image = nib.Nifti1Image(ARRAY, None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    image.to_filename(tmp_path / "scan.nii")
    patch(tmp_path / "scan.nii", 80, pixdim, "<f4")
    scan = io.read_scan(tmp_path / "scan.nii")
    assert scan.geometry.unit == "voxel"
    assert scan.geometry.spacing == (1.0, 1.0, 1.0)
    assert any("not millimetres" in note for note in scan.notes)
    assert any("left and right may be exchanged" in note for note in scan.notes)
    io.write_like(scan.voxels > 0, scan, tmp_path / "mask.nii", kind="mask")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), ARRAY > 0)
    assert io.read_scan(tmp_path / "mask.nii").geometry.same_grid(scan.geometry)


def test_an_identity_without_unit_is_no_spacing(tmp_path: Path) -> None:
    nib.Nifti1Image(ARRAY, np.eye(4)).to_filename(tmp_path / "scan.nii")
    assert io.read_scan(tmp_path / "scan.nii").geometry.unit == "voxel"


def test_a_spacing_without_orientation_stays(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, None)
    image.header["pixdim"][1:4] = (0.5, 0.75, 3.0)
    image.to_filename(tmp_path / "scan.nii")
    scan = io.read_scan(tmp_path / "scan.nii")
    assert (scan.geometry.unit, scan.geometry.spacing) == ("mm", (3.0, 0.75, 0.5))
    assert len(scan.notes) == 2


def test_numbers_that_are_not_finite_are_replaced_visibly(tmp_path: Path) -> None:
    array = ARRAY.astype(np.float32)
    array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
    scan = io.read_scan(save_nifti(tmp_path / "scan.nii", array, AFFINE))
    values = scan.source.to_file(scan.voxels)
    good = array[np.isfinite(array)]
    assert (values[0, 0, 0], values[1, 1, 1], values[2, 2, 2]) == (good.min(), good.max(), good.min())
    assert "3 of 210 voxels are not a finite number" in scan.notes[0]
    with pytest.raises(UnreadableScan, match="not one finite number in 210 voxels"):
        io.read_scan(save_nifti(tmp_path / "none.nii", np.full_like(array, np.nan), AFFINE))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_four_dimensions_offer_the_choice(tmp_path: Path, suffix: str) -> None:
    series = RNG.integers(0, 99, (5, 6, 7, 3)).astype(np.uint8)
    path = save_nifti(tmp_path / f"series{suffix}", series, AFFINE)
    assert io.volumes(path) == 3
    for volume in range(3):
        scan = io.read_scan(path, volume=volume)
        np.testing.assert_array_equal(scan.source.to_file(scan.voxels), series[..., volume])
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    assert nib.load(tmp_path / "map.nii").shape == (5, 6, 7)
    with pytest.raises(UnreadableScan, match=r"holds 3 volumes; one is needed\. Choose a volume from 0 to 2"):
        io.read_scan(path)
    for outside in (-1, 3):
        with pytest.raises(UnreadableScan, match=f"has no volume {outside}; it holds 3"):
            io.read_scan(path, volume=outside)


def test_axes_beyond_the_fourth_count_too(tmp_path: Path) -> None:
    vectors = RNG.integers(0, 99, (5, 6, 7, 1, 3)).astype(np.uint8)
    path = save_nifti(tmp_path / "vectors.nii", vectors, AFFINE)
    assert io.volumes(path) == 3
    np.testing.assert_array_equal(
        np.sort(io.read_scan(path, volume=2).voxels.ravel()), np.sort(vectors[..., 0, 2].ravel())
    )
    one = save_nifti(tmp_path / "one.nii", ARRAY[..., None], AFFINE)
    assert io.volumes(one) == 1
    assert io.read_scan(one).voxels.shape == (7, 6, 5)


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "colours"),
        (np.dtype(np.complex64), "complex numbers"),
    ],
)
def test_colours_and_complex_numbers_are_refused(tmp_path: Path, dtype: np.dtype, found: str) -> None:
    path = save_nifti(tmp_path / "scan.nii", np.zeros((3, 3, 3), dtype), AFFINE)
    with pytest.raises(
        UnreadableScan, match=f"scan.nii holds {found}.*; one real number per voxel is needed"
    ):
        io.read_scan(path)
    with pytest.raises(UnreadableScan, match=found):
        io.volumes(path)


def test_a_single_plane_is_refused(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "plane.nii", ARRAY[..., 0], AFFINE)
    with pytest.raises(UnreadableScan, match=r"has the shape \(5, 6\); a scan needs three"):
        io.read_scan(path)


def test_analyze_is_refused(tmp_path: Path) -> None:
    nib.AnalyzeImage(ARRAY, None).to_filename(tmp_path / "old.img")
    with pytest.raises(UnreadableScan, match=r"ANALYZE 7\.5 .* left and right"):
        io.read_scan(tmp_path / "old.hdr")


@pytest.mark.parametrize("keep", [0, 3, 200, 348, 352, 500, -1])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, keep: int) -> None:
    whole = save_nifti(tmp_path / "whole.nii", ARRAY, AFFINE).read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:keep])
    with pytest.raises(UnreadableScan, match=r"cut\.nii"):
        io.read_scan(tmp_path / "cut.nii")
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(whole[:keep]))
    with pytest.raises(UnreadableScan, match=r"cut\.nii\.gz"):
        io.read_scan(tmp_path / "cut.nii.gz")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_compressed_stream_that_breaks_off_is_refused(tmp_path: Path, share: float) -> None:
    noise = RNG.integers(0, 255, (32, 32, 32)).astype(np.uint8)
    whole = save_nifti(tmp_path / "whole.nii.gz", noise, AFFINE).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableScan, match=r"cut\.nii\.gz is damaged: .*Copy it again"):
        io.read_scan(tmp_path / "cut.nii.gz")


@pytest.mark.parametrize("at", [0.3, 0.6, 0.95])
def test_a_flipped_bit_in_a_compressed_stream_is_noticed(tmp_path: Path, at: float) -> None:
    noise = RNG.integers(0, 255, (32, 32, 32)).astype(np.uint8)
    raw = bytearray(save_nifti(tmp_path / "scan.nii.gz", noise, AFFINE).read_bytes())
    raw[int(len(raw) * at)] ^= 16
    (tmp_path / "scan.nii.gz").write_bytes(raw)
    with pytest.raises(UnreadableScan, match=r"scan\.nii\.gz is damaged"):
        io.read_scan(tmp_path / "scan.nii.gz")


def test_a_header_that_claims_the_moon_takes_no_memory(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "scan.nii.gz", ARRAY, AFFINE)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[42:48] = np.array([32767] * 3, "<i2").tobytes()
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(UnreadableScan, match="voxels need 70362301923678 bytes"):
        io.read_scan(path)


@pytest.mark.parametrize(
    ("place", "value", "dtype", "message"),
    [
        (40, 9, "<i2", "claims 9 axes"),
        (42, -5, "<i2", "three positive lengths"),
        (70, 7777, "<i2", "a type of voxel that does not exist"),
        (70, 0, "<i2", "a type of voxel that does not exist"),
        (108, np.nan, "<f4", "begin at byte nan"),
        (108, 1e9, "<f4", "voxels need 1000000420 bytes"),
        (344, 0, "<i4", "ANALYZE"),
        (0, 77, "<i4", "does not begin with a NIfTI header"),
    ],
)
def test_a_damaged_header_is_named(
    tmp_path: Path, place: int, value: float, dtype: str, message: str
) -> None:
    path = patch(save_nifti(tmp_path / "scan.nii", ARRAY, AFFINE), place, value, dtype)
    with pytest.raises(UnreadableScan, match=message):
        io.read_scan(path)


def test_nothing_of_the_patient_is_passed_on(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    for name in ("descrip", "db_name", "aux_file", "intent_name"):
        image.header[name] = b"DOE^JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE"))
    image.to_filename(tmp_path / "scan.nii")
    scan = io.read_scan(tmp_path / "scan.nii")
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels), ARRAY)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    assert b"DOE" not in (tmp_path / "map.nii").read_bytes()


def test_equal_voxels_make_equal_files(tmp_path: Path) -> None:
    scan = io.read_scan(save_nifti(tmp_path / "scan.nii", ARRAY, AFFINE))
    for name in ("a.nii.gz", "b.nii.gz"):
        io.write_like(scan.voxels > 0, scan, tmp_path / name, kind="mask")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_array_with_an_affine_is_written_along_its_own_axes(tmp_path: Path) -> None:
    affine = oriented((1, 0, 2), (1, -1, 1), turn=rotation(3, 4, 5))
    scan = Scan.from_array(ARRAY, affine=affine)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    written = nib.load(tmp_path / "map.nii")
    np.testing.assert_array_equal(np.asarray(written.dataobj), ARRAY)
    np.testing.assert_allclose(written.affine, affine, rtol=1e-6)
    np.testing.assert_allclose(written.get_qform(), affine, atol=1e-4)


def test_a_sheared_array_gets_no_false_qform(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[1, 2] = 0.8
    scan = Scan.from_array(ARRAY, affine=affine)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    written = nib.load(tmp_path / "map.nii")
    np.testing.assert_allclose(written.affine, affine, rtol=1e-6)
    assert written.header["qform_code"] == 0
    assert io.read_scan(tmp_path / "map.nii").geometry.same_grid(scan.geometry)


@pytest.mark.parametrize("unit", ["mm", "voxel"])
def test_a_plain_array_is_written_columns_first(tmp_path: Path, unit) -> None:
    scan = Scan.from_array(ARRAY, spacing=(1, 1, 1) if unit == "voxel" else (3, 2, 1), unit=unit)
    io.write_like(scan.voxels, scan, tmp_path / "map.nii", kind="map")
    assert nib.load(tmp_path / "map.nii").shape == (7, 6, 5)
    again = io.read_scan(tmp_path / "map.nii")
    np.testing.assert_array_equal(again.voxels, scan.voxels)
    assert again.geometry.unit == unit
    assert again.geometry.spacing == pytest.approx(scan.geometry.spacing)


def test_a_very_long_array_becomes_nifti_2(tmp_path: Path) -> None:
    scan = Scan.from_array(np.ones((40000, 1, 1), np.uint8))
    io.write_like(scan.voxels, scan, tmp_path / "mask.nii", kind="mask")
    assert nib.load(tmp_path / "mask.nii").header.sizeof_hdr == 540
    assert io.read_scan(tmp_path / "mask.nii").voxels.shape == (40000, 1, 1)
