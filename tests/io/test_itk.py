"""NRRD, MetaImage and other formats of ITK, written by SimpleITK, in the frame of NIfTI as nibabel reads it."""

import locale
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_anomaly import io
from napari_anomaly.errors import AnomalyError, GridMismatch, ScanError, UnreadableScan
from napari_anomaly.io.formats import source_files
from napari_anomaly.scan import Scan
from phantoms import save_nifti

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # (k, j, i) as SimpleITK has it
TURN = np.radians(20)
DIRECTION = (1, 0, 0, 0, np.cos(TURN), -np.sin(TURN), 0, np.sin(TURN), np.cos(TURN))


@pytest.fixture(autouse=True)
def locale_kept() -> Iterator[None]:
    """Undo what SimpleITK does to the locale where a test calls it itself; later tests want theirs."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


def image(array: np.ndarray = ARRAY) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((0.5, 0.75, 3.0))
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection(DIRECTION)
    return made


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_scan_lies_where_the_same_scan_as_nifti_lies(tmp_path: Path, name: str, packed: bool) -> None:
    sitk.WriteImage(image(), str(tmp_path / name), packed)
    sitk.WriteImage(image(), str(tmp_path / "same.nii"))
    scan, same = io.read_scan(tmp_path / name), io.read_scan(tmp_path / "same.nii")
    assert scan.source.format == "itk"
    assert (scan.name, scan.notes, scan.voxels.dtype) == ("a", (), np.int16)
    np.testing.assert_array_equal(scan.voxels, same.voxels)
    np.testing.assert_allclose(scan.geometry.affine, same.geometry.affine, atol=1e-4)
    beside = {"a.nhdr", "a.mhd"} & {name}
    assert len(source_files(scan)) == (2 if beside else 1)
    assert all(path.exists() for path in source_files(scan))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_mask_is_written_on_the_grid_of_its_scan(tmp_path: Path, suffix: str) -> None:
    sitk.WriteImage(image(), str(tmp_path / "a.nrrd"))
    scan = io.read_scan(tmp_path / "a.nrrd")
    mask = scan.voxels > 40
    io.write_like(mask, scan, tmp_path / f"m{suffix}", kind="mask")
    back = sitk.ReadImage(str(tmp_path / f"m{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), ARRAY > 40)
    for ask in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(back, ask)(), getattr(image(), ask)(), atol=1e-9)
    with pytest.raises(ScanError, match="never overwritten"):
        io.write_like(mask, scan, tmp_path / "a.nrrd", kind="mask")


def test_formats_change_places_without_moving_a_voxel(tmp_path: Path) -> None:
    affine = np.array([[0, 0.5, 0, 1], [-0.75, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1.0]])
    save_nifti(tmp_path / "a.nii", ARRAY, affine)
    scan = io.read_scan(tmp_path / "a.nii")
    io.write_like(scan.voxels, scan, tmp_path / "b.mha", kind="image")
    other = io.read_scan(tmp_path / "b.mha")
    io.write_like(other.voxels, other, tmp_path / "c.nii", kind="image")
    back = nib.load(tmp_path / "c.nii")
    np.testing.assert_array_equal(back.get_fdata(), ARRAY)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    plain = Scan.from_array(ARRAY, spacing=(3.0, 0.75, 0.5))
    io.write_like(ARRAY, plain, tmp_path / "d.nrrd", kind="image")
    again = io.read_scan(tmp_path / "d.nrrd")
    np.testing.assert_array_equal(again.voxels, ARRAY)
    np.testing.assert_allclose(again.geometry.affine, plain.geometry.affine)


def test_content_decides_before_the_name(tmp_path: Path) -> None:
    sitk.WriteImage(image(), str(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").rename(tmp_path / "a.nii")
    assert io.format_of(tmp_path / "a.nii") == "itk"
    sitk.WriteImage(image(), str(tmp_path / "b.nii"))
    (tmp_path / "b.nii").rename(tmp_path / "b.nrrd")
    with pytest.raises(UnreadableScan, match=r"b\.nrrd"):
        io.read_scan(tmp_path / "b.nrrd")


def test_a_list_of_volumes_is_told_apart(tmp_path: Path) -> None:
    both = np.stack([ARRAY, ARRAY + 1000], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=True), str(tmp_path / "a.nrrd"))
    in_time = sitk.GetImageFromArray(np.stack([ARRAY, ARRAY + 1000]), isVector=False)
    sitk.WriteImage(in_time, str(tmp_path / "b.mha"))
    for name in ("a.nrrd", "b.mha"):
        assert io.volumes(tmp_path / name) == 2
        for volume in (0, 1):
            scan = io.read_scan(tmp_path / name, volume=volume)
            assert sorted(scan.voxels.ravel().tolist()) == sorted((ARRAY + 1000 * volume).ravel().tolist())
        with pytest.raises(UnreadableScan, match="holds 2 volumes"):
            io.read_scan(tmp_path / name)
        with pytest.raises(UnreadableScan, match="has no volume 2"):
            io.read_scan(tmp_path / name, volume=2)


def test_colours_and_flat_pictures_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((3, 4, 5, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "a.nrrd"))
    with pytest.raises(UnreadableScan, match="3 numbers per voxel"):
        io.read_scan(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0]), str(tmp_path / "b.mha"))
    with pytest.raises(UnreadableScan, match="three positive lengths"):
        io.read_scan(tmp_path / "b.mha")


def test_what_a_header_does_not_say_is_said(tmp_path: Path) -> None:
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nspacings: 1 1 2\nendian: little\nencoding: raw\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\n" + ARRAY.tobytes())
    scan = io.read_scan(tmp_path / "a.nrrd")
    assert any("left and right may be exchanged" in note for note in scan.notes)
    placed = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n"
    inches = head.replace("spacings: 1 1 2\n", placed + 'space units: "in" "in" "in"\n')
    (tmp_path / "b.nrrd").write_bytes(inches.encode() + b"\n" + ARRAY.tobytes())
    with pytest.raises(UnreadableScan, match="lengths in in; millimetres"):
        io.read_scan(tmp_path / "b.nrrd")


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 50000 40000 3000\nendian: little\nencoding: gzip\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + bytes(1000))
    with pytest.raises(UnreadableScan, match="voxels need"):
        io.read_scan(tmp_path / "a.nrrd")
    sitk.WriteImage(image(), str(tmp_path / "b.mhd"))
    (tmp_path / "b.raw").unlink()
    with pytest.raises(UnreadableScan, match=r"b\.mhd"):
        io.read_scan(tmp_path / "b.mhd")


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    for name in ("a.nrrd", "a.mha"):
        sitk.WriteImage(image(), str(tmp_path / name))
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
        with pytest.raises(UnreadableScan, match=name):
            io.read_scan(tmp_path / name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["a.nrrd", "a.mha", "a.gipl", "a.vtk"]))
def test_flipped_bytes_end_in_our_errors(tmp_path: Path, data: st.DataObject, name: str) -> None:
    sitk.WriteImage(image(), str(tmp_path / name))
    whole = bytearray((tmp_path / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, min(len(whole), 400) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(bytes(whole))
    try:
        io.read_scan(tmp_path / name, volume=0)
    except AnomalyError:
        return


@pytest.mark.skipif(sys.platform != "linux", reason="other systems call this locale otherwise, or have none")
def test_the_locale_stays_as_it_was_whatever_itk_makes_of_it(tmp_path: Path) -> None:
    path, utf8 = tmp_path / "a.vtk", "C.UTF-8"
    sitk.WriteImage(image(), str(path))
    locale.setlocale(locale.LC_ALL, utf8)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.Execute()
    assert locale.setlocale(locale.LC_ALL) == "C", "ITK no longer does what is undone here"
    locale.setlocale(locale.LC_ALL, utf8)

    io.read_scan(path)
    assert locale.setlocale(locale.LC_ALL) == utf8
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        UnreadableScan, match=r"a\.vtk is damaged: its voxels need 120 bytes, and 80 are there"
    ):
        io.read_scan(path)
    assert locale.setlocale(locale.LC_ALL) == utf8


@pytest.mark.parametrize("name", ["a.vtk", "a.gipl", "a.gipl.gz", "a.mrc", "a.mha", "a.nrrd", "a.mnc"])
def test_what_breaks_off_is_never_filled_up(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    array = np.random.default_rng(0).integers(0, 2000, (20, 30, 40), np.int16)  # noise hardly shrinks
    plain = sitk.GetImageFromArray(array)
    sitk.WriteImage(plain, str(path))
    whole = path.read_bytes()
    read = io.read_scan(path)
    np.testing.assert_array_equal(read.source.to_file(read.voxels).T, array)
    for gone in (10, 400, len(whole) // 2):
        path.write_bytes(whole[:-gone])
        with pytest.raises(UnreadableScan, match=name):
            io.read_scan(path)


def test_vtk_in_text_is_refused_since_its_bytes_do_not_tell_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.vtk"
    sitk.WriteImage(image(), str(path))
    head = path.read_bytes().partition(b"LOOKUP_TABLE default\n")[0].replace(b"BINARY", b"ASCII")
    path.write_bytes(head + b"LOOKUP_TABLE default\n" + b" ".join(b"%d" % n for n in range(60)) + b"\n")
    with pytest.raises(UnreadableScan, match="in binary: VTK in text is not read"):
        io.read_scan(path)


def test_a_foreign_grid_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(image(), str(tmp_path / "a.nrrd"))
    with pytest.raises(GridMismatch, match="they must agree"):
        io.write_like(ARRAY[1:], io.read_scan(tmp_path / "a.nrrd"), tmp_path / "b.mha", kind="mask")
