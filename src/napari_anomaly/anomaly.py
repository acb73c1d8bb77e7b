"""The anomaly map: how unusual every voxel is, on the scan's own grid.

A calibrated score is the share of voxels of held-out normal scans that score lower, 0 to 1. People set
thresholds on its tail, where .99, .999 and .9999 are steps of the same size; so sliders and interpolation
work in *decades*, ``-log10(1 - score)``, in which these are 2, 3 and 4.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Shaped, UInt16

from napari_anomaly.anatomy import Anatomy
from napari_anomaly.errors import GridMismatch
from napari_anomaly.geometry import Geometry
from napari_anomaly.scan import frozen_array, hash_array

__all__ = ["MAX_DECADES", "AnomalyMap", "FalseFindings", "Supervoxels", "from_decades", "to_decades"]

MAX_DECADES = 5.0
"""Top of the slider's scale: no more than one normal voxel in 100,000 scores as high."""


def to_decades(score: Float[np.ndarray, "..."] | np.floating[Any] | float) -> Float[np.ndarray, "..."]:
    """Turn calibrated scores into decades, ``-log10(1 - score)``, clipped to 0..5: 0.999 becomes 3.

    Parameters
    ----------
    score
        Any shape; float32 stays float32.
    """
    values = np.asarray(score)
    rest = np.clip(1.0 - values, 10.0**-MAX_DECADES, 1.0)
    # 0 - x instead of -x: a score of 0 must not become minus zero.
    return np.asarray(0.0 - np.log10(rest)).astype(values.dtype if values.dtype.kind == "f" else np.float64)


def from_decades(decades: float) -> float:
    """Turn a place on the slider's scale into a calibrated score, ``1 - 10 ** -decades``: 3 becomes 0.999."""
    return float(1.0 - 10.0 ** -min(max(float(decades), 0.0), MAX_DECADES))


@dataclass(frozen=True, slots=True)
class FalseFindings:
    """How many findings a detector makes on normal scans, by threshold and smallest volume.

    Parameters
    ----------
    thresholds
        Calibrated scores, rising.
    volumes_mm3
        Smallest volumes of a finding, rising, in mm3.
    per_scan
        Mean count of findings per held-out normal scan: one row per threshold, one column per volume.

    Raises
    ------
    ValueError
        If the table does not have these rows and columns, or they do not rise.
    """

    thresholds: tuple[float, ...]
    volumes_mm3: tuple[float, ...]
    per_scan: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for name, values in (("thresholds", self.thresholds), ("volumes_mm3", self.volumes_mm3)):
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"{name} must be one or more rising numbers, got {values}")
        widths = {len(row) for row in self.per_scan}
        if len(self.per_scan) != len(self.thresholds) or widths != {len(self.volumes_mm3)}:
            raise ValueError(
                f"per_scan must have {len(self.thresholds)} rows of {len(self.volumes_mm3)}, "
                f"got {len(self.per_scan)} rows of {sorted(widths)}"
            )

    def expected(self, threshold: float, min_volume_mm3: float) -> float:
        """Give the expected number of findings per normal scan, which are all false.

        Linear in decades of the threshold and in volume; beyond the table its edge is given.

        Parameters
        ----------
        threshold
            Calibrated score.
        min_volume_mm3
            Smallest finding that counts, in mm3.
        """
        decades = [float(to_decades(t)) for t in self.thresholds]
        row, row_weight = _bracket(decades, float(to_decades(float(threshold))))
        column, column_weight = _bracket(self.volumes_mm3, float(min_volume_mm3))
        below, above = (
            _between(self.per_scan[r], column, column_weight) for r in (row, min(row + 1, len(decades) - 1))
        )
        return below + row_weight * (above - below)


def _bracket(knots: Sequence[float], value: float) -> tuple[int, float]:
    """Give the knot at or below a value and the share of the way to the next one."""
    if value <= knots[0]:
        return 0, 0.0
    if value >= knots[-1]:
        return len(knots) - 1, 0.0
    left = bisect_right(knots, value) - 1
    return left, (value - knots[left]) / (knots[left + 1] - knots[left])


def _between(row: Sequence[float], column: int, weight: float) -> float:
    right = row[min(column + 1, len(row) - 1)]
    return row[column] + weight * (right - row[column])


