from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_anomaly import io
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.io import tiff
from napari_anomaly.scan import Scan

ARRAY = np.random.default_rng(0).integers(0, 4000, (5, 6, 7)).astype(np.uint16)
GREY = "minisblack"


def save_imagej(path: Path, array=ARRAY, **metadata) -> Path:
    tifffile.imwrite(
        path, array, imagej=True, resolution=(1 / 0.9375, 2.0), metadata={"axes": "ZYX", **metadata}
    )
    return path


def save_ome(path: Path, array=ARRAY, axes: str = "ZYX", **metadata) -> Path:
    tifffile.imwrite(path, array, ome=True, photometric=GREY, metadata={"axes": axes, **metadata})
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_imagej_stacks_keep_voxels_and_spacing(tmp_path: Path, dtype, order: str) -> None:
    tifffile.imwrite(
        tmp_path / "scan.tif",
        ARRAY.astype(dtype),
        imagej=True,
        byteorder=order,
        resolution=(1 / 0.9375, 2.0),
        metadata={"spacing": 1.5, "unit": "mm", "axes": "ZYX"},
    )
    scan = io.read_scan(tmp_path / "scan.tif")
    np.testing.assert_array_equal(scan.voxels, ARRAY.astype(dtype))
    assert scan.voxels.dtype == dtype
    assert scan.voxels.dtype.isnative
    assert scan.geometry.spacing == (1.5, 0.5, 0.9375)
    assert (scan.geometry.unit, scan.name, scan.notes) == ("mm", "scan", ())


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("micron", 1e-3),
        ("um", 1e-3),
        ("\\u00B5m", 1e-3),
        ("cm", 10.0),
        ("inch", 25.4),
        ("nm", 1e-6),
    ],
)
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    scan = io.read_scan(save_imagej(tmp_path / "scan.tif", spacing=2.0, unit=unit))
    assert scan.geometry.unit == "mm"
    assert scan.geometry.spacing == pytest.approx(np.array((2.0, 0.5, 0.9375)) * factor)
    io.write_like(scan.voxels > 0, scan, tmp_path / "mask.tif", kind="mask")
    assert io.read_scan(tmp_path / "mask.tif").geometry.same_grid(scan.geometry, tolerance_mm=0)


@pytest.mark.parametrize(
    "metadata", [{}, {"unit": "pixel", "spacing": 2.0}, {"unit": "mm"}, {"unit": "mm", "spacing": 0.0}]
)
def test_a_missing_spacing_is_counted_in_voxels(tmp_path: Path, metadata: dict) -> None:
    scan = io.read_scan(save_imagej(tmp_path / "scan.tif", **metadata))
    assert (scan.geometry.unit, scan.geometry.spacing) == ("voxel", (1.0, 1.0, 1.0))
    assert "not millimetres" in scan.notes[0]
    io.write_like(scan.voxels > 0, scan, tmp_path / "mask.tif", kind="mask")
    assert io.read_scan(tmp_path / "mask.tif").geometry.unit == "voxel"


def test_imagej_itself_leaves_out_a_spacing_of_one(tmp_path: Path) -> None:
    path = save_imagej(tmp_path / "scan.tif", unit="mm")
    path.write_bytes(path.read_bytes().replace(b"ImageJ=1.11a", b"ImageJ=1.54f"))
    scan = io.read_scan(path)
    assert scan.geometry.spacing == (1.0, 0.5, 0.9375)
    assert "ImageJ means 1 mm" in scan.notes[0]


def test_ome_stacks(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.75, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3.0}
    units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
    scan = io.read_scan(save_ome(tmp_path / "scan.ome.tif", **sizes, **units))
    assert scan.geometry.spacing == (3.0, 0.5, 0.75)
    assert (scan.name, scan.geometry.unit) == ("scan", "mm")
    microns = io.read_scan(save_ome(tmp_path / "microns.ome.tif", **sizes))
    assert microns.geometry.spacing == pytest.approx((3e-3, 0.5e-3, 0.75e-3))
    units["PhysicalSizeZUnit"] = "cm"
    mixed = io.read_scan(save_ome(tmp_path / "mixed.ome.tif", **sizes, **units))
    assert mixed.geometry.spacing == pytest.approx((30.0, 0.5, 0.75))
    for source in (scan, microns, mixed):
        io.write_like(source.voxels, source, tmp_path / "map.tif", kind="map")
        with tifffile.TiffFile(tmp_path / "map.tif") as written:
            assert written.is_ome
        again = io.read_scan(tmp_path / "map.tif")
        assert again.geometry.same_grid(source.geometry, tolerance_mm=1e-12)
        np.testing.assert_array_equal(again.voxels, ARRAY)
        assert again.voxels.dtype == np.float32


