"""Where a detector draws its line: calibration, default threshold and smallest finding, from held-out normals only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cc3d
import numpy as np

from napari_anomaly.anomaly import FalseFindings, from_decades, to_decades
from napari_anomaly.detector.calibration import Calibration, calibrate, fit_calibration, scan_raw_score
from napari_anomaly.detector.detect import smooth

VOLUMES_MM3 = (0.0, 10.0, 30.0, 60.0, 100.0, 200.0, 500.0)
"""Smallest findings for which false findings are counted."""

THRESHOLDS = tuple(round(from_decades(d), 8) for d in np.arange(1.5, 5.01, 0.25))
"""Calibrated scores for which false findings are counted."""

SMALLEST_MM3 = 30.0
"""Smallest finding of the default, a ball of 4 mm: a larger one hides lesions that readers look for."""

MOST_FALSE = 1.0
"""The default makes no more false findings than this per held-out normal scan."""

WORKERS = 4

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Trial:
    """Scores of one held-out scan, normal or painted, for one way to use the networks, cut to the brain's box."""

    contrast: str
    inside: np.ndarray
    raw: np.ndarray
    truth: np.ndarray

    def smoothed(self, sigma_mm: float) -> np.ndarray:
        """Raw scores as a detection smooths them, float32, (z, y, x)."""
        return smooth(self.raw.astype(np.float32), sigma_mm)


def side_by_side(
    measure: Callable[[Trial, float], _Result], trials: Sequence[Trial], sigma_mm: float
) -> list[_Result]:
    """Measure trials on several cores; sorting and labelling let other threads run."""
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(lambda trial: measure(trial, sigma_mm), trials))


def operating_point(
    normal: Sequence[Trial], painted: Sequence[Trial], sigma_mm: float
) -> tuple[Calibration, float]:
    """Calibrate on normal scans, and take the lowest threshold that keeps them quiet.

    Parameters
    ----------
    normal, painted : sequence of Trial
        The same held-out scans, plain and painted.
    sigma_mm : float
        Smoothing of the scores.

    Returns
    -------
    Calibration
        With its defaults and the table of false findings.
    float
        Mean Dice on painted scans at the defaults.
    """
    values = side_by_side(lambda trial, sigma: trial.smoothed(sigma)[trial.inside], normal, sigma_mm)
    raw, decades = fit_calibration(values)
    plain = Calibration(
        raw=raw,
        decades=decades,
        scan_raw=tuple(sorted(scan_raw_score(scan) for scan in values)),
        default_threshold=0.999,
        default_min_volume_mm3=SMALLEST_MM3,
        normals=len(normal),
    )
    counts = np.mean(side_by_side(lambda trial, s: _false(trial, s, plain), normal, sigma_mm), axis=0)
    dice = np.zeros(counts.shape)
    if painted:
        dice = np.mean(side_by_side(lambda trial, s: _dice(trial, s, plain), painted, sigma_mm), axis=0)
    table = FalseFindings(
        THRESHOLDS, VOLUMES_MM3, tuple(tuple(float(count) for count in line) for line in counts)
    )
    at = quiet_threshold(table)
    column = VOLUMES_MM3.index(SMALLEST_MM3)
    reached = float(np.interp(to_decades(at), to_decades(np.array(THRESHOLDS)), dice[:, column]))
    return plain.model_copy(update={"default_threshold": at, "false_findings": table}), reached


def quiet_threshold(table: FalseFindings, smallest_mm3: float = SMALLEST_MM3) -> float:
    """Give the lowest threshold that makes no more than `MOST_FALSE` false findings, linear between those counted.

    Where none is quiet, the highest that was counted is given.
    """
    decades = [float(to_decades(threshold)) for threshold in table.thresholds]
    counts = [table.expected(threshold, smallest_mm3) for threshold in table.thresholds]
    loud = [row for row, count in enumerate(counts) if count > MOST_FALSE]
    if not loud:
        return table.thresholds[0]
    last = loud[-1]
    if last + 1 == len(counts):
        return table.thresholds[-1]
    share = (counts[last] - MOST_FALSE) / (counts[last] - counts[last + 1])
    return round(from_decades(decades[last] + share * (decades[last + 1] - decades[last])), 8)


def _components(
    trial: Trial, sigma_mm: float, calibration: Calibration
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and their sizes at every threshold."""
    calibrated = np.where(trial.inside, calibrate(trial.smoothed(sigma_mm), calibration), 0)
    result = []
    for threshold in THRESHOLDS:
        labels = cc3d.connected_components(calibrated >= threshold, connectivity=26)
        result.append((labels, np.bincount(labels.ravel())))
    return result


def _false(trial: Trial, sigma_mm: float, calibration: Calibration) -> np.ndarray:
    return np.array(
        [
            [(sizes[1:] >= max(1, volume)).sum() for volume in VOLUMES_MM3]
            for _, sizes in _components(trial, sigma_mm, calibration)
        ],
        float,
    )


def _dice(trial: Trial, sigma_mm: float, calibration: Calibration) -> np.ndarray:
    rows = np.zeros((len(THRESHOLDS), len(VOLUMES_MM3)))
    wanted = int(trial.truth.sum())
    for row, (labels, sizes) in enumerate(_components(trial, sigma_mm, calibration)):
        hits = np.bincount(labels[trial.truth], minlength=len(sizes))
        for column, volume in enumerate(VOLUMES_MM3):
            kept = sizes >= max(1, volume)
            kept[0] = False
            rows[row, column] = 2 * hits[kept].sum() / max(1, sizes[kept].sum() + wanted)
    return rows
