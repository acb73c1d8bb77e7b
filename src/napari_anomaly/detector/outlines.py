"""Where a finding ends: at the outline that promises the best overlap with the truth.

A network that learned with anomalous voxels weighted up is alarmed by the surroundings of a large lesion, too: around
whatever it is sure of, a halo reaches the threshold. Raw scores are logarithms of odds, but for what the weights of
the training added; how much that is, the raw score of even odds, is chosen on painted normal scans. Of every finding
the voxels are kept with which its expected Dice is highest. A finding of which the network is sure ends near even odds,
a faint one keeps its low ones (Lipton et al. 2014, doi 10.1007/978-3-662-44851-9_15: the best threshold is half of the
best F1 that can be reached).
"""

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import ndimage
from scipy.special import expit

from napari_anomaly.anomaly import from_decades, to_decades
from napari_anomaly.findings import held

__all__ = ["outlined", "without_halo"]


def outlined(
    raw: Float[np.ndarray, "z y x"], labels: Integer[np.ndarray, "z y x"], even: float, smallest: float = 0.0
) -> Bool[np.ndarray, "z y x"]:
    """Give the voxels of findings that lie within their outlines.

    Parameters
    ----------
    raw
        Raw scores, smoothed.
    labels
        Number of the finding at every voxel, 0 where there is none.
    even
        Raw score at which a voxel of a finding is as likely anomalous as not.
    smallest
        Voxels that a finding keeps at least, the highest ones.
    """
    kept = labels > 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        where = np.nonzero(labels[box] == number)
        values = raw[box][where]
        order = np.argsort(-values, kind="stable")
        chance = expit(values[order].astype(np.float64) - even)
        expected = np.cumsum(chance) / (np.arange(1, len(chance) + 1) + chance.sum())
        count = max(int(expected.argmax()) + 1, int(np.ceil(min(smallest, len(chance)))))
        kept[box][tuple(axis[order[count:]] for axis in where)] = False
    return kept


def without_halo(
    score: Float[np.ndarray, "z y x"],
    raw: Float[np.ndarray, "z y x"],
    even: float,
    *,
    threshold: float,
    hysteresis: float,
    smallest: float,
) -> Float[np.ndarray, "z y x"]:
    """Take the halos of the findings at a threshold out of a map: their score falls to just below what findings reach.

    Parameters
    ----------
    score, raw
        Calibrated and raw scores.
    even
        See `outlined`.
    threshold, hysteresis
        Calibrated score that a finding reaches, and how far below it extends, in decades.
    smallest
        Smallest finding in voxels.
    """
    lowest = np.float32(from_decades(max(float(to_decades(threshold)) - hysteresis, 0.0)))
    labels = held(score >= np.float32(threshold), score >= lowest)
    halo = (labels > 0) & ~outlined(raw, labels, even, smallest)
    result = score.copy()
    result[halo] = np.nextafter(lowest, np.float32(0))
    return result