@pytest.mark.parametrize("left_out", ["X", "Y", "Z"])
def test_ome_with_a_length_missing_is_counted_in_voxels(tmp_path: Path, left_out: str) -> None:
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ" if axis != left_out}
    scan = io.read_scan(save_ome(tmp_path / "scan.ome.tif", **sizes))
    assert scan.geometry.unit == "voxel"
    io.write_like(scan.voxels, scan, tmp_path / "map.tif", kind="map")
    assert io.read_scan(tmp_path / "map.tif").geometry.unit == "voxel"


def test_plain_stacks_have_no_spacing(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        for plane in ARRAY:
            writer.write(plane, metadata=None, photometric=GREY, resolution=(72, 72), resolutionunit="INCH")
    scan = io.read_scan(tmp_path / "scan.tif")
    np.testing.assert_array_equal(scan.voxels, ARRAY)
    assert scan.geometry.unit == "voxel"
    io.write_like(scan.voxels > 2000, scan, tmp_path / "mask.tif", kind="mask")
    np.testing.assert_array_equal(io.read_scan(tmp_path / "mask.tif").voxels, ARRAY > 2000)


@pytest.mark.parametrize("compression", ["zlib", "lzma", None])
def test_compressed_stacks(tmp_path: Path, compression) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", ARRAY, photometric=GREY, compression=compression)
    np.testing.assert_array_equal(io.read_scan(tmp_path / "scan.tif").voxels, ARRAY)


def test_one_bit_stacks_become_numbers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", ARRAY > 2000, photometric=GREY)
    scan = io.read_scan(tmp_path / "scan.tif")
    assert scan.voxels.dtype == np.uint8
    np.testing.assert_array_equal(scan.voxels, ARRAY > 2000)


@pytest.mark.parametrize(
    ("axes", "shape"), [("TZYX", (3, 5, 6, 7)), ("ZCYX", (5, 3, 6, 7)), ("TZCYX", (2, 5, 3, 6, 7))]
)
def test_times_and_channels_offer_the_choice(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    series = np.random.default_rng(1).integers(0, 99, shape).astype(np.uint8)
    metadata = {"axes": axes, "spacing": 3.0, "unit": "mm"}
    tifffile.imwrite(tmp_path / "series.tif", series, imagej=True, resolution=(1, 1), metadata=metadata)
    count = series.size // ARRAY.size
    assert io.volumes(tmp_path / "series.tif") == count
    spaced = np.moveaxis(series, [axes.index(letter) for letter in "ZYX"], [-3, -2, -1]).reshape(-1, 5, 6, 7)
    for volume in range(count):
        scan = io.read_scan(tmp_path / "series.tif", volume=volume)
        np.testing.assert_array_equal(scan.voxels, spaced[volume])
    io.write_like(scan.voxels, scan, tmp_path / "map.tif", kind="map")
    assert io.read_scan(tmp_path / "map.tif").geometry.same_grid(scan.geometry)
    with pytest.raises(UnreadableScan, match=f"holds {count} volumes .*; one is needed"):
        io.read_scan(tmp_path / "series.tif")
    with pytest.raises(UnreadableScan, match=f"has no volume {count}"):
        io.read_scan(tmp_path / "series.tif", volume=count)


def test_axes_without_names_end_in_depth(tmp_path: Path) -> None:
    series = np.random.default_rng(1).integers(0, 99, (2, 5, 6, 7)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "series.tif", series, photometric=GREY)
    assert io.volumes(tmp_path / "series.tif") == 2
    np.testing.assert_array_equal(io.read_scan(tmp_path / "series.tif", volume=1).voxels, series[1])


@pytest.mark.parametrize(("axes", "shape"), [("TYX", (5, 6, 7)), ("CYX", (2, 6, 7)), ("YX", (6, 7))])
def test_a_file_without_depth_is_refused(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros(shape, np.uint8), imagej=True, metadata={"axes": axes})
    with pytest.raises(UnreadableScan, match=rf"flat\.tif has the axes {axes} .* no depth \(Z\).*Fiji"):
        io.read_scan(tmp_path / "flat.tif")


def test_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((5, 6, 7, 3), np.uint8), photometric="rgb")
    with pytest.raises(UnreadableScan, match=r"colour\.tif holds colours"):
        io.read_scan(tmp_path / "colour.tif")


def test_further_images_are_mentioned(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(ARRAY, photometric=GREY)
        writer.write(ARRAY[:, :3, :3], photometric=GREY)
    scan = io.read_scan(tmp_path / "two.tif")
    np.testing.assert_array_equal(scan.voxels, ARRAY)
    assert any("2 images" in note for note in scan.notes)


def test_numbers_that_are_not_finite_are_replaced_visibly(tmp_path: Path) -> None:
    array = ARRAY.astype(np.float32)
    array[0, 0, 0] = np.nan
    scan = io.read_scan(save_imagej(tmp_path / "scan.tif", array, spacing=1.0, unit="mm"))
    assert scan.voxels[0, 0, 0] == np.nanmin(array)
    assert "1 of 210 voxels" in scan.notes[0]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, share: float, compression) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 64, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "whole.tif", noise, photometric=GREY, compression=compression)
    whole = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableScan, match=r"cut\.tif"):
        io.read_scan(tmp_path / "cut.tif")


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_file_that_breaks_off_is_called_damaged_and_says_nothing_else(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = {"imagej": save_imagej, "ome": save_ome}[kind](tmp_path / "scan.tif", np.tile(ARRAY, (1, 9, 9)))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UnreadableScan, match=r"scan\.tif is damaged: it breaks off"):
        io.read_scan(path)
    assert capfd.readouterr() == ("", "")


