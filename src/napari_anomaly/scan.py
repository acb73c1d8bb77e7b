"""A scan: voxels, where they lie, and where they came from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64, Num, Shaped

from napari_anomaly.errors import GridMismatch, UnreadableScan
from napari_anomaly.geometry import Flips, Geometry, Order, Unit, checked_affine, index_matrix, reorder

__all__ = ["Format", "Scan", "Source", "frozen_array", "hash_array"]

Format: TypeAlias = Literal["nifti", "tiff", "dicom", "itk", "array"]

_HASH_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a scan came from, and how its axes were brought to (z, y, x).

    ``array_zyx == np.flip(file_array.transpose(order), axes where flips)``.

    Parameters
    ----------
    path
        The file; None for an array that never was one.
    format
        Kind of file.
    shape
        Number of voxels along the axes of the file, in its own order: (i, j, k) as nibabel gives them for
        NIfTI, (plane, row, column) for TIFF.
    affine
        4 x 4, from file index to RAS+ millimetres.
    order, flips
        See `napari_anomaly.geometry.reorder`.
    details
        What a writer needs to undo the reading: header bytes, q/sform codes, TIFF axes; and ``"notes"``, see
        `Scan.notes`.
    """

    path: Path | None
    format: Format
    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]
    order: Order
    flips: Flips
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_array(self, file_array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "z y x"]:
        """Bring an array from the order of the file to (z, y, x), C order."""
        self._check(file_array.shape, self.shape)
        turned = np.flip(file_array.transpose(self.order), self._flipped_axes)
        return np.ascontiguousarray(turned)

    def to_file(self, array_zyx: Shaped[np.ndarray, "z y x"]) -> Shaped[np.ndarray, "i j k"]:
        """Bring an array from (z, y, x) to the order of the file: a view, the exact inverse of `to_array`.

        Raises
        ------
        GridMismatch
            If the array does not have the shape of the scan.
        """
        n = self.shape
        self._check(array_zyx.shape, (n[self.order[0]], n[self.order[1]], n[self.order[2]]))
        return np.flip(array_zyx, self._flipped_axes).transpose(np.argsort(self.order))

    def index_to_file(self, index_zyx: Num[np.ndarray, "*points 3"]) -> Num[np.ndarray, "*points 3"]:
        """Bring indices (z, y, x) to indices in the order of the file; whole numbers stay whole."""
        index = np.asarray(index_zyx)
        matrix = index_matrix(self.shape, self.order, self.flips)
        if np.issubdtype(index.dtype, np.integer):
            matrix = matrix.astype(np.int64)
        moved: Num[np.ndarray, "*points 3"] = index @ matrix[:3, :3].T + matrix[:3, 3]
        return moved

    def geometry(self, unit: Unit = "mm") -> Geometry:
        """Give the geometry of the array (z, y, x)."""
        n = self.shape
        shape = (n[self.order[0]], n[self.order[1]], n[self.order[2]])
        return Geometry(shape, self.affine @ index_matrix(self.shape, self.order, self.flips), unit)

    @property
    def _flipped_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)

    def _check(self, found: tuple[int, ...], needed: tuple[int, ...]) -> None:
        if tuple(found) != tuple(needed):
            raise GridMismatch(
                f"The array has shape {tuple(found)}; the scan's grid has {tuple(needed)}. "
                "Use an array on the grid of the scan."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One 3D image with its geometry and where it came from.

    Parameters
    ----------
    voxels
        Numbers, (z, y, x), read-only; may be a memory map.
    geometry
        Where they lie.
    source
        Where they came from.
    name
        For people and for the names of results: the file's name without its suffix.
    modality
        ``"FLAIR"``, ``"T1"``, ``"CT"``, ... where it is known.

    Raises
    ------
    GridMismatch
        If the voxels do not have the shape of the geometry.
    UnreadableScan
        If the voxels are not real numbers.
    """

    voxels: Num[np.ndarray, "z y x"]
    geometry: Geometry
    source: Source
    name: str
    modality: str | None = None
    _sha256: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.voxels.dtype.kind not in "iuf":
            raise UnreadableScan(
                f"The voxels are of type {self.voxels.dtype}; one real number per voxel is needed. "
                "Convert the scan to a greyscale one."
            )
        if self.voxels.shape != self.geometry.shape:
            raise GridMismatch(
                f"The voxels have shape {self.voxels.shape} and the geometry {self.geometry.shape}; "
                "they must agree."
            )
        object.__setattr__(self, "voxels", frozen_array(self.voxels))

    @classmethod
    def from_array(
        cls,
        voxels: Shaped[np.ndarray, "z y x"],
        *,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        affine: Num[np.ndarray, "4 4"] | None = None,
        name: str = "array",
        unit: Unit = "mm",
    ) -> "Scan":
        """Make a scan from an array.

        Parameters
        ----------
        voxels
            Numbers or booleans. Without `affine`, axes (z, y, x) that point superior, posterior and left;
            with it, axes as the affine says: they are brought to that order.
        spacing
            Distance between voxels along z, y and x; ignored when `affine` is given.
        affine
            4 x 4, from array index to RAS+ millimetres.
        name, unit
            See `Scan` and `Geometry`.

        Raises
        ------
        BadGeometry
            If spacing or affine cannot place the array in space.
        UnreadableScan
            If the voxels are not real numbers.
        """
        array = np.asarray(voxels)
        if array.ndim != 3:
            raise UnreadableScan(
                f"The array has {array.ndim} axes; three (z, y, x) are needed. Choose one volume."
            )
        array = array.astype(np.uint8) if array.dtype == np.bool_ else array
        shape = (array.shape[0], array.shape[1], array.shape[2])
        order: Order = (0, 1, 2)
        flips: Flips = (False, False, False)
        if affine is None:
            matrix = Geometry.from_spacing(shape, spacing, unit=unit).affine
        else:
            matrix = checked_affine(affine)
            order, flips = reorder(matrix)
        details = {} if affine is not None else {"axes": "zyx"}
        source = Source(None, "array", shape, matrix, order, flips, details)
        return cls(source.to_array(array), source.geometry(unit), source, name)

    @property
    def sha256(self) -> str:
        """Fingerprint of voxels and affine, as 64 hexadecimal digits; computed once."""
        if not self._sha256:
            self._sha256.append(hash_array(self.voxels, self.geometry.affine))
        return self._sha256[0]

    @property
    def oriented(self) -> bool:
        """Whether the file says which side of the patient is which: a TIFF stack, or one without a unit, does not."""
        return self.geometry.unit == "mm" and self.source.format != "tiff"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the file was read, in sentences: odd voxels, a missing unit."""
        return tuple(self.source.details.get("notes", ()))


def frozen_array(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Give a read-only, C-ordered view of an array; it is copied only if its order is another."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def hash_array(*arrays: Shaped[np.ndarray, "..."]) -> str:
    """Give the SHA-256 of types, shapes and bytes of arrays, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, flat.size, _HASH_BLOCK):
            digest.update(flat[start : start + _HASH_BLOCK].data)
    return digest.hexdigest()
