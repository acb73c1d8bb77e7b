"""NIfTI-1 and -2: single files and pairs, compressed or not.

nibabel decodes the header, isal the compressed bytes.

Source: the NIfTI-1 and NIfTI-2 data format standards, https://nifti.nimh.nih.gov.
"""

import math
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from jaxtyping import Float64, Num, Shaped
from nibabel.spatialimages import HeaderDataError

from napari_anomaly.errors import BadGeometry, UnreadableScan
from napari_anomaly.geometry import Unit, checked_affine, reorder
from napari_anomaly.io.formats import name_of
from napari_anomaly.io.voxels import finite, native, one_volume
from napari_anomaly.scan import Scan, Source

__all__ = ["read", "volumes", "write"]

# Neither nibabel's headers nor isal have types.
_Nifti1: Any = nib.Nifti1Header
_Nifti2: Any = nib.Nifti2Header
_igzip: Any = igzip
_BROKEN: tuple[type[Exception], ...] = (EOFError, BadGzipFile, cast(Any, isal_zlib).error)

# Level 1 of isal: the size of zlib's best, in a tenth of the time (benchmarks/io_speed.py).
_LEVEL = 1
# Deflate cannot shrink bytes further than this, so a header that claims more lies.
_MOST_DEFLATE = 1032
# Pieces that stay in the cache while they are unpacked: half the time of one large piece.
_PIECE = 1 << 20
_UNIT_IN_MM = {1: 1000.0, 2: 1.0, 3: 0.001}


@dataclass(frozen=True, slots=True, eq=False)
class _Header:
    """A header that was checked, and where its voxels are."""

    fields: Any  # nibabel's Nifti1Header or Nifti2Header: it has no types
    files: tuple[Path, ...]
    image: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def volumes(self) -> int:
        return math.prod(self.shape[3:])

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.shape[0], self.shape[1], self.shape[2]


def volumes(path: Path) -> int:
    """Count the 3D volumes in a file.

    Raises
    ------
    UnreadableScan
        If the header cannot be read.
    """
    return _header(path).volumes


def read(path: Path, *, volume: int | None = None) -> Scan:
    """Read one 3D volume; see `napari_anomaly.io.read_scan`.

    Raises
    ------
    UnreadableScan
        If the file is damaged, of a foreign kind, in colour, or holds several volumes and none was chosen.
    BadGeometry
        If the file's affine cannot place it in space.
    """
    header = _header(path)
    chosen = one_volume(path.name, header.volumes, volume)
    affine, unit, notes = _place(header.fields, path.name)
    voxels = native(_scaled(_voxels(header, chosen), header.fields))
    order, flips = reorder(affine)
    array, odd = finite(voxels, path.name)
    details = {
        "header": header.fields.binaryblock,
        "partners": header.files,
        "volume": chosen,
        "volumes": header.volumes,
        "sform_code": int(header.fields["sform_code"]),
        "qform_code": int(header.fields["qform_code"]),
        "notes": notes + odd,
    }
    source = Source(path, "nifti", header.grid, affine, order, flips, details)
    return Scan(source.to_array(array), source.geometry(unit), source, name_of(path))


def write(array_zyx: Num[np.ndarray, "z y x"], scan: Scan, path: Path, *, compress: bool) -> None:
    """Write an array on the grid of a scan; see `napari_anomaly.io.write_like`.

    Parameters
    ----------
    array_zyx
        Numbers, in the type to write.
    scan
        Where the grid comes from.
    path
        The file.
    compress
        Whether to write a gzip stream.
    """
    if scan.source.format == "nifti":
        file_array = scan.source.to_file(array_zyx)
        header = _like_source(scan.source.details["header"])
    else:
        file_array, header = _anew(array_zyx, scan)
    header.set_data_shape(file_array.shape)
    header.set_data_dtype(array_zyx.dtype.newbyteorder("<"))
    little = np.ascontiguousarray(file_array.T, dtype=array_zyx.dtype.newbyteorder("<"))
    with path.open("wb") as file:
        if not compress:
            _put(cast(BinaryIO, file), header, little)
            return
        # No name and no time inside: equal voxels make equal files, and a name may be a patient's.
        with _igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
            _put(cast(BinaryIO, stream), header, little)


def _put(file: BinaryIO, header: Any, voxels: Shaped[np.ndarray, "k j i"]) -> None:
    block = header.binaryblock
    file.write(block + bytes(int(header["vox_offset"]) - len(block)))
    file.write(voxels.reshape(-1).view(np.uint8).data)


def _like_source(block: bytes) -> Any:
    """Take over the place in space, field by field, and nothing else: other fields may name the patient."""
    kind = _Nifti1 if len(block) == _Nifti1.sizeof_hdr else _Nifti2
    old = kind(block, check=False).as_byteswapped("<")
    new = kind(endianness="<")
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "xyzt_units"):
        new[field] = old[field]
    for field in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        new[field] = old[field]
    new["pixdim"][:4] = old["pixdim"][:4]
    return _finished(new)


