"""Which format a file has, and the module that reads and writes it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from napari_anomaly import extras
from napari_anomaly.errors import GridMismatch, ScanError, UnreadableScan
from napari_anomaly.io.atomic import together
from napari_anomaly.scan import Format, Scan

__all__ = [
    "Kind",
    "format_of",
    "looks_like_dicom",
    "SeriesFound",
    "find_series",
    "name_of",
    "read_scan",
    "read_volume",
    "series_in",
    "suffix_of",
    "target_format",
    "volumes",
    "write_like",
]

Kind: TypeAlias = Literal["mask", "map", "image"]

# Longest first, because ".gz" alone says nothing.
_SUFFIXES: dict[str, Format] = {
    ".nii.gz": "nifti",
    ".hdr.gz": "nifti",
    ".img.gz": "nifti",
    ".ome.tiff": "tiff",
    ".ome.tif": "tiff",
    ".nii": "nifti",
    ".hdr": "nifti",
    ".img": "nifti",
    ".tiff": "tiff",
    ".tif": "tiff",
    # Not whatever ITK knows: pictures in 2D and formats that need no header would come along.
    ".gipl.gz": "itk",
    ".gipl": "itk",
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".mnc": "itk",
    ".mrc": "itk",
    ".vtk": "itk",
}
_WRITABLE = (".nii.gz", ".nii", ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".nrrd", ".mha")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NRRD_MAGIC = b"NRRD"
_ZIP_MAGIC = b"PK\3\4"
# How DICOM begins that has no preamble: group 2 or 8, little endian.
_BARE_DICOM = (b"\2\0\0\0", b"\2\0\x10\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0")
_PEEK = 50  # files that are looked at before a folder is said to hold no DICOM
_DICOM_LIBRARIES = ("dicomanonymizer", "highdicom", "pydicom")
_HEADER_SIZES = {348, 540}  # how every NIfTI-1 and NIfTI-2 header begins
_DTYPES = {"mask": np.uint8, "map": np.float32, "image": np.float32}


@runtime_checkable
class _Reader(Protocol):
    """What reads a format."""

    def read(self, path: Path, *, volume: int | None) -> Scan: ...

    def volumes(self, path: Path) -> int: ...


@runtime_checkable
class _Writer(Protocol):
    """What writes a format."""

    def write(
        self, array_zyx: Shaped[np.ndarray, "z y x"], scan: Scan, path: Path, *, compress: bool
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _SeriesReader:
    """Reads one of several DICOM series."""

    series: int | None

    def read(self, path: Path, *, volume: int | None) -> Scan:
        scan: Scan = extra_module("dicom").read(path, volume=volume, series=self.series)
        return scan

    def volumes(self, path: Path) -> int:
        return int(extra_module("dicom").volumes(path, series=self.series))


def name_of(path: str | Path) -> str:
    """Give the name of a file without its folder and its suffix: ``sub-26.nii.gz`` becomes ``sub-26``."""
    name = Path(path).name
    suffix = suffix_of(name)
    return (name[: -len(suffix)] if suffix else Path(name).stem) or name


def format_of(path: str | Path) -> Format:
    """Tell the format of a file by what it holds, and by its suffix where that does not say.

    A folder and a .zip are taken for DICOM.

    Raises
    ------
    UnreadableScan
        If the file is not there, cannot be opened, or is of another kind.
    """
    path = Path(path)
    with opened(path):
        if path.is_dir():
            return "dicom"
        with path.open("rb") as file:
            start = file.read(132)
    if start[:4] in _TIFF_MAGIC:
        return "tiff"
    if start[:4] == _ZIP_MAGIC or _begins_as_dicom(path):
        return "dicom"
    if start[:4] == _NRRD_MAGIC or (start and _SUFFIXES.get(suffix_of(path.name)) == "itk"):
        return "itk"
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    named = _SUFFIXES.get(suffix_of(path.name)) == "nifti"
    if start[:2] == b"\x1f\x8b" or sizes & _HEADER_SIZES or (named and start):
        return "nifti"
    found = "is empty" if not start else "holds neither a NIfTI header nor a TIFF or DICOM one"
    raise UnreadableScan(
        f"{path.name} {found}. A NIfTI file (.nii, .nii.gz, .hdr/.img), a TIFF stack, NRRD, MetaImage or a DICOM "
        "series (its folder, one of its files, a DICOMDIR or a .zip) is needed. "
        "Copy or convert it again from its original."
    )


def volumes(path: str | Path, *, series: int | None = None) -> int:
    """Count the 3D volumes in a file: 1 for a plain scan, more for a series in time or of channels.

    Parameters
    ----------
    path
        See `read_scan`.
    series
        Which DICOM series, from 0, where there are several.

    Raises
    ------
    UnreadableScan
        If the file cannot be read.
    """
    path = Path(path)
    reader = _reader(path, series)
    with opened(path):
        return reader.volumes(path)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesFound:
    """The DICOM series in a place, looked up once.

    Parameters
    ----------
    path
        The place.
    listing
        What `napari_anomaly.io.series.list_series` gives.
    """

    path: Path
    listing: Any

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Modality, description, date, slices, plane and spacing of each that can be read, in their order."""
        return tuple(each.words for each in self.listing.readable)

    @property
    def refused(self) -> tuple[str, ...]:
        """What cannot be read, and why: series in one line each, then damaged files."""
        return (*(each.label for each in self.listing.series if each.problem), *self.listing.damaged)

    @property
    def largest(self) -> int:
        """Which of those that can be read has the most slices."""
        sizes = [len(each.frames) for each in self.listing.readable]
        return sizes.index(max(sizes)) if sizes else 0

    def volumes(self, series: int) -> int:
        """Count the volumes of a series; see `volumes`."""
        with opened(self.path):
            return int(extra_module("dicom").volumes(self.path, series=series, listing=self.listing))

    def read(self, series: int, *, volume: int | None = None) -> Scan:
        """Read a volume of a series; see `read_scan`."""
        with opened(self.path):
            scan: Scan = extra_module("dicom").read(
                self.path, volume=volume, series=series, listing=self.listing
            )
            return scan


