"""How a case is evaluated: one scan, its truth, and an anomaly map.

The protocol is that of the field (lesion detectors on brain MRI, the MOOD challenge), stated so that
figures can be compared. A region is fixed first, never from the truth: the voxels that the detector looked
at (its score there is above 0: the brain, say). Ranking figures are computed on the voxels of that region,
and again on the whole grid, where what was not looked at counts as the least unusual. Truth outside of the
region is counted and shown: inside figures do not see it, whole-grid figures pay for it.

Two Dice coefficients stand side by side: at the threshold that the detector stated *before* the test, and
the best of all thresholds, chosen with the truth in hand. Beside the detector stands plain intensity
(bright or dark voxels are unusual), the arm that a detector must beat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer, Num
from pydantic import BaseModel, ConfigDict, Field

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import GridMismatch
from napari_anomaly.evaluation.metrics import Curve, LesionCount, components, dice, lesion_recall, refine
from napari_anomaly.findings import Findings
from napari_anomaly.scan import Scan


class ProtocolSettings(BaseModel):
    """What counts as a lesion, and as found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="share of a lesion's voxels that findings must cover for it to count as found, and of a "
        "finding's voxels that must lie on lesions for it not to count as false",
    )
    min_lesion_mm3: float = Field(
        default=0.0, ge=0, description="smaller regions of the truth are no lesions of their own, in mm3"
    )


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VoxelFigures(_Figures):
    """How well voxels are ranked, on one set of voxels; None where a figure has no meaning."""

    voxels: int
    truth_voxels: int
    average_precision: float | None
    auroc: float | None
    dice: float | None
    best_dice: float | None
    best_threshold: float | None


class LesionFigures(_Figures):
    """Lesions and findings, counted; see `napari_anomaly.evaluation.metrics.LesionCount`."""

    lesions: int
    found: int
    recall: float | None
    findings: int
    false_findings: int


class IntensityFigures(_Figures):
    """What plain intensity reaches in the region: bright voxels unusual, and dark ones."""

    bright_average_precision: float | None
    bright_best_dice: float | None
    dark_average_precision: float | None
    dark_best_dice: float | None


