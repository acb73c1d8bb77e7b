"""NRRD, MetaImage and what else ITK reads of scans in 3D, through SimpleITK.

ITK counts millimetres as DICOM does (LPS+); they are turned to RAS+ here, once. What ITK does not tell, such as
whether a file states an orientation at all, is looked up in the text that these files begin with.

Source: the NRRD definition, https://teem.sourceforge.net/nrrd/format.html; "MetaImage documentation", ITK wiki.
"""

import gzip
import locale
import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name everybody uses)
from jaxtyping import Float64, Num

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.geometry import checked_affine, reorder
from napari_anomaly.io.formats import name_of, suffix_of
from napari_anomaly.io.voxels import finite, native, one_volume
from napari_anomaly.scan import Scan, Source

__all__ = ["read", "volumes", "write"]

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEAD = 1 << 16  # bytes at the beginning in which a header in plain text ends
# Deflate cannot shrink bytes further than this, so a header that claims more lies.
_MOST_DEFLATE = 1032
# What says in such a header which way the axes point.
_ORIENTED = re.compile(rb"^(space|space directions|TransformMatrix|Orientation|Rotation)\s*[:=]", re.M | re.I)
_TEXTUAL = (b"NRRD", b"ObjectType", b"NDims", b"Comment")
_UNITS = re.compile(rb"^space units\s*:(.*)$", re.M | re.I)
_DATA = re.compile(r"^(?:ElementDataFile\s*=|data ?file\s*:)\s*(.+?)\s*$", re.M | re.I)
_VTK_BINARY = re.compile(rb"^BINARY\s*$", re.M | re.I)
_VTK_VOXELS = re.compile(
    rb"^(SCALARS|VECTORS|TENSORS|COLOR_SCALARS)\b[^\n]*\n(LOOKUP_TABLE[^\n]*\n)?", re.M | re.I
)
_WRITERS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}


def volumes(path: Path) -> int:
    """Count the 3D volumes in a file.

    Raises
    ------
    UnreadableScan
        If the header cannot be read.
    """
    return _volumes(_reader(path))


def read(path: Path, *, volume: int | None = None) -> Scan:
    """Read one 3D volume; see `napari_anomaly.io.read_scan`.

    Raises
    ------
    UnreadableScan
        If the file is damaged, in colour, or holds several volumes and none was chosen.
    BadGeometry
        If its header cannot place it in space.
    """
    reader = _reader(path)
    count = _volumes(reader)
    number = one_volume(path.name, count, volume)
    head = _head(path)
    notes = _notes(head)
    affine = _affine(reader)
    array, odd = finite(native(_voxels(reader, path, number)), path.name)
    order, flips = reorder(affine)
    details = {
        "partners": _partners(path, head),
        "volume": number,
        "volumes": count,
        "notes": (*notes, *odd),
    }
    grid = (array.shape[0], array.shape[1], array.shape[2])
    source = Source(path, "itk", grid, affine, order, flips, details)
    return Scan(source.to_array(array), source.geometry(), source, name_of(path))


def write(array_zyx: Num[np.ndarray, "z y x"], scan: Scan, path: Path, *, suffix: str) -> None:
    """Write an array on the grid of a scan; see `napari_anomaly.io.write_like`.

    Parameters
    ----------
    array_zyx
        Numbers, in the type to write.
    scan
        Where the grid comes from.
    path
        The file.
    suffix
        Of the format: ``.nrrd`` or ``.mha``.
    """
    source = scan.source
    if source.details.get("axes") == "zyx":
        affine, array = scan.geometry.affine[:, [2, 1, 0, 3]], array_zyx.transpose(2, 1, 0)
    else:
        affine, array = source.affine, source.to_file(array_zyx)
    lps = _TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    writer = sitk.ImageFileWriter()
    writer.SetImageIO(_WRITERS[suffix])
    # MetaImage puts voxels into a second file unless the name ends as it expects.
    named = path.with_name(path.name + suffix)
    writer.SetFileName(str(named))
    writer.UseCompressionOn()
    try:
        with _locale_kept():
            writer.Execute(image)
        named.replace(path)
    except RuntimeError as error:
        raise OSError(_brief(error)) from error
    finally:
        named.unlink(missing_ok=True)


