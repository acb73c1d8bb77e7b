"""TIFF stacks: ImageJ, OME and plain; tifffile reads and writes them.

A TIFF does not say how a head lies in it: planes are taken to go up, rows to the back and columns to the
left, so that it shows as other viewers show it.

Source: the OME-TIFF specification, https://docs.openmicroscopy.org/ome-model, and ImageJ's
``ij.io.TiffEncoder``.
"""

import logging
import math
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import Num, Shaped

from napari_anomaly.errors import AnomalyError, UnreadableScan
from napari_anomaly.geometry import Geometry, Unit
from napari_anomaly.io.formats import name_of
from napari_anomaly.io.voxels import finite, native, one_volume
from napari_anomaly.scan import Scan, Source

__all__ = ["MAP_FROM_BYTES", "read", "volumes", "write"]

MAP_FROM_BYTES = 1 << 28
"""Stacks from this size on stay on the disk, memory-mapped."""

_UNIT_IN_MM = {
    "m": 1000.0,
    "meter": 1000.0,
    "cm": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "nm": 1e-6,
    "in": 25.4,
    "inch": 25.4,
}
_NO_SIZE = "The file states no voxel size: lengths and volumes are counts of voxels, not millimetres."
# What tifffile itself writes as the version of ImageJ.
_TIFFFILE_IMAGEJ = "1.11a"


@dataclass(frozen=True, slots=True)
class _Spacing:
    """What a file says of the size of its voxels.

    Parameters
    ----------
    kind
        How it says it, and how it is written again.
    size
        Along z, y and x, in `unit`; None where it is not known.
    unit
        As the file names it.
    resolution
        The fractions that a TIFF holds for x and y, kept because their quotients are rounded.
    notes
        Sentences for the user.
    """

    kind: str
    size: tuple[float, float, float] | None = None
    unit: str = ""
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    notes: tuple[str, ...] = field(default=())


def volumes(path: Path) -> int:
    """Count the 3D volumes in a file: times, channels and other axes that are not of space.

    Raises
    ------
    UnreadableScan
        If the file cannot be read.
    """
    with _opened(path) as tif:
        axes, shape = _axes(tif, path)
        return _count(axes, shape)


def read(path: Path, *, volume: int | None = None) -> Scan:
    """Read one stack; see `napari_anomaly.io.read_scan`.

    Raises
    ------
    UnreadableScan
        If the file is damaged, in colour, has no depth, or holds several volumes and none was chosen.
    """
    with _opened(path) as tif:
        axes, shape = _axes(tif, path)
        count = _count(axes, shape)
        chosen = one_volume(path.name, count, volume, axes=axes)
        voxels = _voxels(tif, path, chosen)
        spacing = _spacing(tif)
        notes = spacing.notes + _other_images(tif)
    array, odd = finite(voxels, path.name)
    unit: Unit = "mm" if spacing.size is not None else "voxel"
    geometry = Geometry.from_spacing(array.shape, _in_mm(spacing), unit=unit)
    details = {"axes": "zyx", "tiff": spacing, "volume": chosen, "volumes": count, "notes": notes + odd}
    source = Source(path, "tiff", geometry.shape, geometry.affine, (0, 1, 2), (False, False, False), details)
    return Scan(array, geometry, source, name_of(path))