class CaseFigures(_Figures):
    """All figures of one scan.

    Volumes are in mm3.  `dice` and `lesions` are None where no threshold was stated.
    """

    scan: str
    truth_mm3: float
    truth_outside_mm3: float
    threshold: float | None
    min_volume_mm3: float | None
    scan_score: float | None
    inside: VoxelFigures
    whole: VoxelFigures
    lesions: LesionFigures | None
    intensity: IntensityFigures
    seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What is evaluated: scores per voxel and, where a threshold was stated, the findings.

    Parameters
    ----------
    scores
        Higher means more unusual; any finite numbers.
    region
        Where the figures are computed.
    labels
        Number of the finding per voxel, 0 for none; None without a threshold.
    threshold, min_volume_mm3
        What made the findings.
    tie_break
        Scores that rank voxels which `scores` cannot tell apart.
    scan_score
        Score of the scan as a whole.
    """

    scores: Num[np.ndarray, "z y x"]
    region: Bool[np.ndarray, "z y x"]
    labels: Integer[np.ndarray, "z y x"] | None = None
    threshold: float | None = None
    min_volume_mm3: float | None = None
    tie_break: Float[np.ndarray, "z y x"] | None = None
    scan_score: float | None = None

    @classmethod
    def of_detection(cls, anomaly_map: AnomalyMap, findings: Findings) -> Scored:
        """Take a detection and its findings."""
        return cls(
            anomaly_map.score,
            anomaly_map.score > 0,
            labels=findings.labels,
            threshold=findings.threshold,
            min_volume_mm3=findings.min_volume_mm3,
            tie_break=anomaly_map.raw,
            scan_score=anomaly_map.scan_score,
        )

    @classmethod
    def of_map(cls, stored: Scan, *, threshold: float | None = None, min_volume_mm3: float = 0.0) -> Scored:
        """Take a map from a file, of this package or of any other method.

        Parameters
        ----------
        stored
            The map; the region is where it is not 0.
        threshold
            In the map's own units; None leaves out what needs one.
        min_volume_mm3
            Smaller findings are dropped.
        """
        scores, region = stored.voxels, stored.voxels != 0
        if threshold is None:
            return cls(scores, region)
        min_voxels = min_volume_mm3 / stored.geometry.voxel_volume
        labels = components((scores >= threshold) & region, min_voxels=min_voxels)
        return cls(scores, region, labels=labels, threshold=threshold, min_volume_mm3=min_volume_mm3)


def read_truth(truth: Scan, scan: Scan) -> Bool[np.ndarray, "z y x"]:
    """Take the voxels above 0 of a mask that must lie on the scan's grid.

    Raises
    ------
    GridMismatch
        If it lies on another grid.
    """
    if not truth.geometry.same_grid(scan.geometry):
        raise GridMismatch(
            f"{truth.name} lies on a grid of {truth.geometry.shape} voxels of {_mm(truth)}, {scan.name} on "
            f"one of {scan.geometry.shape} voxels of {_mm(scan)}, or elsewhere: they must share a grid. "
            "Export it again on the scan's own grid."
        )
    return truth.voxels > 0


def _mm(scan: Scan) -> str:
    return " x ".join(f"{size:.3g}" for size in scan.geometry.spacing) + " mm"


def evaluate_case(
    scan: Scan,
    truth: Bool[np.ndarray, "z y x"],
    scored: Scored,
    *,
    settings: ProtocolSettings | None = None,
    seconds: float | None = None,
) -> CaseFigures:
    """Compute all figures of one scan.

    Parameters
    ----------
    scan
        The scan itself, for its geometry and for the intensity arm.
    truth
        Where the lesions are; may be empty (a normal scan): figures that need a lesion are then None.
    scored
        What is evaluated.
    settings
        See `ProtocolSettings`.
    seconds
        How long the detection took, to be kept with the figures.

    Raises
    ------
    GridMismatch
        If the region is empty: nothing was looked at.
    """
    if not scored.region.any():
        raise GridMismatch(
            f"In {scan.name} no voxel was looked at: the map is 0 everywhere. Use another map."
        )
    volume = scan.geometry.voxel_volume
    settings = settings or ProtocolSettings()
    return CaseFigures(
        scan=scan.name,
        truth_mm3=float(np.count_nonzero(truth) * volume),
        truth_outside_mm3=float(np.count_nonzero(truth & ~scored.region) * volume),
        threshold=scored.threshold,
        min_volume_mm3=scored.min_volume_mm3,
        scan_score=scored.scan_score,
        inside=_voxel_figures(scored, truth, scored.region),
        whole=_voxel_figures(scored, truth, np.ones_like(scored.region)),
        lesions=_lesion_figures(scored, truth, voxel_volume=volume, settings=settings),
        intensity=intensity_figures(scan, truth, scored.region),
        seconds=seconds,
    )


def _voxel_figures(
    scored: Scored, truth: Bool[np.ndarray, "z y x"], where: Bool[np.ndarray, "z y x"]
) -> VoxelFigures:
    # Outside of the region nothing may outrank what was looked at, whatever the map holds there.
    lowest = scored.scores[scored.region].min()
    scores = np.where(scored.region, scored.scores, min(lowest, 0))[where]
    hit = truth[where]
    curve = Curve.of(scores, hit)
    ranking = curve if scored.tie_break is None else Curve.of(refine(scores, scored.tie_break[where]), hit)
    best, at = curve.best_dice()
    return VoxelFigures(
        voxels=hit.size,
        truth_voxels=curve.positives,
        average_precision=_known(ranking.average_precision),
        auroc=_known(ranking.auroc),
        dice=None if scored.labels is None else _known(dice(scored.labels[where] > 0, hit)),
        best_dice=_known(best),
        best_threshold=_known(at),
    )


def _lesion_figures(
    scored: Scored, truth: Bool[np.ndarray, "z y x"], *, voxel_volume: float, settings: ProtocolSettings
) -> LesionFigures | None:
    if scored.labels is None:
        return None
    lesions = components(truth, min_voxels=settings.min_lesion_mm3 / voxel_volume)
    count: LesionCount = lesion_recall(scored.labels, lesions, overlap=settings.overlap)
    return LesionFigures(
        lesions=count.lesions,
        found=count.found,
        recall=_known(count.recall),
        findings=count.findings,
        false_findings=count.false_findings,
    )


def intensity_figures(
    scan: Scan, truth: Bool[np.ndarray, "z y x"], region: Bool[np.ndarray, "z y x"]
) -> IntensityFigures:
    """Rank the region's voxels by plain intensity, from bright and from dark: the arm to beat."""
    values, hit = scan.voxels[region].astype(np.float32), truth[region]
    bright, dark = Curve.of(values, hit), Curve.of(-values, hit)
    return IntensityFigures(
        bright_average_precision=_known(bright.average_precision),
        bright_best_dice=_known(bright.best_dice()[0]),
        dark_average_precision=_known(dark.average_precision),
        dark_best_dice=_known(dark.best_dice()[0]),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
