"""Where voxels lie: shape and affine, millimetres and indices, and the order of axes.

Arrays of this package are indexed ``(z, y, x)``, with axes that point superior, posterior and left (S, P, L),
so that a plain slice shows in radiological convention. World coordinates are RAS+ millimetres, as in NIfTI:
they grow towards the patient's right, front and head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Num

from napari_anomaly.errors import BadGeometry

__all__ = ["Flips", "Geometry", "Order", "Unit", "checked_affine", "index_matrix", "reorder"]

Unit: TypeAlias = Literal["mm", "voxel"]
Order: TypeAlias = tuple[int, int, int]
Flips: TypeAlias = tuple[bool, bool, bool]

# Row of the RAS+ world, and sign along it, towards which the array axes z, y, x point: S, P, L.
_TARGET_ROW = (2, 1, 0)
_TARGET_SIGN = (1, -1, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """The place of a voxel grid in the world; it holds no voxels.

    Parameters
    ----------
    shape
        Number of voxels along z, y and x.
    affine
        4 x 4, from array index (z, y, x, 1) to RAS+ millimetres; a copy is kept, read-only.
    unit
        ``"mm"``, or ``"voxel"`` where the file does not say how large a voxel is: lengths are then counts of
        voxels.

    Raises
    ------
    BadGeometry
        If a length is not positive, or the affine is not finite, not 4 x 4 or not invertible.
    """

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        affine = checked_affine(self.affine)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", _checked_shape(self.shape))

    @classmethod
    def from_spacing(cls, shape: Sequence[int], spacing: Sequence[float], *, unit: Unit = "mm") -> "Geometry":
        """Build a geometry with axes exactly S, P, L, centred on the world's origin.

        Parameters
        ----------
        shape
            Number of voxels along z, y and x.
        spacing
            Distance between voxel centres along z, y and x, in `unit`.
        unit
            See `Geometry`.

        Raises
        ------
        BadGeometry
            If a spacing is not finite and positive, or a length is not positive.
        """
        steps = np.asarray(spacing, dtype=np.float64)
        if steps.shape != (3,) or not np.all(np.isfinite(steps)) or not np.all(steps > 0):
            raise BadGeometry(
                f"The spacing is {tuple(spacing)}; three positive numbers (z, y, x) are needed. "
                "Correct the spacing in the file or in the call."
            )
        affine = np.eye(4)
        affine[:3, :3] = 0.0
        for axis, (row, sign) in enumerate(zip(_TARGET_ROW, _TARGET_SIGN, strict=True)):
            affine[row, axis] = sign * steps[axis]
        centre = (np.asarray(_checked_shape(shape)) - 1) / 2
        affine[:3, 3] = -affine[:3, :3] @ centre
        return cls(_checked_shape(shape), affine, unit)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along z, y and x, in `unit`."""
        sz, sy, sx = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sz), float(sy), float(sx)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3 (1 where `unit` is ``"voxel"``)."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def obliquity(self) -> float:
        """Largest angle, in degrees, between an axis of the array and the nearest axis of the world."""
        cosines = np.abs(_directions(self.affine)).max(axis=0)
        return float(np.degrees(np.arccos(np.clip(cosines.min(), -1.0, 1.0))))

    def index_to_mm(self, index: Num[np.ndarray, "*points 3"]) -> Float64[np.ndarray, "*points 3"]:
        """Bring indices (z, y, x) to RAS+ millimetres; whole numbers are voxel centres."""
        return _moved(self.affine, np.asarray(index, dtype=np.float64))

    def mm_to_index(self, mm: Num[np.ndarray, "*points 3"]) -> Float64[np.ndarray, "*points 3"]:
        """Bring RAS+ millimetres to (fractional) indices (z, y, x)."""
        return _moved(np.linalg.inv(self.affine), np.asarray(mm, dtype=np.float64))

    def same_grid(self, other: "Geometry", *, tolerance_mm: float = 1e-3) -> bool:
        """Tell whether every voxel of the two grids lies at the same place.

        Parameters
        ----------
        other
            The grid to compare with.
        tolerance_mm
            How far corner voxels may lie apart, in mm.
        """
        if self.shape != other.shape or self.unit != other.unit:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1)
        apart = np.linalg.norm(self.index_to_mm(corners) - other.index_to_mm(corners), axis=-1)
        return bool(apart.max() <= tolerance_mm)


