"""Trains a second opinion, whole: normals in, one file of weights out; it can be stopped and goes on where it was."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_anomaly.detector import checkpoint as detectors
from napari_anomaly.detector.calibration import Calibration, fit_calibration
from napari_anomaly.detector.device import choose
from napari_anomaly.detector.second_opinion import ProxyCard, coarse, look, residual, save
from napari_anomaly.errors import DetectorError
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.memory import ProxyNetwork
from napari_anomaly.progress import Progress
from napari_anomaly.training.normals import Subject, make_normal
from napari_anomaly.training.proxy import ProxyRun, fit, resume, start
from napari_anomaly.training.proxy_settings import ProxySettings
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Candidate, candidates, read_subjects, strip

SMOOTHING_MM = 3.0
"""Width of the Gaussian over the signed residual."""

COPIES = 3
"""Normal scans synthesised of every held-out subject for the calibration."""

LARGEST_BYTES = 4 * 2**20
"""Weights stay small beside those of the detector."""


def train_proxy(settings: ProxySettings) -> Generator[Progress, None, Path]:
    """Train a second opinion on normal scans.

    Parameters
    ----------
    settings : ProxySettings
        Where the normals are, how long, where to write.

    Yields
    ------
    Progress
        Once a scan read, a step, or a scan measured.

    Returns
    -------
    Path
        The weights. Beside them lie ``.json`` (their provenance) and the checkpoint that an interrupted training
        goes on from.

    Raises
    ------
    UnreadableScan
        If no normals were found.
    DetectorError
        If the device is not there, or the weights became too large.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    found, held = candidates(_folders(settings))
    run = start(settings, torch.device(choose(settings.device).name))
    kept = settings.out.with_suffix(".checkpoint.safetensors")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if kept.exists():
        resume(run, kept)
    if run.progress < 1:
        subjects = yield from _read(found)
        yield from fit(run, subjects, kept)
    subjects = yield from _read(held or found[:1])
    network = run.network.eval()
    calibration = yield from calibrated(network, subjects, seed=settings.seed)
    card = ProxyCard(
        name=settings.name,
        widths=settings.widths,
        items=settings.memory_items,
        smoothing_mm=SMOOTHING_MM,
        calibration=calibration,
        provenance=provenance(run, found, held),
    )
    save(settings.out, card, network)
    if settings.out.stat().st_size > LARGEST_BYTES:
        raise DetectorError(
            f"The weights have {settings.out.stat().st_size} bytes, more than {LARGEST_BYTES}. Use smaller widths."
        )
    return settings.out


def calibrated(
    network: ProxyNetwork, subjects: Sequence[Subject], *, seed: int, copies: int = COPIES
) -> Generator[Progress, None, Calibration]:
    """Measure the residual on held-out normal scans.

    Parameters
    ----------
    network : ProxyNetwork
        In evaluation mode.
    subjects : sequence of Subject
        Held-out normals.
    seed : int
        Seed of the scans synthesised from them.
    copies : int, default `COPIES`
        Synthesised scans of every subject.

    Yields
    ------
    Progress
        Once a scan.

    Returns
    -------
    Calibration
        Distribution of the residual over normal voxels.
    """
    rng = np.random.default_rng(seed + 3_000_017)
    device = next(network.parameters()).device
    values: list[np.ndarray] = []
    total = copies * len(subjects)
    for index in range(total):
        yield Progress(index, total, "Calibrating on held-out normal scans")
        made = make_normal(subjects[index % len(subjects)], rng, device)
        scan = coarse(normalise(made.image.float(), made.mask), made.mask, multiple=network.multiple)
        seen = yield from look(network, scan)
        values.append(residual(scan, seen.image, SMOOTHING_MM)[scan.mask].cpu().numpy())
    raw, decades = fit_calibration(values)
    return Calibration(
        raw=raw,
        decades=decades,
        scan_raw=tuple(sorted(float(scan.mean()) for scan in values)),
        default_threshold=0.999,
        default_min_volume_mm3=30.0,
        normals=total,
    )


def provenance(run: ProxyRun, found: Sequence[Candidate], held: Sequence[Candidate]) -> dict[str, Any]:
    """What the weights were made from, and how: names of files, never of folders or people."""
    settings = run.settings
    folders = [*settings.normals, *([settings.label_maps] if settings.label_maps else [])]
    return {
        "settings": settings.model_dump(mode="json", exclude={"normals", "label_maps", "out"}),
        "folders": [folder.name for folder in folders],
        "trained_on": sorted(candidate.path.name for candidate in found),
        "held_out": sorted(candidate.path.name for candidate in held),
        "parameters": sum(weights.numel() for weights in run.network.parameters()),
        "steps": run.step,
        "minutes": round(run.seconds / 60, 1),
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "curve": [{key: round(value, 4) for key, value in entry.items()} for entry in run.curve],
    }


def _folders(settings: ProxySettings) -> TrainSettings:
    return TrainSettings(
        normals=settings.normals,
        label_maps=settings.label_maps,
        held_out_every=settings.held_out_every,
    )


def _read(found: list[Candidate]) -> Generator[Progress, None, list[Subject]]:
    subjects: list[Subject] = []
    heads: list[Candidate] = []
    for progress, item in read_subjects(found):
        yield progress
        if isinstance(item, Subject):
            subjects.append(item)
        else:
            heads.append(item)
    if heads:
        # a whole head without brain labels: the bundled detector knows where the brain is
        extraction = detectors.load(detectors.DEFAULT).extraction
        if extraction is None:
            raise DetectorError(
                f"The detector {detectors.DEFAULT} finds no brain. Install napari-anomaly again."
            )
        subjects += [strip(head, extraction) for head in heads]
    return subjects
