"""The map as the slider needs it: a display copy with one of 256 steps per voxel, so that moving costs nothing."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from napari_anomaly.anomaly import MAX_DECADES, AnomalyMap, Supervoxels, from_decades, to_decades

__all__ = ["TOP", "Display", "display_codes", "prepare", "step_of", "threshold_of"]

TOP = 255
"""Highest step of the slider and of the display copy of the map: 5 decades."""

_STEPS_PER_DECADE = TOP / MAX_DECADES
_LIMITS = np.array([from_decades(step / _STEPS_PER_DECADE) for step in range(TOP + 1)], dtype=np.float32)


def threshold_of(step: int) -> float:
    """Give the calibrated score of a step of the slider."""
    return from_decades(step / _STEPS_PER_DECADE)


def step_of(threshold: float) -> int:
    """Give the step of the slider, 1 to 255, that lies nearest to a calibrated score."""
    return int(np.clip(np.rint(float(to_decades(float(threshold))) * _STEPS_PER_DECADE), 1, TOP))


def display_codes(score: Float32[np.ndarray, "z y x"]) -> UInt8[np.ndarray, "z y x"]:
    """Make the display copy of a map: for every voxel the highest step of the slider at which it is still in.

    So ``display_codes(score) >= step`` is exactly ``score >= threshold_of(step)`` for every step from 1.
    """
    codes = np.zeros(score.size, dtype=np.uint8)
    flat = score.reshape(-1)
    places = np.flatnonzero(flat)
    values = flat[places]
    steps = np.clip(to_decades(values) * _STEPS_PER_DECADE, 0, TOP).astype(np.int16)
    # The logarithm rounds: one comparison up and one down make it exact.
    steps += (steps < TOP) & (values >= _LIMITS[np.minimum(steps + 1, TOP)])
    steps -= (steps > 0) & (values < _LIMITS[steps])
    codes[places] = steps
    return codes.reshape(score.shape)


def _snapped_codes(anomaly_map: AnomalyMap, supervoxels: Supervoxels) -> UInt8[np.ndarray, "z y x"]:
    """Make the display copy in which every supervoxel has its mean score, as findings that snap see it."""
    means = anomaly_map.supervoxel_decades(supervoxels)
    table = np.floor(np.clip(means * _STEPS_PER_DECADE + 1e-6, 0, TOP)).astype(np.uint8)
    codes: UInt8[np.ndarray, "z y x"] = table[supervoxels.ids]
    outside = supervoxels.ids == 0
    if outside.any():
        codes[outside] = display_codes(anomaly_map.score)[outside]
    return codes


@dataclass(frozen=True, slots=True, eq=False)
class Display:
    """What is computed once per map so that the slider is fast; made off the window's thread.

    Parameters
    ----------
    anomaly_map, supervoxels
        What the detector made.
    plain, snapped
        Display copies of the map: voxel by voxel, and supervoxel by supervoxel.
    residual
        Display copy of the second opinion; None where it was not asked for.
    """

    anomaly_map: AnomalyMap
    supervoxels: Supervoxels
    plain: UInt8[np.ndarray, "z y x"]
    snapped: UInt8[np.ndarray, "z y x"]
    residual: UInt8[np.ndarray, "z y x"] | None = None


def prepare(
    anomaly_map: AnomalyMap,
    supervoxels: Supervoxels,
    second_opinion: Float32[np.ndarray, "z y x"] | None = None,
) -> Display:
    """Compute the display copies of a map, and of a second opinion."""
    plain = display_codes(anomaly_map.score)
    residual = None if second_opinion is None else display_codes(second_opinion)
    return Display(anomaly_map, supervoxels, plain, _snapped_codes(anomaly_map, supervoxels), residual)