def find_series(path: str | Path) -> SeriesFound:
    """Look up the DICOM series in a place, so that they can be listed and read without looking again.

    Parameters
    ----------
    path
        Folder, file of a series, DICOMDIR or .zip.

    Raises
    ------
    UnreadableScan
        If there is no DICOM file.
    MissingExtra
        If what reads DICOM is not installed.
    """
    path = Path(path)
    with opened(path):
        return SeriesFound(path, extra_module("series").list_series(path))


def series_in(path: str | Path) -> tuple[str, ...]:
    """Give one line for each DICOM series in a place that can be read as a scan; none of them names the patient.

    Their places are the numbers that `read_scan` takes.

    Parameters
    ----------
    path
        See `find_series`.

    Raises
    ------
    UnreadableScan
        If there is no DICOM file.
    MissingExtra
        If what reads DICOM is not installed.
    """
    return tuple(each.label for each in find_series(path).listing.readable)


def looks_like_dicom(path: str | Path) -> bool:
    """Tell whether a file, or one of the first files in a folder, begins as DICOM does; pydicom is not needed.

    Parameters
    ----------
    path
        File or folder.
    """
    path = Path(path)
    try:
        if path.is_file():
            return format_of(path) == "dicom"
        inside = islice((Path(top, name) for top, _, names in os.walk(path) for name in sorted(names)), _PEEK)
        return any(each.is_file() and _begins_as_dicom(each) for each in inside)
    except (OSError, UnreadableScan):
        return False


def _begins_as_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start[:4] in _BARE_DICOM


def read_scan(path: str | Path, *, volume: int | None = None, series: int | None = None) -> Scan:
    """Read one 3D scan from a NIfTI, TIFF, NRRD or MetaImage file or a DICOM series.

    Parameters
    ----------
    path
        The file; of a ``.hdr``/``.img`` pair either one; of a DICOM series its folder, one of its files, a
        DICOMDIR or a .zip.
    volume
        Which 3D volume, from 0, where the file or the series holds several.
    series
        Which DICOM series, from 0, where there are several; the message that asks for it lists them.

    Returns
    -------
    Scan
        Voxels as (z, y, x) pointing superior, posterior, left, in the type of the file (float32 where the
        file scales them); what the reader should know of it is in `Scan.notes`.

    Raises
    ------
    UnreadableScan
        If the file is damaged, of a foreign kind, in colour, or holds several volumes and none was chosen.
    BadGeometry
        If the file's affine cannot place it in space.
    MissingExtra
        If it is DICOM, and what reads DICOM is not installed.
    """
    path = Path(path)
    reader = _reader(path, series)
    with opened(path):
        return reader.read(path, volume=volume)


