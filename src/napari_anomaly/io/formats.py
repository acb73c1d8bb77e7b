"""Which format a file has, and the module that reads and writes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from napari_anomaly.errors import GridMismatch, ScanError, UnreadableScan
from napari_anomaly.io.atomic import together
from napari_anomaly.scan import Format, Scan

__all__ = ["Kind", "format_of", "name_of", "read_scan", "target_format", "volumes", "write_like"]

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
}
_WRITABLE = (".nii.gz", ".nii", ".ome.tiff", ".ome.tif", ".tiff", ".tif")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEADER_SIZES = {348, 540}  # how every NIfTI-1 and NIfTI-2 header begins
_DTYPES = {"mask": np.uint8, "map": np.float32, "image": np.float32}


@runtime_checkable
class _Module(Protocol):
    """What a module that knows a format offers."""

    def read(self, path: Path, *, volume: int | None) -> Scan: ...

    def volumes(self, path: Path) -> int: ...

    def write(
        self, array_zyx: Shaped[np.ndarray, "z y x"], scan: Scan, path: Path, *, compress: bool
    ) -> None: ...


def name_of(path: str | Path) -> str:
    """Give the name of a file without its folder and its suffix: ``sub-26.nii.gz`` becomes ``sub-26``."""
    name = Path(path).name
    suffix = _suffix(name)
    return (name[: -len(suffix)] if suffix else Path(name).stem) or name


def format_of(path: str | Path) -> Format:
    """Tell the format of a file by what it holds, and by its suffix where that does not say.

    Raises
    ------
    UnreadableScan
        If the file is not there, cannot be opened, or is of another kind.
    """
    path = Path(path)
    with opened(path):
        if path.is_dir():
            raise UnreadableScan(f"{path} is a folder; one file is needed. Choose a scan inside of it.")
        with path.open("rb") as file:
            start = file.read(4)
    if start in _TIFF_MAGIC:
        return "tiff"
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    named = _SUFFIXES.get(_suffix(path.name)) == "nifti"
    if start[:2] == b"\x1f\x8b" or sizes & _HEADER_SIZES or (named and start):
        return "nifti"
    found = "is empty" if not start else "holds neither a NIfTI header nor a TIFF one"
    raise UnreadableScan(
        f"{path.name} {found}. A NIfTI file (.nii, .nii.gz, .hdr/.img) or a TIFF stack is needed. "
        "Copy or convert it again from its original."
    )


def volumes(path: str | Path) -> int:
    """Count the 3D volumes in a file: 1 for a plain scan, more for a series in time or of channels.

    Raises
    ------
    UnreadableScan
        If the file cannot be read.
    """
    path = Path(path)
    module = _module(format_of(path))
    with opened(path):
        return module.volumes(path)


def read_scan(path: str | Path, *, volume: int | None = None) -> Scan:
    """Read one 3D scan from a NIfTI or TIFF file.

    Parameters
    ----------
    path
        The file; of a ``.hdr``/``.img`` pair either one.
    volume
        Which 3D volume, from 0, where the file holds several.

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
    """
    path = Path(path)
    module = _module(format_of(path))
    with opened(path):
        return module.read(path, volume=volume)


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
        Ends in ``.nii``, ``.nii.gz``, ``.tif`` or ``.tiff``.
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
    module = _module(target_format(path))
    array = array_zyx.astype(_DTYPES[kind], copy=False)
    module.write(array, scan, staged, compress=path.name.lower().endswith(".gz"))


def target_format(path: Path) -> Format:
    """Tell the format to write from the suffix.

    Raises
    ------
    ScanError
        If this suffix cannot be written.
    """
    suffix = _suffix(path.name)
    if suffix not in _WRITABLE:
        raise ScanError(
            f"{path.name} ends in {path.suffix or 'nothing'}; .nii.gz, .nii, .tif or .tiff is needed. "
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


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")


def _module(kind: Format) -> _Module:
    return cast(_Module, import_module(f"napari_anomaly.io.{kind}"))
