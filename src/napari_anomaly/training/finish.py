"""Turns trained networks into a detector: calibrates on held-out normals, picks what measures best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast, get_args

import numpy as np
import torch

from napari_anomaly.detector.calibration import ANY, Calibration
from napari_anomaly.detector.detect import smooth
from napari_anomaly.detector.engine import Engine, OpenVinoEngine, TorchEngine, installed
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.settings import Networks
from napari_anomaly.detector.tiling import score
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.pretask.task import Difficulty, Scenario
from napari_anomaly.progress import Progress, drain
from napari_anomaly.training.batch import paint_normal
from napari_anomaly.training.contrast import Family
from napari_anomaly.training.normals import Normal, Subject, make_normal
from napari_anomaly.training.operating_point import USUAL_HYSTERESIS, Trial, operating_point, side_by_side

NETWORKS = cast("tuple[Networks, ...]", get_args(Networks))

DEFAULT_SMOOTHING_MM = 0.7

SMOOTHING_MM = (0.0, 0.7, 1.0)

FEWEST = 6
"""A contrast that the network saw in fewer held-out scans has no calibration of its own."""

PLAN: dict[str, tuple[Family, ...]] = {
    "labels": ("flair", "t2", "t1", "free", "flair", "t2"),
    "t1": ("t1", "t1", "flair", "t2"),
    "flair": ("flair", "flair", "flair"),
    "own": ("free", "free"),
}
"""Contrasts in which held-out subjects of every kind are synthesised: T1 and FLAIR scans also as they are."""


PAINTED: tuple[Scenario | None, ...] = ("white", None)
"""What is painted on every held-out scan: small lesions of the white matter, and whatever else comes.

Large anomalies are easier and would decide alone; a reader looks for small ones, too.
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """Calibrations, and which way to use the networks measured best."""

    best: Networks
    ways: dict[str, Networks]
    """Best way for every contrast that has a calibration: that of the highest painted Dice at its own threshold."""
    smoothing_mm: float
    calibrations: dict[Networks, dict[str, Calibration]]
    table: list[dict[str, float | str]]
    """Average precision of every way on held-out synthetic anomalies."""
    contrasts: dict[str, dict[str, float | str]]
    """By contrast that the network sees: scans, best way and its threshold and extent, painted Dice of all ways."""
    weights: dict[str, float] = field(default_factory=dict)
    """Average precision of averaged and last weights; the first are used."""