def write(array_zyx: Num[np.ndarray, "z y x"], scan: Scan, path: Path, *, compress: bool) -> None:
    """Write an array with the spacing of a scan; see `napari_anomaly.io.write_like`.

    A scan that came from OME-TIFF gives OME-TIFF, any other an ImageJ stack.

    Parameters
    ----------
    array_zyx
        uint8 or float32.
    scan
        Where the spacing comes from.
    path
        The file.
    compress
        Not used: ImageJ reads no compressed stacks.
    """
    spacing = scan.source.details.get("tiff") or _Spacing("imagej")
    if scan.geometry.unit == "mm" and spacing.size is None:
        spacing = _Spacing("imagej", scan.geometry.spacing, "mm")
    data = np.ascontiguousarray(array_zyx)
    if spacing.kind == "ome":
        tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata=_ome_metadata(spacing))
        return
    metadata: dict[str, Any] = {"axes": "ZYX", "unit": "pixel"}
    resolution: Any = None
    if spacing.size is not None:
        metadata |= {"unit": spacing.unit, "spacing": spacing.size[0]}
        resolution = spacing.resolution or (1 / spacing.size[2], 1 / spacing.size[1])
    tifffile.imwrite(path, data, imagej=True, resolution=resolution, resolutionunit="NONE", metadata=metadata)


class _Heard(logging.Handler):
    """What tifffile says of a file while this thread reads it; kept here, where it stays off the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._said.append(record.getMessage())

    @property
    def broken_off(self) -> bool:
        """Whether a page lies beyond the end of the file: tifffile goes on with those before it."""
        return any("invalid page offset" in said for said in self._said)

    def __enter__(self) -> "_Heard":
        logging.getLogger("tifffile").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tifffile").removeHandler(self)


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a file and say in the user's words what is wrong with it."""
    with _Heard() as heard:
        try:
            with tifffile.TiffFile(path) as tif:
                yield tif
        except (OSError, MemoryError):
            raise
        # A damaged file makes tifffile fail in every way there is: TypeError, AssertionError, ParseError, ...
        except Exception as error:
            if heard.broken_off:
                raise _broken_off(path) from error
            if isinstance(error, AnomalyError):
                raise
            raise UnreadableScan(
                f"{path.name} is damaged, or a TIFF of a rare kind: {str(error) or type(error).__name__}. "
                "Copy it again, or save it anew as an uncompressed stack."
            ) from error
        if heard.broken_off:
            raise _broken_off(path)


def _broken_off(path: Path) -> UnreadableScan:
    return UnreadableScan(
        f"{path.name} is damaged: it breaks off, and planes are missing. Copy it again from its original."
    )


def _axes(tif: tifffile.TiffFile, path: Path) -> tuple[str, tuple[int, ...]]:
    """Give letters and lengths of the axes of the first image, or refuse it."""
    if not tif.series:
        raise ValueError("it holds no image")
    series = tif.series[0]
    axes, shape = series.axes, tuple(int(n) for n in series.shape)
    if "S" in axes or series.dtype.kind not in "iufb":
        raise UnreadableScan(
            f"{path.name} holds colours or other than real numbers (axes {axes}, {series.dtype}); "
            "one real number per voxel is needed. "
            "Open the scan that the picture was made from, or convert it to grey values."
        )
    if _depth(axes) < 0:
        raise UnreadableScan(
            f"{path.name} has the axes {axes} {shape} and no depth (Z). If its planes are slices, "
            "save it as a Z stack (in Fiji: Image > Properties); open a single plane with napari itself."
        )
    return axes, shape


def _depth(axes: str) -> int:
    """Find the axis of depth: named so, or the last one without a meaning; -1 if there is none."""
    found = (axes.rfind(letter) for letter in "ZIQ")
    return next((place for place in found if place >= 0), -1)


def _count(axes: str, shape: tuple[int, ...]) -> int:
    space = {_depth(axes), axes.index("Y"), axes.index("X")}
    return math.prod(n for place, n in enumerate(shape) if place not in space)


def _voxels(tif: tifffile.TiffFile, path: Path, volume: int) -> Num[np.ndarray, "z y x"]:
    """Read one volume; from a certain size on, it stays on the disk."""
    series = tif.series[0]
    big = series.size * series.dtype.itemsize >= MAP_FROM_BYTES
    stack: np.ndarray
    if big and series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(tif.byteorder)
        stack = np.memmap(path, dtype, "r", offset=series.dataoffset, shape=series.shape)
    else:
        stack = series.asarray(out="memmap" if big else None)
    axes = series.axes
    planes = np.moveaxis(stack, [_depth(axes), axes.index("Y"), axes.index("X")], [-3, -2, -1])
    chosen = planes.reshape(-1, *planes.shape[-3:])[volume]
    ready = chosen.flags.c_contiguous and chosen.dtype.isnative and chosen.dtype != np.bool_
    return _on_disk(chosen) if big and not ready else native(chosen)


