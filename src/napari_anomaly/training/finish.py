"""Turns trained networks into a detector: calibrates on held-out normals, picks what measures best."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

import cc3d
import numpy as np
import torch

from napari_anomaly.anomaly import FalseFindings, from_decades
from napari_anomaly.detector.calibration import (
    Calibration,
    calibrate,
    fit_calibration,
    scan_raw_score,
    standardise,
)
from napari_anomaly.detector.detect import smooth
from napari_anomaly.detector.engine import TorchEngine
from napari_anomaly.detector.settings import Networks
from napari_anomaly.detector.tiling import score
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.preprocess import normalise
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import Progress, drain
from napari_anomaly.training.batch import paint_normal
from napari_anomaly.training.normals import Normal, Subject, make_normal

NETWORKS = cast("tuple[Networks, ...]", get_args(Networks))

VOLUMES_MM3 = (0.0, 10.0, 30.0, 60.0, 100.0, 200.0, 500.0)
"""Smallest findings for which false findings are counted."""

THRESHOLDS = tuple(round(from_decades(d), 8) for d in np.arange(1.5, 5.01, 0.25))
"""Calibrated scores for which false findings are counted."""

DEFAULT_SMOOTHING_MM = 0.7

SMOOTHING_MM = (0.0, 0.7, 1.0)

DEFAULT_VOLUME_MM3 = 30.0

MOST_FALSE = 1.0
"""The default threshold makes no more false findings than this per held-out normal scan."""


@dataclass(slots=True)
class Trial:
    """Scores of one held-out scan, normal or painted, for one way to use the networks."""

    inside: np.ndarray
    raw: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, slots=True)
class Finished:
    """Calibrations, and which way to use the networks measured best."""

    best: Networks
    smoothing_mm: float
    calibrations: dict[Networks, Calibration]
    table: list[dict[str, float | str]]
    """Average precision and Dice of every way on held-out synthetic anomalies."""
    standardised: bool = False
    """Whether measuring raw scores against the bulk of their scan gave the better Dice."""
    threshold_dice: dict[str, float] = field(default_factory=dict)
    """Dice on painted scans at the chosen threshold, for both."""
    weights: dict[str, float] = field(default_factory=dict)
    """Average precision of averaged and last weights; the first are used."""


def finish(
    network: JointNetwork, subjects: Sequence[Subject], *, seed: int, copies: int = 2
) -> Generator[Progress, None, Finished]:
    """Measure trained networks on held-out normals, plain and painted.

    Parameters
    ----------
    network : JointNetwork
        In evaluation mode.
    subjects : sequence of Subject
        Held-out normals.
    seed : int
        Seed of the scans synthesised from them and of what is painted.
    copies : int, default 2
        Synthesised scans of every subject.

    Yields
    ------
    Progress
        Once a scan.

    Returns
    -------
    Finished
        What a detector needs beside its weights.
    """
    rng = np.random.default_rng(seed + 1_000_003)
    device = next(network.parameters()).device
    normal: dict[Networks, list[Trial]] = {name: [] for name in NETWORKS}
    painted: dict[Networks, list[Trial]] = {name: [] for name in NETWORKS}
    total = copies * len(subjects)
    for index in range(total):
        yield Progress(index, total, "Calibrating on held-out normal scans")
        made = make_normal(subjects[index % len(subjects)], rng, device)
        _measure(network, made, None, normal)
        spoiled = paint_normal(made, rng, difficulty=Difficulty(), library=None)
        _measure(network, made.with_image(spoiled.image), spoiled.truth, painted)
    return _conclude(normal, painted)


def better(
    networks: Mapping[str, JointNetwork], subjects: Sequence[Subject], *, seed: int, scans: int = 8
) -> Generator[Progress, None, dict[str, float]]:
    """Average precision of several sets of weights on the same held-out painted normals.

    Parameters
    ----------
    networks : mapping of str to JointNetwork
        In evaluation mode.
    subjects : sequence of Subject
        Held-out normals.
    seed : int
        Seed of what is painted; not that of `finish`.
    scans : int, default 8
        Scans painted.

    Returns
    -------
    dict of str to float
        Mean average precision of the joint output, best first.
    """
    rng = np.random.default_rng(seed + 2_000_003)
    sums = dict.fromkeys(networks, 0.0)
    for index in range(scans):
        yield Progress(index, scans, "Choosing between averaged and last weights")
        made = make_normal(subjects[index % len(subjects)], rng, torch.device("cpu"))
        spoiled = paint_normal(made, rng, difficulty=Difficulty(), library=None)
        for name, network in networks.items():
            device = next(network.parameters()).device
            into: dict[Networks, list[Trial]] = {way: [] for way in NETWORKS}
            placed = Normal(spoiled.image.to(device), made.mask.to(device), made.family)
            _measure(network, placed, spoiled.truth, into)
            sums[name] += _average_precision(into["joint"][0], DEFAULT_SMOOTHING_MM) / scans
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _measure(
    network: JointNetwork, normal: Normal, truth: torch.Tensor | None, into: dict[Networks, list[Trial]]
) -> None:
    image = normalise(normal.image.float(), normal.mask)
    raw = drain(score(TorchEngine(network), image, normal.mask))
    inside = normal.mask.cpu().numpy()
    wanted = np.zeros_like(inside) if truth is None else truth.cpu().numpy()
    for name in NETWORKS:
        into[name].append(Trial(inside, getattr(raw, name).cpu().numpy().astype(np.float16), wanted))


def _conclude(normal: dict[Networks, list[Trial]], painted: dict[Networks, list[Trial]]) -> Finished:
    table: list[dict[str, float | str]] = []
    for name in NETWORKS:
        for sigma in SMOOTHING_MM:
            precision = np.mean([_average_precision(trial, sigma) for trial in painted[name]])
            table.append(
                {"networks": name, "smoothing_mm": sigma, "average_precision": round(float(precision), 4)}
            )
    top = max(table, key=lambda row: row["average_precision"])
    best, sigma = cast(Networks, top["networks"]), float(top["smoothing_mm"])
    ways = {way: _calibration(normal[best], painted[best], sigma, standard=way) for way in (False, True)}
    standard = ways[True][1] > ways[False][1]
    calibrations = {
        name: (
            ways[standard]
            if name == best
            else _calibration(normal[name], painted[name], sigma, standard=standard)
        )[0]
        for name in NETWORKS
    }
    dice = {f"dice_{'standardised' if way else 'plain'}": round(ways[way][1], 4) for way in ways}
    return Finished(best, sigma, calibrations, table, standardised=standard, threshold_dice=dice)


def _average_precision(trial: Trial, sigma: float) -> float:
    raw = smooth(trial.raw.astype(np.float32), sigma)[trial.inside]
    truth = trial.truth[trial.inside][np.argsort(-raw, kind="stable")]
    hits = np.cumsum(truth)
    return float((hits / np.arange(1, len(hits) + 1))[truth].mean()) if hits[-1] else float("nan")


def _scores(trial: Trial, sigma: float, *, standard: bool) -> np.ndarray:
    raw = smooth(trial.raw.astype(np.float32), sigma)
    return standardise(raw, trial.inside) if standard else raw


def _calibration(
    normal: list[Trial], painted: list[Trial], sigma: float, *, standard: bool
) -> tuple[Calibration, float]:
    smooth_normal = [_scores(trial, sigma, standard=standard) for trial in normal]
    values = [raw[trial.inside] for raw, trial in zip(smooth_normal, normal, strict=True)]
    raw, decades = fit_calibration(values)
    plain = Calibration(
        raw=raw,
        decades=decades,
        scan_raw=tuple(sorted(scan_raw_score(scan) for scan in values)),
        default_threshold=0.999,
        default_min_volume_mm3=DEFAULT_VOLUME_MM3,
        normals=len(normal),
    )
    counts = _false_findings(smooth_normal, normal, plain)
    dice = _dice(painted, sigma, plain, standard=standard)
    # the best Dice on painted scans among the thresholds that keep normal scans quiet
    column = VOLUMES_MM3.index(DEFAULT_VOLUME_MM3)
    quiet = [counts[row][column] <= MOST_FALSE for row in range(len(THRESHOLDS))]
    allowed = [row for row, calm in enumerate(quiet) if calm] or [len(THRESHOLDS) - 1]
    chosen = max(allowed, key=lambda row: dice[row])
    update = {
        "default_threshold": THRESHOLDS[chosen],
        "false_findings": FalseFindings(THRESHOLDS, VOLUMES_MM3, counts),
    }
    return plain.model_copy(update=update), dice[chosen]


def _false_findings(
    raws: list[np.ndarray], normal: list[Trial], calibration: Calibration
) -> tuple[tuple[float, ...], ...]:
    rows = np.zeros((len(THRESHOLDS), len(VOLUMES_MM3)))
    for raw, trial in zip(raws, normal, strict=True):
        calibrated = np.where(trial.inside, calibrate(raw, calibration), 0)
        for row, threshold in enumerate(THRESHOLDS):
            labels = cc3d.connected_components(calibrated >= threshold, connectivity=26)
            sizes = np.bincount(labels.ravel())[1:]
            rows[row] += [(sizes >= max(1, volume)).sum() for volume in VOLUMES_MM3]
    return tuple(tuple(float(value) for value in row) for row in rows / len(normal))


def _dice(painted: list[Trial], sigma: float, calibration: Calibration, *, standard: bool) -> list[float]:
    rows = np.zeros(len(THRESHOLDS))
    for trial in painted:
        calibrated = calibrate(_scores(trial, sigma, standard=standard)[trial.inside], calibration)
        truth = trial.truth[trial.inside]
        for row, threshold in enumerate(THRESHOLDS):
            found = calibrated >= threshold
            rows[row] += 2 * (found & truth).sum() / max(1, found.sum() + truth.sum())
    return [float(value) for value in rows / len(painted)]