def _finished(header: Any) -> Any:
    header["vox_offset"] = header.sizeof_hdr + 4
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["descrip"] = b"napari-anomaly, for research use only"
    return header


def _anew(array_zyx: Num[np.ndarray, "z y x"], scan: Scan) -> tuple[Num[np.ndarray, "i j k"], Any]:
    """Lay out an array that did not come from NIfTI: its own axes if it has an affine, else columns first."""
    source, unit = scan.source, scan.geometry.unit
    if source.details.get("axes") != "zyx":
        affine, file_array = source.affine, source.to_file(array_zyx)
    elif unit == "mm":
        affine, file_array = scan.geometry.affine[:, [2, 1, 0, 3]], array_zyx.transpose(2, 1, 0)
    else:
        # Without q- and sform a reader takes i for left, j for front, k for head.
        affine, file_array = None, array_zyx.transpose(2, 1, 0)[:, ::-1]
    kind = _Nifti2 if max(file_array.shape) > np.iinfo(np.int16).max else _Nifti1
    header = kind(endianness="<")
    header.set_data_shape(file_array.shape)
    if affine is not None:
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner" if _right_angled(affine) else "unknown", strip_shears=True)
        header.set_xyzt_units("mm" if unit == "mm" else "unknown")
    return file_array, _finished(header)


def _right_angled(affine: Float64[np.ndarray, "4 4"]) -> bool:
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-5))


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _stream(path: Path) -> BinaryIO:
    return cast(BinaryIO, _igzip.open(path, "rb")) if _packed(path) else path.open("rb")


def _header(path: Path) -> _Header:
    head, image = _pair(path)
    try:
        with _stream(head) as file:
            start = file.read(540)
    except _BROKEN as error:
        raise _damaged(head, f"the compressed header breaks off or is damaged ({error})") from error
    fields = _fields(head, start)
    paired = fields["magic"].item()[:2] == b"ni"
    if paired and head == image:
        head, image = _pair(path, paired=True)
    shape = tuple(int(n) for n in fields.get_data_shape())
    if len(shape) < 3 or min(shape) < 1:
        raise UnreadableScan(
            f"{path.name} has the shape {shape}; a scan needs three positive lengths. "
            "Open the whole stack, not one image of it."
        )
    offset = _offset(path, fields, 0 if paired else fields.sizeof_hdr + 4)
    files = (head, image) if paired else (head,)
    return _Header(fields, files, image, shape, _dtype(path, fields), offset)


def _offset(path: Path, fields: Any, least: int) -> int:
    offset = float(fields["vox_offset"])
    if not np.isfinite(offset) or offset < 0:
        raise _damaged(path, f"its voxels are said to begin at byte {offset}")
    return max(int(offset), least)


def _pair(path: Path, *, paired: bool = False) -> tuple[Path, Path]:
    """Find header and image of a pair by the name of either one; a single file is both."""
    lower = path.name.lower()
    kind = next((kind for kind in (".hdr", ".img") if lower.endswith((kind, f"{kind}.gz"))), None)
    if kind is None:
        if paired:
            raise _damaged(path, "it says that it is one half of a .hdr/.img pair. Name both halves alike")
        return path, path
    if kind == ".hdr" and not paired:
        return path, path
    stem = path.name[: lower.rindex(kind)]
    wanted = ".img" if kind == ".hdr" else ".hdr"
    for suffix in (wanted, f"{wanted}.gz", wanted.upper(), f"{wanted.upper()}.gz"):
        other = path.with_name(stem + suffix)
        if other.exists():
            return (path, other) if kind == ".hdr" else (other, path)
    raise UnreadableScan(
        f"{path.name} is one half of a pair, and {stem}{wanted} is not beside it. Put both into one folder."
    )


def _fields(path: Path, start: bytes) -> Any:
    """Decode a header of either version and either byte order."""
    order = "<" if int.from_bytes(start[:4], "little") in (348, 540) else ">"
    size = int.from_bytes(start[:4], "little" if order == "<" else "big")
    kind = {348: _Nifti1, 540: _Nifti2}.get(size)
    if kind is None or len(start) < kind.sizeof_hdr:
        raise UnreadableScan(
            f"{path.name} does not begin with a NIfTI header ({len(start)} bytes read). "
            "Copy it again or convert it from its original."
        )
    fields = kind(start[: kind.sizeof_hdr], order, check=False)
    if fields["magic"].item()[:2] not in (b"n+", b"ni"):
        raise UnreadableScan(
            f"{path.name} is an ANALYZE 7.5 file, which does not say where left and right are. "
            "NIfTI is needed. Convert it with the program that made it."
        )
    if not 1 <= int(fields["dim"][0]) <= 7:
        raise _damaged(path, f"its header claims {int(fields['dim'][0])} axes")
    return fields


