"""What a score means: shares of normal voxels and of normal scans, learned from held-out normals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32
from pydantic import BaseModel, ConfigDict

from napari_anomaly.anomaly import FalseFindings, to_decades

DECADES = (
    0.0,
    0.01,
    0.05,
    0.1,
    0.15,
    0.25,
    0.3,
    *np.arange(0.5, 2, 0.25).tolist(),
    *np.arange(2, 6.01, 0.125).tolist(),
)
"""Places, -log10(1 - share), at which the distribution of normal voxels is kept."""

TOP = 6.9
"""Highest score in decades that float32 can still tell from 1."""


ANY = "any"
"""Names the calibration on all normal scans, which serves contrasts that have none of their own."""


class Calibration(BaseModel):
    """Distribution of raw scores on held-out normal scans."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: tuple[float, ...]
    """Raw score below which a share of the normal voxels lies, rising."""
    decades: tuple[float, ...]
    """That share, as -log10(1 - share), rising."""
    scan_raw: tuple[float, ...]
    """Raw scan scores of the normal scans, rising."""
    default_threshold: float
    default_min_volume_mm3: float
    hysteresis: float = 0.0
    """How far below the threshold findings extend, in decades."""
    even: float | None = None
    """Raw score of even odds, from which outlines follow, see `detector.outlines`; None: findings keep their halo."""
    false_findings: FalseFindings | None = None
    normals: int = 0
    """Number of normal scans behind the figures."""


def of_contrast(calibrations: Mapping[str, Calibration], contrast: str) -> Calibration:
    """Calibration on normal scans of a contrast, or on all where there are too few.

    Parameters
    ----------
    calibrations : mapping of str to Calibration
        By contrast; `ANY` is always there.
    contrast : str
        What the network takes the scan for.
    """
    return calibrations.get(contrast, calibrations[ANY])


def fit_calibration(
    samples: Sequence[Float32[np.ndarray, " _"]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Raw scores at fixed shares of the voxels of normal scans; every voxel counts the same.

    Parameters
    ----------
    samples : sequence of ndarray
        Raw scores of the voxels that were looked at, one array a scan.

    Returns
    -------
    raw, decades : tuple of float
        Knots of the curve, both rising; the curve ends where less than five voxels support it.
    """
    pooled = np.sort(np.concatenate(samples))
    most = np.log10(len(pooled) / 5)
    decades = [d for d in DECADES if d <= most]
    raw = np.quantile(pooled, [1 - 10.0**-d for d in decades], method="linear")
    rising = np.maximum.accumulate(raw + np.arange(len(raw)) * 1e-6)
    return tuple(float(v) for v in rising), tuple(decades)


def in_voxels_of(calibration: Calibration, spacing_mm: float) -> Calibration:
    """Give a calibration that was counted in voxels of 1 mm for voxels of another side: volumes grow with its cube.

    Parameters
    ----------
    calibration : Calibration
        From held-out normals, volumes in voxels.
    spacing_mm : float
        Side of the voxels in mm.
    """
    volume = spacing_mm**3
    if volume == 1:
        return calibration
    table = calibration.false_findings
    grown = table and replace(table, volumes_mm3=tuple(each * volume for each in table.volumes_mm3))
    smallest = calibration.default_min_volume_mm3 * volume
    return calibration.model_copy(update={"default_min_volume_mm3": smallest, "false_findings": grown})


def calibrate(raw: Float[np.ndarray, "..."], calibration: Calibration) -> Float32[np.ndarray, "..."]:
    """Turn raw scores into calibrated scores: the share of normal voxels that score lower.

    Parameters
    ----------
    raw : ndarray
        Raw scores (logits).
    calibration : Calibration
        From held-out normals.

    Notes
    -----
    Beyond the highest score that enough normal voxels reached, the scale goes on, ever slower, so that higher raw
    scores still rank higher.
    """
    knots, decades = np.asarray(calibration.raw), np.asarray(calibration.decades)
    within = np.interp(raw, knots, decades)
    beyond = np.maximum(raw - knots[-1], 0)
    room = TOP - decades[-1]
    spread = max(1.0, (knots[-1] - knots[0]) / 4)
    total = within + room * (1 - np.exp(-beyond / spread))
    return np.asarray(1 - 10.0**-total, np.float32)


def score_map(
    raw: Float[np.ndarray, "z y x"], looked_at: Bool[np.ndarray, "z y x"], calibration: Calibration
) -> Float32[np.ndarray, "z y x"]:
    """Calibrated scores of a grid, for an anomaly map: 0 where nobody has looked, and nowhere else.

    Parameters
    ----------
    raw : ndarray
        Raw scores, smoothed.
    looked_at : ndarray
        Which voxels the detector has looked at.
    calibration : Calibration
        From held-out normals.
    """
    score = np.zeros(raw.shape, np.float32)
    score[looked_at] = np.maximum(calibrate(raw[looked_at], calibration), 1e-6)
    return score


def decades_map(
    raw: Float[np.ndarray, "z y x"], looked_at: Bool[np.ndarray, "z y x"], calibration: Calibration
) -> Float16[np.ndarray, "z y x"]:
    """Calibrated scores of a grid in decades, see `napari_anomaly.anomaly.to_decades`; parameters as `score_map`."""
    decades = np.zeros(raw.shape, np.float16)
    decades[looked_at] = to_decades(calibrate(raw[looked_at], calibration))
    return decades


def scan_raw_score(raw: Float[np.ndarray, " voxels"], share: float = 5e-4) -> float:
    """Raw scan score: mean of the highest voxels, a fixed share of all that were looked at.

    Parameters
    ----------
    raw : ndarray
        Raw scores of the voxels that were looked at.
    share : float, default 5e-4
        Share of voxels; .05 % of a brain is 0.7 ml.
    """
    count = max(1, int(len(raw) * share))
    return float(np.partition(raw, -count)[-count:].mean()) if len(raw) else -np.inf


def calibrate_scan(raw: float, calibration: Calibration) -> float:
    """Share of normal scans that are less unusual, 0 to 1.

    Parameters
    ----------
    raw : float
        Raw scan score.
    calibration : Calibration
        From held-out normals.

    Notes
    -----
    A logistic curve through the median and the quartiles of the normal scans: a few dozen scans say nothing
    of the far tail, and a step function would tie every patient with every other.
    """
    normals = np.asarray(calibration.scan_raw)
    if not len(normals):
        return 0.5
    low, middle, high = np.quantile(normals, [0.25, 0.5, 0.75])
    width = max((high - low) / 2.197, 1e-3)
    return float(1 / (1 + np.exp(-np.clip((raw - middle) / width, -40, 40))))
