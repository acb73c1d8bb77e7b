"""Figures that compare scores with the truth, exact and without histograms.

All of them take arrays of any one shape: the voxels of a region, or a whole grid.  Where a figure has no
meaning (no lesion in the truth, say) it is NaN, so that a mean can leave it out and no reader mistakes it for
a zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Real


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What every possible threshold would find: the counts behind each figure of a ranking.

    Parameters
    ----------
    thresholds
        Each distinct score, highest first; a voxel is marked when its score is at least the threshold.
    hits
        Marked voxels that belong to the truth, at each threshold.
    marked
        All marked voxels, at each threshold.
    """

    thresholds: Real[np.ndarray, " n"]
    hits: Int64[np.ndarray, " n"]
    marked: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, scores: Real[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> Curve:
        """Rank all voxels by score; voxels with the same score enter together.

        Parameters
        ----------
        scores
            Higher means more unusual.  Any real dtype; every value must be finite.
        truth
            Where the lesions are.

        Raises
        ------
        ValueError
            If a score is not finite, or there is no voxel.
        """
        flat = scores.ravel()
        if flat.size == 0:
            raise ValueError("scores hold no voxel: nothing can be ranked")
        if not np.isfinite(flat).all():
            raise ValueError("scores must be finite, got NaN or infinity")
        order = np.argsort(flat, kind="stable")[::-1]
        ranked = flat[order]
        last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), flat.size - 1)
        hits = np.cumsum(truth.ravel()[order], dtype=np.int64)
        return cls(ranked[last], hits[last], last.astype(np.int64) + 1)

    @property
    def positives(self) -> int:
        """Voxels of the truth."""
        return int(self.hits[-1])

    @property
    def average_precision(self) -> float:
        """Mean precision over the recall steps, ``sum((R_n - R_{n-1}) P_n)``, with no interpolation.

        NaN without a positive.  The definition of the MOOD challenge and of most lesion benchmarks.
        """
        if self.positives == 0:
            return float("nan")
        steps = np.diff(self.hits, prepend=0)
        return float((steps * (self.hits / self.marked)).sum() / self.positives)

    @property
    def auroc(self) -> float:
        """Chance that a voxel of the truth scores above one outside it, ties by half; NaN with one class."""
        positives, total = self.positives, int(self.marked[-1])
        if positives in (0, total):
            return float("nan")
        # In whole numbers to the end: a perfect ranking is exactly 1.
        steps = np.diff(self.marked - self.hits, prepend=0)
        heights = self.hits + np.append(0, self.hits[:-1])
        return int((steps * heights).sum()) / (2 * positives * (total - positives))

    def dice(self) -> Float64[np.ndarray, " n"]:
        """Dice coefficient at each threshold."""
        overlap: Float64[np.ndarray, " n"] = 2.0 * self.hits / (self.marked + self.positives)
        return overlap

    def best_dice(self) -> tuple[float, float]:
        """The highest Dice coefficient and the threshold that reaches it (NaN, NaN without a positive)."""
        if self.positives == 0:
            return float("nan"), float("nan")
        each = self.dice()
        at = int(each.argmax())
        return float(each[at]), float(self.thresholds[at])


def average_precision(scores: Real[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> float:
    """Average precision of a ranking; see `Curve.average_precision`."""
    return Curve.of(scores, truth).average_precision


def auroc(scores: Real[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> float:
    """Area under the ROC curve; see `Curve.auroc`."""
    return Curve.of(scores, truth).auroc


def best_dice(scores: Real[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> tuple[float, float]:
    """Highest Dice over all thresholds, and that threshold; see `Curve.best_dice`."""
    return Curve.of(scores, truth).best_dice()


def dice(mask: Bool[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> float:
    """Twice the overlap over the sum of both sizes; NaN when the truth is empty."""
    if not truth.any():
        return float("nan")
    return float(2.0 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth)))


def refine(
    scores: Real[np.ndarray, "*shape"], tie_break: Real[np.ndarray, "*shape"]
) -> Int64[np.ndarray, "*shape"]:
    """Rank by score and, where scores are the same, by a second one.

    A calibrated score saturates when a voxel is beyond all normal ones; the raw score still tells them apart.

    Returns
    -------
    numpy.ndarray
        Ranks from 0; voxels equal in both scores share one.
    """
    first, second = scores.ravel(), tie_break.ravel()
    order = np.lexsort((second, first))
    changes = (first[order][1:] != first[order][:-1]) | (second[order][1:] != second[order][:-1])
    ranks = np.empty(first.size, dtype=np.int64)
    ranks[order] = np.append(0, np.cumsum(changes))
    return ranks.reshape(scores.shape)


def components(mask: Bool[np.ndarray, "z y x"], *, min_voxels: float = 0.0) -> Integer[np.ndarray, "z y x"]:
    """Number the 26-connected regions of a mask from 1; regions smaller than `min_voxels` become 0."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= min_voxels
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    kept: Integer[np.ndarray, "z y x"] = numbers[labels]
    return kept


@dataclass(frozen=True, slots=True)
class LesionCount:
    """Lesions and findings, counted.

    Parameters
    ----------
    lesions
        Connected regions of the truth.
    found
        Lesions that the findings cover to at least the agreed share.
    findings
        Regions that the detector reported.
    false_findings
        Findings that lie on the truth with less than the agreed share.
    """

    lesions: int
    found: int
    findings: int
    false_findings: int

    @property
    def recall(self) -> float:
        """Share of lesions that were found; NaN without a lesion."""
        return self.found / self.lesions if self.lesions else float("nan")


def _covered(labels: Integer[np.ndarray, "z y x"], by: Bool[np.ndarray, "z y x"], overlap: float) -> int:
    sizes = np.bincount(labels.ravel())[1:]
    shared = np.bincount(labels[by].ravel(), minlength=sizes.size + 1)[1:]
    return int(np.count_nonzero((shared > 0) & (shared >= overlap * sizes) & (sizes > 0)))


def lesion_recall(
    findings: Integer[np.ndarray, "z y x"], lesions: Integer[np.ndarray, "z y x"], *, overlap: float = 0.1
) -> LesionCount:
    """Count the lesions that were found and the findings that are false.

    A lesion is found when findings cover at least `overlap` of its voxels (and at least one); a finding is
    false when less than `overlap` of its voxels lie on lesions.

    Parameters
    ----------
    findings
        Number of the finding per voxel, 0 for none.
    lesions
        Number of the lesion per voxel, 0 for none; see `components`.
    overlap
        Share of voxels, above 0 up to 1.
    """
    reported = int(np.count_nonzero(np.bincount(findings.ravel())[1:]))
    true_findings = _covered(findings, lesions > 0, overlap)
    return LesionCount(
        lesions=int(np.count_nonzero(np.bincount(lesions.ravel())[1:])),
        found=_covered(lesions, findings > 0, overlap),
        findings=reported,
        false_findings=reported - true_findings,
    )