def read_volume(scan: Scan, volume: int) -> Scan:
    """Read another volume of the file or the series that a scan was read from.

    Parameters
    ----------
    scan
        The scan.
    volume
        Which volume, from 0.

    Raises
    ------
    UnreadableScan
        If the file is no longer there, or has no such volume.
    """
    details = scan.source.details
    # Of a series that lies in several folders, or in an archive with others, one file is not enough.
    place = details.get("opened", scan.source.path)
    if place is None:
        raise UnreadableScan(f"{scan.name} was not read from a file: it has no other volume.")
    return read_scan(place, volume=volume, series=details.get("series"))


def write_like(array_zyx: Shaped[np.ndarray, "z y x"], scan: Scan, path: str | Path, *, kind: Kind) -> None:
    """Write an array that lies on the grid of a scan, in the format that the suffix says.

    A NIfTI file gets exactly the grid, orientation, affine, and q/sform codes of the file that the scan came
    from, so voxel (i, j, k) of one is voxel (i, j, k) of the other; a TIFF file its spacing. The file appears
    whole or not at all.

    Parameters
    ----------
    array_zyx
        Numbers or booleans on the scan's grid.
    scan
        The scan; its file is never overwritten.
    path
        Ends in ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, ``.nrrd`` or ``.mha``.
    kind
        ``"mask"`` is written as uint8, ``"map"`` and ``"image"`` as float32.

    Raises
    ------
    GridMismatch
        If the array does not have the shape of the scan.
    ScanError
        If the suffix is another, the path is the scan's own file, or the disk refuses.
    """
    path = Path(path)
    with together(keep=source_files(scan)) as stage:
        write_staged(array_zyx, scan, path, stage(path), kind=kind)


def write_staged(
    array_zyx: Shaped[np.ndarray, "z y x"], scan: Scan, path: Path, staged: Path, *, kind: Kind
) -> None:
    """Write as `write_like` does, to a file that takes the name `path` later."""
    if array_zyx.shape != scan.geometry.shape:
        raise GridMismatch(
            f"The {kind} has shape {array_zyx.shape} and the scan {scan.geometry.shape}; they must agree. "
            "Export what was made from this scan."
        )
    target = target_format(path)
    module = import_module(f"napari_anomaly.io.{target}")
    array = array_zyx.astype(_DTYPES[kind], copy=False)
    if target == "itk":
        module.write(array, scan, staged, suffix=suffix_of(path.name))
        return
    cast(_Writer, module).write(array, scan, staged, compress=path.name.lower().endswith(".gz"))


def target_format(path: Path) -> Format:
    """Tell the format to write from the suffix.

    Raises
    ------
    ScanError
        If this suffix cannot be written.
    """
    suffix = suffix_of(path.name)
    if suffix not in _WRITABLE:
        raise ScanError(
            f"{path.name} ends in {path.suffix or 'nothing'}; .nii.gz, .nii, .tif, .tiff, .nrrd or .mha is "
            "needed. "
            "Choose one of them."
        )
    return _SUFFIXES[suffix]


def source_files(scan: Scan) -> tuple[Path, ...]:
    """Give the files that a scan was read from, which must never be overwritten."""
    path = scan.source.path
    return () if path is None else (path, *scan.source.details.get("partners", ()))


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """Say in the user's words why a file cannot be opened.

    Raises
    ------
    UnreadableScan
        In place of what the operating system or the memory says.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableScan(f"{error.filename or path} is not there. Check the path.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableScan(
            f"{path} cannot be read: {reason}. Check the file and its permissions."
        ) from error
    except MemoryError as error:
        raise UnreadableScan(
            f"{path.name} does not fit into the memory of this machine. "
            "Close other programs, or use a smaller scan."
        ) from error


def suffix_of(name: str) -> str:
    """Give the suffix of a file's name if it is one of a format with files of its own; empty for all others."""
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")


def _reader(path: Path, series: int | None) -> _Reader:
    kind = format_of(path)
    if kind == "dicom":
        return _SeriesReader(series)
    if series is not None:
        raise UnreadableScan(
            f"{path.name} is not DICOM and holds no series. Leave the choice of a series out."
        )
    return cast(_Reader, import_module(f"napari_anomaly.io.{kind}"))


def extra_module(name: str) -> Any:
    """Load a module of this package that needs the extra ``dicom``.

    Parameters
    ----------
    name
        Without ``napari_anomaly.io.``

    Raises
    ------
    MissingExtra
        If the libraries of the extra are not installed.
    """
    return extras.load(f"io.{name}", _DICOM_LIBRARIES, extra="dicom", what="DICOM")