def _dtype(path: Path, fields: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = fields.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise _damaged(path, f"its header claims a type of voxel that does not exist: {error}") from error
    if dtype.kind == "V" and dtype.names is None:
        raise _damaged(path, f"its header claims a type of voxel that does not exist: {dtype}")
    if dtype.kind not in "iuf":
        found = (
            "colours (RGB)" if dtype.kind == "V" else "complex numbers" if dtype.kind == "c" else str(dtype)
        )
        raise UnreadableScan(
            f"{path.name} holds {found}; one real number per voxel is needed. "
            "Open the scan that the picture was made from, or convert it to grey values."
        )
    return dtype


def _voxels(header: _Header, volume: int) -> Num[np.ndarray, "i j k"]:
    """Read the numbers of one volume as they stand in the file."""
    size = math.prod(header.grid) * header.dtype.itemsize
    start = header.offset + volume * size
    on_disk = header.image.stat().st_size
    # Before memory is taken: a damaged header may claim any size.
    if start + size > on_disk * (_MOST_DEFLATE if _packed(header.image) else 1):
        raise _damaged(header.image, f"voxels need {start + size} bytes and the file has {on_disk}")
    bytes_read = np.empty(size, dtype=np.uint8)
    try:
        with _stream(header.image) as file:
            file.seek(start)
            found = _fill(file, bytes_read)
            # Asking for more makes the stream compare its checksum, if this was the end.
            file.read(1)
    except _BROKEN as error:
        raise _damaged(header.image, f"the compressed data break off or are damaged ({error})") from error
    if found < size:
        raise _damaged(header.image, f"{found} of {size} bytes of voxels are there")
    return bytes_read.view(header.dtype).reshape(header.grid, order="F")


def _fill(file: BinaryIO, target: np.ndarray) -> int:
    view, done = target.data, 0
    while done < len(view):
        got = file.readinto(view[done : done + _PIECE])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


def _scaled(array: Num[np.ndarray, "i j k"], fields: Any) -> Num[np.ndarray, "i j k"]:
    """Apply the header's slope and intercept; the type of the file stays where they do nothing."""
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if not np.isfinite(slope) or slope == 0 or (slope, inter) == (1.0, 0.0):
        return array
    wide = np.float32 if array.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported with what is not finite
        scaled = np.multiply(array, slope, dtype=wide)
        np.add(scaled, inter if np.isfinite(inter) else 0.0, out=scaled)
        result: Num[np.ndarray, "i j k"] = scaled.astype(np.float32, copy=False)
    return result


def _place(fields: Any, name: str) -> tuple[Float64[np.ndarray, "4 4"], Unit, tuple[str, ...]]:
    """Give affine, unit and what the user should know of them."""
    affine, notes = _affine(fields, name)
    code = int(fields["xyzt_units"]) & 7
    if code in _UNIT_IN_MM:
        scale = np.diag([_UNIT_IN_MM[code]] * 3 + [1.0])
        with np.errstate(over="ignore", invalid="ignore"):
            return checked_affine(scale @ affine), "mm", notes
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    oriented = int(fields["sform_code"]) > 0 or int(fields["qform_code"]) > 0
    # What programs write that know of no spacing: an identity matrix, or all ones.
    if np.array_equal(affine, np.eye(4)) or (not oriented and np.array_equal(spacing, np.ones(3))):
        told = "The file states no voxel size: lengths and volumes are counts of voxels, not millimetres."
        return affine, "voxel", (*notes, told)
    return (
        affine,
        "mm",
        (*notes, "The file states no unit of length: millimetres, the convention of NIfTI, are assumed."),
    )


def _affine(fields: Any, name: str) -> tuple[Float64[np.ndarray, "4 4"], tuple[str, ...]]:
    """Give the sform, else the qform, else the plain spacing, as the standard ranks them."""
    wrong: list[str] = []
    for form in ("sform", "qform"):
        if int(fields[f"{form}_code"]) <= 0:
            continue
        try:
            affine = checked_affine(fields.get_sform() if form == "sform" else fields.get_qform())
        except (BadGeometry, HeaderDataError) as error:
            wrong.append(f"{form}: {error}")
            continue
        return affine, tuple(f"A damaged orientation was passed over, the {text}" for text in wrong)
    if wrong:
        raise BadGeometry(f"{name} has no usable orientation; {' '.join(wrong)}")
    note = "The file states no orientation: left and right may be exchanged."
    pixdim = np.asarray(fields["pixdim"][1:4], dtype=np.float64)
    if not np.all(np.isfinite(pixdim)) or not np.all(pixdim > 0):
        plain = fields.copy()
        plain["pixdim"][1:4] = 1.0
        plain["xyzt_units"] = fields["xyzt_units"] = 0
        return checked_affine(plain.get_base_affine()), (note,)
    return checked_affine(fields.get_base_affine()), (note,)


def _damaged(path: Path, found: str) -> UnreadableScan:
    return UnreadableScan(f"{path.name} is damaged: {found}. Copy it again from its original.")