@dataclass(frozen=True, slots=True, eq=False)
class AnomalyMap:
    """One calibrated score per voxel, with what is needed to read it.

    Parameters
    ----------
    score
        Share of normal voxels that score lower, 0 to 1; 0 outside of what was looked at.
    geometry
        The scan's own.
    scan_score
        Share of normal scans that are less unusual than this one, 0 to 1.
    detector, detector_sha256
        What made the map.
    default_threshold
        Calibrated score above which the detector proposes findings.
    default_min_volume_mm3
        Smallest finding that the detector proposes, in mm3.
    false_findings
        What to expect on normal scans; None where it was not measured.
    raw
        Uncalibrated scores: they tell voxels apart that share a calibrated score.
    anatomy
        What lies where in the scan, so that findings can say it; None where it is not known.
    hysteresis
        How far below the threshold findings extend, in decades, as the detector proposes it.
    least
        Decades of the lower of two looks, at the scan and at its mirror image: what reaches a threshold here was
        found twice; None where there was one look.

    Raises
    ------
    GridMismatch
        If an array does not have the shape of the geometry.
    ValueError
        If scores are not within 0..1.
    """

    score: Float32[np.ndarray, "z y x"]
    geometry: Geometry
    scan_score: float
    detector: str
    detector_sha256: str
    default_threshold: float
    default_min_volume_mm3: float
    false_findings: FalseFindings | None = None
    raw: Float[np.ndarray, "_ _ _"] | None = None
    anatomy: Anatomy | None = None
    hysteresis: float = 0.0
    least: Float[np.ndarray, "_ _ _"] | None = None
    _sha256: list[str] = field(default_factory=list, init=False, repr=False)
    _snapped: list[tuple["Supervoxels", Float64[np.ndarray, " ids"]]] = field(
        default_factory=list, init=False, repr=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", _on_grid(self.score, self.geometry, "score"))
        if self.raw is not None:
            object.__setattr__(self, "raw", _on_grid(self.raw, self.geometry, "raw score"))
        if self.least is not None:
            object.__setattr__(self, "least", _on_grid(self.least, self.geometry, "lower of two looks"))
        if self.anatomy is not None:
            _on_grid(self.anatomy.labels, self.geometry, "anatomy")
        low, high = float(self.score.min()), float(self.score.max())
        # Written so that a NaN fails too.
        if not (low >= 0.0 and high <= 1.0):
            raise ValueError(f"Calibrated scores must lie within 0..1, got {low} to {high}")

    @property
    def sha256(self) -> str:
        """Fingerprint of scores and affine, as 64 hexadecimal digits; computed once."""
        if not self._sha256:
            self._sha256.append(hash_array(self.score, self.geometry.affine))
        return self._sha256[0]

    def supervoxel_decades(self, supervoxels: "Supervoxels") -> Float64[np.ndarray, " ids"]:
        """Give the mean score, in decades, of every supervoxel; entry 0 stands for "none".

        The last answer is kept, because a threshold that moves asks again and again.

        Raises
        ------
        GridMismatch
            If the supervoxels lie on another grid.
        """
        if not self._snapped or self._snapped[0][0] is not supervoxels:
            self._snapped[:] = [(supervoxels, _mean_decades(self.score, supervoxels.ids))]
        return self._snapped[0][1]


def _mean_decades(
    score: Float32[np.ndarray, "z y x"], ids: UInt16[np.ndarray, "_ _ _"]
) -> Float64[np.ndarray, " ids"]:
    if ids.shape != score.shape:
        raise GridMismatch(
            f"The supervoxels have shape {ids.shape} and the map {score.shape}; they must agree. "
            "Run the detector again on this scan."
        )
    labels = ids.reshape(-1)
    places = np.flatnonzero(score)
    counts = np.bincount(labels)
    decades = to_decades(score.reshape(-1)[places])
    return np.bincount(labels[places], decades, minlength=counts.size) / np.maximum(counts, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Supervoxels:
    """An over-segmentation of a scan, and the proxy (superpixel image) made from it.

    Parameters
    ----------
    ids
        Number of the supervoxel, from 1; 0 where there is none.
    image
        Mean intensity of the supervoxel, in the scan's own units.
    geometry
        The scan's own.

    Raises
    ------
    GridMismatch
        If an array does not have the shape of the geometry.
    """

    ids: UInt16[np.ndarray, "_ _ _"]
    image: Float32[np.ndarray, "_ _ _"]
    geometry: Geometry

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _on_grid(self.ids, self.geometry, "supervoxel ids"))
        object.__setattr__(self, "image", _on_grid(self.image, self.geometry, "proxy"))


def _on_grid(array: Shaped[np.ndarray, "..."], geometry: Geometry, what: str) -> Shaped[np.ndarray, "..."]:
    if array.shape != geometry.shape:
        raise GridMismatch(
            f"The {what} has shape {array.shape} and the scan's grid {geometry.shape}; they must agree."
        )
    return frozen_array(array)