def test_a_stack_is_not_read_without_its_last_planes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        for plane in ARRAY:
            writer.write(plane, metadata=None, photometric=GREY)
    with tifffile.TiffFile(tmp_path / "scan.tif") as tif:
        third = tif.pages[3].offset
    whole = (tmp_path / "scan.tif").read_bytes()
    (tmp_path / "scan.tif").write_bytes(whole[:third])
    with pytest.raises(UnreadableScan, match="planes are missing"):
        io.volumes(tmp_path / "scan.tif")
    with pytest.raises(UnreadableScan, match="planes are missing"):
        io.read_scan(tmp_path / "scan.tif")


@pytest.fixture
def small_counts_as_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "MAP_FROM_BYTES", 1)


def mapped(array: np.ndarray) -> bool:
    """Tell whether an array, or one that it is a view of, is a memory map."""
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


@pytest.mark.usefixtures("small_counts_as_big")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", ["zlib", None])
def test_big_stacks_stay_on_the_disk(tmp_path: Path, order: str, compression) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, ARRAY, photometric=GREY, byteorder=order, compression=compression)
    scan = io.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, ARRAY)
    assert mapped(scan.voxels)
    assert scan.voxels.dtype.isnative
    assert not scan.voxels.flags.writeable
    assert scan.sha256 == Scan.from_array(ARRAY).sha256


@pytest.mark.usefixtures("small_counts_as_big")
def test_one_channel_of_a_big_stack_stays_on_the_disk(tmp_path: Path) -> None:
    channels = np.stack([ARRAY, ARRAY + 1], axis=1)
    tifffile.imwrite(tmp_path / "scan.tif", channels, imagej=True, metadata={"axes": "ZCYX"})
    scan = io.read_scan(tmp_path / "scan.tif", volume=1)
    np.testing.assert_array_equal(scan.voxels, ARRAY + 1)
    assert mapped(scan.voxels)


def test_small_stacks_are_read_into_memory(tmp_path: Path) -> None:
    assert not mapped(io.read_scan(save_imagej(tmp_path / "scan.tif")).voxels)


def test_a_nifti_scan_gives_a_stack_with_its_spacing(tmp_path: Path) -> None:
    scan = Scan.from_array(ARRAY, spacing=(3.0, 0.5, 0.75))
    io.write_like(scan.voxels, scan, tmp_path / "map.tif", kind="map")
    with tifffile.TiffFile(tmp_path / "map.tif") as written:
        assert written.is_imagej
        assert written.imagej_metadata["unit"] == "mm"
    again = io.read_scan(tmp_path / "map.tif")
    assert again.geometry.spacing == pytest.approx((3.0, 0.5, 0.75))
    np.testing.assert_array_equal(again.voxels, ARRAY)


def test_a_stack_gives_nifti_with_its_spacing(tmp_path: Path) -> None:
    scan = io.read_scan(save_imagej(tmp_path / "scan.tif", spacing=1.5, unit="mm"))
    io.write_like(scan.voxels > 2000, scan, tmp_path / "mask.nii.gz", kind="mask")
    mask = io.read_scan(tmp_path / "mask.nii.gz")
    assert mask.geometry.same_grid(scan.geometry)
    np.testing.assert_array_equal(mask.voxels, ARRAY > 2000)
    assert mask.source.shape == (7, 6, 5)