@contextmanager
def _locale_kept() -> Iterator[None]:
    """Undo that ITK leaves the whole program in the locale "C" after some formats, where only ASCII is understood."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        if locale.setlocale(locale.LC_ALL) != before:
            locale.setlocale(locale.LC_ALL, before)


def _reader(path: Path) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with _locale_kept():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableScan(
            f"{path.name} cannot be read: {_brief(error)} Copy or convert it again from its original."
        ) from error
    size = reader.GetSize()
    if len(size) not in (3, 4) or min(size) < 1:
        raise UnreadableScan(
            f"{path.name} has the shape {size}; a scan needs three positive lengths. "
            "Open the whole stack, not one image of it."
        )
    parts, kind = reader.GetNumberOfComponents(), sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind or (parts in (3, 4) and "8-bit unsigned" in kind) or (parts > 1 and len(size) == 4):
        raise UnreadableScan(
            f"{path.name} holds {parts} numbers per voxel ({kind}); one real number is needed. "
            "Open the scan that the picture was made from, or convert it to grey values."
        )
    return reader


def _volumes(reader: Any) -> int:
    size = reader.GetSize()
    return int(size[3]) if len(size) == 4 else int(reader.GetNumberOfComponents())


def _voxels(reader: Any, path: Path, volume: int) -> Num[np.ndarray, "i j k"]:
    size, parts = reader.GetSize(), int(reader.GetNumberOfComponents())
    _check_size(reader, path)
    if len(size) == 4:
        reader.SetExtractIndex([0, 0, 0, volume])
        reader.SetExtractSize([*size[:3], 0])
    try:
        with _locale_kept():
            array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise UnreadableScan(
            f"{path.name} is damaged: {_brief(error)} Copy it again from its original."
        ) from error
    chosen = array[..., volume] if parts > 1 else array
    turned: Num[np.ndarray, "i j k"] = chosen.transpose(2, 1, 0)
    return turned


def _check_size(reader: Any, path: Path) -> None:
    """Refuse what claims more voxels than its bytes can hold, before memory is taken."""
    number = re.search(r"\d+", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    needed = math.prod(reader.GetSize()) * int(reader.GetNumberOfComponents())
    needed *= int(number.group()) // 8 if number else 8
    # Data that lie in files of their own may be many: they are beside the header.
    files = [path, *_partners(path, _head(path))]
    there = sum(file.stat().st_size for file in files if file.is_file())
    if needed > there * _MOST_DEFLATE:
        raise UnreadableScan(
            f"{path.name} is damaged: voxels need {needed} bytes and the file has {there}. "
            "Copy it again from its original, together with the file of its voxels."
        )
    _check_whole(path, needed)


def _check_whole(path: Path, needed: int) -> None:
    """Refuse what breaks off where ITK would fill up with whatever lies in memory, and say nothing."""
    begin = _VOXELS_AT.get(suffix_of(path.name))
    if begin is None:
        return
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(_HEAD)
            start = begin(head)
            there = max(0, len(head) - start)
            while there < needed and (block := file.read(1 << 20)):
                there += len(block)
    except (OSError, EOFError, zlib.error):
        there = 0
    if there < needed:
        binary = ", in binary: VTK in text is not read" if path.suffix.lower() == ".vtk" else ""
        raise UnreadableScan(
            f"{path.name} is damaged: its voxels need {needed} bytes, and {there} are there. "
            f"Copy it again from its original{binary}."
        )


def _mrc_voxels(head: bytes) -> int:
    """Where the voxels of an MRC file begin: after the header and what extends it (MRC2014)."""
    order: Literal["big", "little"] = "big" if head[212:213] == b"\x11" else "little"
    return 1024 + max(0, int.from_bytes(head[92:96], order, signed=True))


def _vtk_voxels(head: bytes) -> int:
    """Where the voxels of a legacy VTK file begin; beyond the head where they are text, whose bytes tell no number."""
    found = _VTK_VOXELS.search(head)
    return found.end() if found is not None and _VTK_BINARY.search(head) else _HEAD + 1


_VOXELS_AT: dict[str, Callable[[bytes], int]] = {
    ".gipl": lambda _: 256,
    ".gipl.gz": lambda _: 256,
    ".mrc": _mrc_voxels,
    ".vtk": _vtk_voxels,
}


def _affine(reader: Any) -> Float64[np.ndarray, "4 4"]:
    count = reader.GetDimension()
    direction = np.array(reader.GetDirection()).reshape(count, count)[:3, :3]
    lps = np.eye(4)
    lps[:3, 3] = np.array(reader.GetOrigin())[:3]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by the next line
        lps[:3, :3] = direction * np.array(reader.GetSpacing())[:3]
        return checked_affine(_TO_RAS @ lps)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return start if start.startswith(_TEXTUAL) else b""


def _notes(head: bytes) -> tuple[str, ...]:
    """Say what ITK passes over.

    Raises
    ------
    UnreadableScan
        If lengths are stated in a unit that is not millimetres.
    """
    found = _UNITS.search(head)
    units = set(re.findall(rb'"(.*?)"', found.group(1))) if found else set()
    if units - {b"mm", b"millimeter", b"millimeters", b""}:
        told = ", ".join(sorted(unit.decode("ascii", "replace") for unit in units))
        raise UnreadableScan(
            f"The header states lengths in {told}; millimetres are needed. Convert the file."
        )
    if _ORIENTED.search(head):
        return ()
    return ("The file states no orientation: left and right may be exchanged.",)


def _partners(path: Path, head: bytes) -> tuple[Path, ...]:
    """Give the files beside a header in which its voxels lie."""
    found = _DATA.search(head.decode("latin-1"))
    name = found.group(1) if found else ""
    if not name or name.upper().startswith(("LOCAL", "LIST")) or "%" in name:
        beside = path.suffix.lower() in (".mhd", ".nhdr") and name
        return tuple(sorted(other for other in path.parent.iterdir() if other.is_file())) if beside else ()
    return (path.parent / name,)


def _brief(error: Exception) -> str:
    """Give what ITK says without where in its source it says so."""
    lines = [line for line in str(error).splitlines() if line.strip() and "/itk" not in line.lower()]
    words = re.sub(r"ITK ERROR: \S+\(0x[0-9a-f]+\): |ITK ERROR: ", "", " ".join(lines[-1:]))[:200].strip()
    return words if words.endswith(".") else f"{words or 'it is damaged'}."