def _on_disk(array: Shaped[np.ndarray, "z y x"]) -> Num[np.ndarray, "z y x"]:
    """Bring a large stack to this machine's order, plane by plane, in a file that goes when it is closed."""
    dtype = native(array[:1, :1, :1]).dtype
    with tempfile.TemporaryFile() as file:  # the map keeps its own hold on the file
        copy = np.memmap(file, dtype, "w+", shape=array.shape)
    for plane, source in zip(copy, array, strict=True):
        plane[...] = source
    return copy


def _other_images(tif: tifffile.TiffFile) -> tuple[str, ...]:
    count = len(tif.series)
    return (
        (f"The file holds {count} images of different sizes: the first one is shown.",) if count > 1 else ()
    )


def _in_mm(spacing: _Spacing) -> tuple[float, float, float]:
    if spacing.size is None:
        return 1.0, 1.0, 1.0
    scale = _mm(spacing.unit) or 1.0
    sz, sy, sx = spacing.size
    return sz * scale, sy * scale, sx * scale


def _mm(unit: str) -> float | None:
    """Give the length of a unit in mm; None if it is not a length."""
    plain = unit.strip().lower().replace("\\u00b5", "u").replace("\u00b5", "u").replace("\u03bc", "u")
    return _UNIT_IN_MM.get(plain)


def _spacing(tif: tifffile.TiffFile) -> _Spacing:
    """Read what the file says of the size of its voxels; all three lengths, or none."""
    if tif.is_ome:
        return _ome_spacing(tif.ome_metadata or "")
    shaped = tif.shaped_metadata or ({},)
    said: dict[str, Any] = tif.imagej_metadata or dict(shaped[0])
    kind = "imagej"
    unit = str(said.get("unit", ""))
    fractions = [tif.pages.first.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if _mm(unit) is None or not all(pair and pair[0] > 0 and pair[1] > 0 for pair in fractions):
        return _Spacing(kind, notes=(_NO_SIZE,))
    (xn, xd), (yn, yd) = fractions
    depth = said.get("spacing")
    notes: tuple[str, ...] = ()
    if depth is None and said.get("ImageJ", _TIFFFILE_IMAGEJ) != _TIFFFILE_IMAGEJ:
        # ImageJ leaves the distance out when it is exactly 1.
        depth, notes = 1.0, (f"The file names no distance between planes; ImageJ means 1 {unit} by that.",)
    if depth is None or not float(depth):
        return _Spacing(kind, notes=(_NO_SIZE,))
    resolution = ((int(xn), int(xd)), (int(yn), int(yd)))
    return _Spacing(kind, (abs(float(depth)), yd / yn, xd / xn), unit, resolution, notes)


def _ome_spacing(xml: str) -> _Spacing:
    images = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    sizes = [float(pixels.get(f"PhysicalSize{axis}", 0)) for axis in "ZYX"]
    units = [str(pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m")) for axis in "ZYX"]
    scales = [_mm(unit) for unit in units]
    if min(sizes) <= 0 or None in scales:
        return _Spacing("ome", notes=(_NO_SIZE,))
    if len(set(units)) > 1:
        sizes = [size * (scale or 1.0) for size, scale in zip(sizes, scales, strict=True)]
        units = ["mm"]
    return _Spacing("ome", (sizes[0], sizes[1], sizes[2]), units[0])


def _ome_metadata(spacing: _Spacing) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if spacing.size is not None:
        for axis, size in zip("ZYX", spacing.size, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": spacing.unit}
    return metadata
