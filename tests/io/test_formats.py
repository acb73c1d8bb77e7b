from pathlib import Path

import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.errors import GridMismatch, ScanError, UnreadableScan
from napari_anomaly.io.formats import source_files, target_format
from napari_anomaly.scan import Scan
from phantoms import oriented, save_nifti

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
AFFINE = oriented((0, 1, 2), (-1, 1, 1))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/sub-26.nii.gz", "sub-26"),
        ("sub-26_T1w.NII", "sub-26_T1w"),
        ("x.y.hdr", "x.y"),
        ("x.img.gz", "x"),
        ("stack.ome.tif", "stack"),
        ("stack.TIFF", "stack"),
        ("scan.mha", "scan"),
        ("noending", "noending"),
    ],
)
def test_name_of(path: str, name: str) -> None:
    assert io.name_of(path) == name
    assert io.name_of(Path(path)) == name


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "noending", "scan.dat", "scan.tif"])
def test_the_content_decides(tmp_path: Path, name: str) -> None:
    save_nifti(tmp_path / ("a.nii.gz" if name.endswith("gz") else "a.nii"), ARRAY, AFFINE).rename(
        tmp_path / name
    )
    assert io.format_of(tmp_path / name) == "nifti"
    np.testing.assert_array_equal(io.read_scan(str(tmp_path / name)).voxels.sum(), ARRAY.sum())


def test_a_tiff_is_known_by_its_content(tmp_path: Path) -> None:
    scan = Scan.from_array(ARRAY)
    io.write_like(ARRAY, scan, tmp_path / "a.tif", kind="map")
    (tmp_path / "a.tif").rename(tmp_path / "a.nii")
    assert io.format_of(tmp_path / "a.nii") == "tiff"


@pytest.mark.parametrize(
    ("name", "content"), [("notes.txt", b"hello world"), ("empty.nii", b""), ("empty.tif", b"")]
)
def test_foreign_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    found = "is empty" if not content else "holds neither"
    for ask in (io.read_scan, io.volumes, io.format_of):
        with pytest.raises(UnreadableScan, match=f"{name} {found}.*NIfTI.*TIFF stack"):
            ask(tmp_path / name)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableScan, match=r"gone\.nii is not there"):
        io.read_scan(tmp_path / "gone.nii")
    with pytest.raises(UnreadableScan, match="is a folder"):
        io.read_scan(tmp_path)


def test_a_path_that_cannot_be_followed_is_named(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "scan.nii", ARRAY, AFFINE) / "inside.nii"
    with pytest.raises(UnreadableScan, match=r"inside\.nii (cannot be read: Not a directory|is not there)"):
        io.read_scan(path)


@pytest.mark.parametrize("name", ["mask.hdr", "mask.mhd", "mask", "mask.gz"])
def test_a_suffix_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    scan = Scan.from_array(ARRAY)
    with pytest.raises(ScanError, match=r"\.tiff, \.nrrd or \.mha is needed"):
        io.write_like(ARRAY > 3, scan, tmp_path / name, kind="mask")
    assert not list(tmp_path.iterdir())
    assert target_format(Path("MASK.NII.GZ")) == "nifti"


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_the_scan_itself_is_never_overwritten(tmp_path: Path, name: str) -> None:
    path = save_nifti(tmp_path / name, ARRAY, AFFINE)
    before = path.read_bytes()
    scan = io.read_scan(path)
    (tmp_path / "link.nii").symlink_to(path)
    for target in (path, tmp_path / "x" / ".." / name, tmp_path / "link.nii"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(ScanError, match="is the scan itself"):
            io.write_like(scan.voxels > 0, scan, target, kind="mask")
    assert path.read_bytes() == before
    assert source_files(Scan.from_array(ARRAY)) == ()


def test_another_grid_is_refused(tmp_path: Path) -> None:
    scan = Scan.from_array(ARRAY)
    with pytest.raises(GridMismatch, match=r"mask has shape \(3, 4, 4\)"):
        io.write_like(ARRAY[:, :, :4] > 0, scan, tmp_path / "mask.nii", kind="mask")
    assert not list(tmp_path.iterdir())


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    scan = Scan.from_array(ARRAY)
    for limit in (10, 20):
        io.write_like(limit < ARRAY, scan, tmp_path / "mask.nii.gz", kind="mask")
    np.testing.assert_array_equal(io.read_scan(tmp_path / "mask.nii.gz").voxels, ARRAY > 20)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]


@pytest.mark.parametrize(("kind", "dtype"), [("mask", np.uint8), ("map", np.float32), ("image", np.float32)])
@pytest.mark.parametrize("suffix", [".nii", ".tif"])
def test_the_kind_decides_the_type(tmp_path: Path, kind, dtype, suffix: str) -> None:
    scan = Scan.from_array(ARRAY)
    io.write_like(ARRAY, scan, tmp_path / f"out{suffix}", kind=kind)
    assert io.read_scan(tmp_path / f"out{suffix}").voxels.dtype == dtype


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    scan = Scan.from_array(ARRAY)
    with pytest.raises(ScanError, match=r"Nothing was written to .*nowhere: No such file"):
        io.write_like(ARRAY, scan, tmp_path / "nowhere" / "mask.nii", kind="mask")
