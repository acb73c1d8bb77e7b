"""Where a detector draws its line: calibration, threshold and extent of findings, from held-out normals only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from napari_anomaly.anomaly import FalseFindings, from_decades, to_decades
from napari_anomaly.detector.calibration import Calibration, calibrate, fit_calibration, scan_raw_score
from napari_anomaly.detector.detect import smooth
from napari_anomaly.detector.outlines import outlined
from napari_anomaly.findings import held

VOLUMES_MM3 = (0.0, 10.0, 30.0, 60.0, 100.0, 200.0, 500.0)
"""Smallest findings for which false findings are counted."""

THRESHOLDS = tuple(round(from_decades(d), 8) for d in np.arange(1.5, 5.01, 0.25))
"""Calibrated scores for which false findings are counted."""

HYSTERESES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Extents of findings that are tried, in decades below the threshold."""

USUAL_HYSTERESIS = 0.5
"""The extent with which other choices are compared: a ratio of three, the widest that Canny (1986) recommends between
two thresholds."""

EVENS: tuple[float | None, ...] = (None, 0.5, 1.0, 1.5, 2.0, 2.5)
"""Raw scores of even odds that are tried, see `detector.outlines`."""

SMALLEST_MM3 = 30.0
"""Smallest finding of the default, a ball of 4 mm: a larger one hides lesions that readers look for."""

MOST_FALSE = 1.0
"""The default makes no more false findings than this per held-out normal scan."""

MOST_FALSE_ML = 3.0
"""Findings extend no further than keeps the false ones of a normal scan within this volume in the mean."""

WORKERS = 4

_Item = TypeVar("_Item")
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


@dataclass(frozen=True, slots=True)
class _Scored:
    """Decades of every voxel of a trial, 0 outside the brain, its raw scores, and where something was painted."""

    decades: np.ndarray
    raw: np.ndarray
    truth: np.ndarray


def side_by_side(measure: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Measure on several cores; sorting and labelling let other threads run."""
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(measure, items))


def operating_point(
    normal: Sequence[Trial],
    painted: Sequence[Trial],
    sigma_mm: float,
    hystereses: Sequence[float] = HYSTERESES,
    evens: Sequence[float | None] = EVENS,
) -> tuple[Calibration, float]:
    """Calibrate on normal scans; take the lowest threshold that keeps them quiet, and the extent that fits best.

    Parameters
    ----------
    normal, painted : sequence of Trial
        The same held-out scans, plain and painted.
    sigma_mm : float
        Smoothing of the scores.
    hystereses : sequence of float, optional
        How far findings may extend below the threshold, in decades. The one with the highest mean Dice on painted
        scans, at its own quiet threshold and with the best of `evens`, is kept, of those that leave no more than
        `MOST_FALSE_ML` of a normal scan; the first where nothing is painted, or none does.
    evens : sequence of float or None, optional
        Raw scores of even odds that are tried, see `detector.outlines`; None for findings without outlines.

    Returns
    -------
    Calibration
        With its defaults and the table of false findings.
    float
        Mean Dice on painted scans at the defaults.
    """
    smoothed = side_by_side(lambda trial: trial.smoothed(sigma_mm), normal)
    values = [scores[trial.inside] for scores, trial in zip(smoothed, normal, strict=True)]
    raw, decades = fit_calibration(values)
    plain = Calibration(
        raw=raw,
        decades=decades,
        scan_raw=tuple(sorted(scan_raw_score(scan) for scan in values)),
        default_threshold=THRESHOLDS[-1],
        default_min_volume_mm3=SMALLEST_MM3,
        normals=len(normal),
    )

    def scored(trial: Trial, scores: np.ndarray) -> _Scored:
        return _Scored(np.where(trial.inside, to_decades(calibrate(scores, plain)), 0), scores, trial.truth)

    calm = side_by_side(lambda pair: scored(*pair), zip(normal, smoothed, strict=True))
    spoiled = side_by_side(lambda trial: scored(trial, trial.smoothed(sigma_mm)), painted)
    tried: list[tuple[float, Calibration]] = []
    for hysteresis in hystereses:
        table = _false_findings(calm, hysteresis)
        at = quiet_threshold(table)
        spread = side_by_side(lambda scan, at=at, by=hysteresis: _false_ml(scan, at, by), calm)  # type: ignore[misc]
        if tried and np.mean(spread) > MOST_FALSE_ML:
            break
        dice = side_by_side(lambda scan, at=at, by=hysteresis: _dice(scan, at, by, evens), spoiled)  # type: ignore[misc]
        means = np.mean(dice, axis=0) if dice else np.zeros(len(evens))
        even = evens[int(means.argmax())]
        defaults = {"default_threshold": at, "hysteresis": hysteresis, "even": even, "false_findings": table}
        tried.append((float(means.max()), plain.model_copy(update=defaults)))
    reached, best = max(tried, key=lambda one: one[0])
    return best, reached


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


def _regions(decades: np.ndarray, threshold: float, hysteresis: float) -> np.ndarray:
    """Label what `findings.find` finds, before it drops what is small."""
    at = float(to_decades(threshold))
    return held(decades >= at, decades >= max(at - hysteresis, 1e-6))


def _false_findings(calm: Sequence[_Scored], hysteresis: float) -> FalseFindings:
    """Count the findings of normal scans at every threshold, by their smallest volume; voxels are 1 mm3."""

    def count(scan: _Scored) -> np.ndarray:
        sizes = [np.bincount(_regions(scan.decades, at, hysteresis).ravel())[1:] for at in THRESHOLDS]
        return np.array([[(size >= max(1, volume)).sum() for volume in VOLUMES_MM3] for size in sizes], float)

    mean = np.mean(side_by_side(count, calm), axis=0)
    return FalseFindings(THRESHOLDS, VOLUMES_MM3, tuple(tuple(float(n) for n in line) for line in mean))


def _false_ml(scan: _Scored, threshold: float, hysteresis: float) -> float:
    """Volume of the findings of a normal scan; voxels are 1 mm3."""
    sizes = np.bincount(_regions(scan.decades, threshold, hysteresis).ravel())[1:]
    return float(sizes[sizes >= SMALLEST_MM3].sum()) / 1000


def _dice(scan: _Scored, threshold: float, hysteresis: float, evens: Sequence[float | None]) -> list[float]:
    """Dice of the findings of a painted scan, with each of some even odds."""
    labels = _regions(scan.decades, threshold, hysteresis)
    large = np.bincount(labels.ravel()) >= SMALLEST_MM3
    large[0] = False
    labels = labels * large[labels]
    found = (labels > 0 if even is None else outlined(scan.raw, labels, even, SMALLEST_MM3) for even in evens)
    return [float(2 * (each & scan.truth).sum() / max(1, each.sum() + scan.truth.sum())) for each in found]