def reorder(affine: Float[np.ndarray, "4 4"]) -> tuple[Order, Flips]:
    """Find the transpose and the flips that bring a file's axes to S, P, L.

    Of the 48 possible ones it is the one whose axes lie nearest to the world's, so nothing is resampled: for
    an array in file order, ``np.flip(array.transpose(order), axes where flips)`` is the array ``(z, y, x)``.

    Parameters
    ----------
    affine
        4 x 4, from file index (i, j, k, 1) to RAS+ millimetres.

    Returns
    -------
    order
        For z, y and x: which axis of the file it is.
    flips
        For z, y and x: whether it runs against that axis.

    Raises
    ------
    BadGeometry
        If the affine is not finite, not 4 x 4 or not invertible.
    """
    # The nearest rotation first: under shear, plain cosines could give two file axes to one world axis.
    left, _, right = np.linalg.svd(_directions(checked_affine(affine)))
    turn = left @ right
    order = max(
        permutations(range(3)),
        key=lambda p: sum(abs(turn[r, a]) for r, a in zip(_TARGET_ROW, p, strict=True)),
    )
    signs = zip(_TARGET_ROW, _TARGET_SIGN, order, strict=True)
    sz, sy, sx = (bool(turn[row, axis] * sign < 0) for row, sign, axis in signs)
    return (order[0], order[1], order[2]), (sz, sy, sx)


def index_matrix(shape: Sequence[int], order: Order, flips: Flips) -> Float64[np.ndarray, "4 4"]:
    """Give the matrix from array index (z, y, x, 1) to file index (i, j, k, 1).

    Parameters
    ----------
    shape
        Number of voxels along the axes of the file.
    order, flips
        As `reorder` gives them.
    """
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[source, axis] = -1.0 if flip else 1.0
        matrix[source, 3] = shape[source] - 1 if flip else 0
    return matrix


def checked_affine(affine: Num[np.ndarray, "..."]) -> Float64[np.ndarray, "4 4"]:
    """Copy an affine as float64, or say why it cannot place a scan in space.

    Raises
    ------
    BadGeometry
        If it is not 4 x 4, not finite, or not invertible.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise BadGeometry(f"The affine has shape {matrix.shape}; 4 x 4 is needed.")
    if not np.all(np.isfinite(matrix)):
        raise BadGeometry(
            "The affine holds numbers that are not finite, so the scan has no place in space. "
            "Convert the scan again from its original, or set its orientation."
        )
    # The largest number first: squares of huge or tiny lengths leave the range of floating-point numbers.
    largest = np.abs(matrix[:3, :3]).max() or 1.0
    lengths = np.linalg.norm(matrix[:3, :3] / largest, axis=0) * largest
    if not np.all(lengths > 0) or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise BadGeometry(
            f"The affine is singular (voxel sizes {lengths.round(6).tolist()}): a voxel has no volume. "
            "Convert the scan again from its original, or set its orientation."
        )
    return matrix


def _moved(
    matrix: Float64[np.ndarray, "4 4"], points: Float64[np.ndarray, "*points 3"]
) -> Float64[np.ndarray, "*points 3"]:
    moved: Float64[np.ndarray, "*points 3"] = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def _checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    lengths = tuple(int(n) for n in shape)
    if len(lengths) != 3 or min(lengths) < 1:
        raise BadGeometry(f"The shape is {lengths}; three positive lengths (z, y, x) are needed.")
    return lengths[0], lengths[1], lengths[2]


def _directions(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3 3"]:
    columns: Float64[np.ndarray, "3 3"] = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return columns