def finish(
    network: JointNetwork, subjects: Sequence[Subject], *, seed: int, copies: int | None = None
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
    copies : int, optional
        Synthesised scans of every subject; all that `PLAN` names if left out.

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
    engine, device = _engine(network), next(network.parameters()).device
    normal: dict[Networks, list[Trial]] = {name: [] for name in NETWORKS}
    painted: dict[Networks, list[Trial]] = {name: [] for name in NETWORKS}
    wanted = [(subject, family) for subject in subjects for family in PLAN[subject.kind][:copies]]
    for index, (subject, family) in enumerate(wanted):
        yield Progress(index, len(wanted), "Calibrating on held-out normal scans")
        # training exaggerates; a threshold has to fit scans as they are
        made = make_normal(subject, rng, device, family=family, harder=False)
        _measure(engine, made, None, normal)
        for scenario in PAINTED:
            spoiled = paint_normal(made, rng, difficulty=Difficulty(), library=None, scenario=scenario)
            _measure(engine, made.with_image(spoiled.image), spoiled.truth, painted)
    return _conclude(normal, painted)


def _engine(network: JointNetwork) -> Engine:
    on_cpu = next(network.parameters()).device.type == "cpu"
    return OpenVinoEngine(network, None) if on_cpu and installed() else TorchEngine(network)


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
    engines = {name: _engine(network) for name, network in networks.items()}
    sums = dict.fromkeys(networks, 0.0)
    for index in range(scans):
        yield Progress(index, scans, "Choosing between averaged and last weights")
        made = make_normal(subjects[index % len(subjects)], rng, torch.device("cpu"))
        spoiled = paint_normal(made, rng, difficulty=Difficulty(), library=None)
        for name, network in networks.items():
            device = next(network.parameters()).device
            into: dict[Networks, list[Trial]] = {way: [] for way in NETWORKS}
            placed = Normal(
                spoiled.image.to(device), made.mask.to(device), made.white, made.family, made.tissue
            )
            _measure(engines[name], placed, spoiled.truth, into)
            sums[name] += _average_precision(into["joint"][0], DEFAULT_SMOOTHING_MM) / scans
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _measure(
    engine: Engine, normal: Normal, truth: torch.Tensor | None, into: dict[Networks, list[Trial]]
) -> None:
    image = as_seen(normalise(normal.image.float(), normal.mask), normal.mask, engine.atlas)
    raw = drain(score(engine, image, normal.mask))
    inside = normal.mask.cpu().numpy()
    wanted = np.zeros_like(inside) if truth is None else truth.cpu().numpy()
    box = _box(inside)
    for name in NETWORKS:
        values = getattr(raw, name).cpu().numpy()[box].astype(np.float16)
        into[name].append(Trial(raw.contrast, inside[box], values, wanted[box]))


def _box(inside: np.ndarray, margin: int = 4) -> tuple[slice, ...]:
    # the margin is wider than the smoothing reaches
    index = np.argwhere(inside)
    low, high = np.maximum(index.min(0) - margin, 0), index.max(0) + 1 + margin
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _conclude(normal: dict[Networks, list[Trial]], painted: dict[Networks, list[Trial]]) -> Finished:
    tried = [(name, sigma) for name in NETWORKS for sigma in SMOOTHING_MM]
    precision = {
        (name, sigma): np.array(side_by_side(partial(_average_precision, sigma=sigma), painted[name]))
        for name, sigma in tried
    }
    table: list[dict[str, float | str]] = [
        {
            "networks": name,
            "smoothing_mm": sigma,
            "average_precision": round(float(np.nanmean(precision[name, sigma])), 4),
        }
        for name, sigma in tried
    ]
    leading = max(tried, key=lambda one: float(np.nanmean(precision[one])))[0]
    # smoothing hardly changes how voxels rank, but normal scans have fewer specks, so the threshold may be lower
    sigma = max(SMOOTHING_MM, key=lambda one: _reached(normal[leading], painted[leading], one))
    calibrations: dict[Networks, dict[str, Calibration]] = {name: {} for name in NETWORKS}
    contrasts: dict[str, dict[str, float | str]] = {}
    ways: dict[str, Networks] = {}
    for contrast in _contrasts(normal[leading]):
        seen = [contrast in (ANY, trial.contrast) for trial in painted[leading]]
        means = {
            name: float(np.nanmean(precision[name, sigma][seen])) if any(seen) else 0.0 for name in NETWORKS
        }
        dice = {}
        for name in NETWORKS:
            calibrations[name][contrast], dice[name] = operating_point(
                _of(contrast, normal[name]), _of(contrast, painted[name]), sigma, (USUAL_HYSTERESIS,)
            )
        # a reader meets findings at a threshold; how voxels rank above it decides only between equals
        way = ways[contrast] = max(NETWORKS, key=lambda name: (dice[name], means[name]))
        calibrations[way][contrast], dice[way] = operating_point(
            _of(contrast, normal[way]), _of(contrast, painted[way]), sigma
        )
        made = calibrations[way][contrast]
        contrasts[contrast] = {
            "scans": made.normals,
            "networks": way,
            "painted_average_precision": round(means[way], 4),
            "threshold": made.default_threshold,
            "hysteresis": made.hysteresis,
            **({} if made.even is None else {"even": made.even}),
            "smallest_mm3": made.default_min_volume_mm3,
            "painted_dice": round(dice[way], 4),
            **{f"painted_dice_{name}": round(dice[name], 4) for name in NETWORKS},
        }
    return Finished(ways[ANY], ways, sigma, calibrations, table, contrasts)


def _reached(normal: list[Trial], painted: list[Trial], sigma: float) -> float:
    """Mean Dice of painted scans at the quiet threshold of their own contrast."""
    groups = [name for name in _contrasts(normal) if name != ANY] or [ANY]
    shares = [len(_of(name, painted)) for name in groups]
    dice = [
        operating_point(_of(name, normal), _of(name, painted), sigma, (USUAL_HYSTERESIS,))[1]
        for name in groups
    ]
    return float(np.average(dice, weights=shares)) if sum(shares) else 0.0


def _of(contrast: str, trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if contrast in (ANY, trial.contrast)]


def _contrasts(normal: list[Trial]) -> list[str]:
    counts = Counter(trial.contrast for trial in normal)
    # "free" is whatever resembles no other: it has no distribution of its own
    return [ANY, *sorted(name for name, count in counts.items() if count >= FEWEST and name != "free")]


def _average_precision(trial: Trial, sigma: float) -> float:
    raw = smooth(trial.raw.astype(np.float32), sigma)[trial.inside]
    truth = trial.truth[trial.inside][np.argsort(-raw, kind="stable")]
    hits = np.cumsum(truth)
    return float((hits / np.arange(1, len(hits) + 1))[truth].mean()) if hits[-1] else float("nan")
