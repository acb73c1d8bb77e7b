"""Training, whole: normals in, one detector file out; it can be stopped and goes on where it was."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_anomaly.detector.calibration import ANY, in_voxels_of
from napari_anomaly.detector.checkpoint import Card, load, save
from napari_anomaly.errors import DetectorError
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.progress import Progress
from napari_anomaly.training.curve import draw_curve
from napari_anomaly.training.extraction import EXTRACTION_WIDTHS
from napari_anomaly.training.finish import Finished, better, finish
from napari_anomaly.training.normals import Subject, load_body, spacing_for
from napari_anomaly.training.run import Run, begin_with, extract, fit, resume, start
from napari_anomaly.training.run import save as save_run
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Candidate, candidates, read_library, read_subjects, strip

VERSION = "1.0"

DRAWS = 1
"""Seed of what is painted on held-out normals: the same for every training, so that detectors can be compared."""

SECONDS_BETWEEN_CURVES = 10.0
"""How often the curve of a training in progress is drawn."""

LARGEST_BYTES = 16 * 2**20
"""A detector must stay small enough to be shipped and mailed."""


def train(settings: TrainSettings) -> Generator[Progress, None, Path]:
    """Train a detector on normal scans.

    Parameters
    ----------
    settings : TrainSettings
        Where the normals are, how long, where to write.

    Yields
    ------
    Progress
        Once a scan read, a step, or a scan measured.

    Returns
    -------
    Path
        The detector. Beside it lie ``.json`` (its provenance), ``.png`` (the loss curve) and the checkpoint that
        an interrupted training goes on from.

    Raises
    ------
    UnreadableScan
        If no normals were found.
    DetectorError
        If the device is not there, a detector would be written over, or the checkpoint beside it is of other scans.
    """
    device = _device(settings)
    checkpoint = settings.out.with_suffix(".checkpoint.safetensors")
    resumed = checkpoint.exists()
    if settings.out.exists() and not resumed:
        raise DetectorError(
            f"{settings.out} is there already. Name another file to write to, or move it away."
        )
    found, held = candidates(settings)
    settings = settings.model_copy(update={"spacing_mm": _spacing(settings, [*found, *held])})
    run = start(settings, device)
    run.normals = tuple(sorted(candidate.path.name for candidate in found))
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if resumed:
        resume(run, checkpoint)
    elif settings.begin_with:
        begin_with(run, load(settings.begin_with))
    if run.progress < 1:
        subjects, heads = yield from _read(found, settings)
        if not resumed:
            if run.began_with.get("region") != settings.region:
                yield from extract(run, subjects)
            save_run(run, checkpoint)
        subjects += _found_brains(run, heads)
        yield from _watched(run, fit(run, subjects, read_library(settings.lesion_shapes), checkpoint))
    subjects, heads = yield from _read(held or found[:1], settings)
    subjects += _found_brains(run, heads)
    weights: dict[str, JointNetwork] = {"averaged": run.average.module.eval(), "last": run.network.eval()}  # type: ignore[dict-item]
    if settings.begin_with and run.began_with.get("region") == settings.region:
        before = load(settings.begin_with)
        # a training that goes on may name another detector, or that file may be another by now
        if before.sha256 == run.began_with["sha256"]:
            weights["midway"] = midway(before.network, weights["averaged"])
    ranked = yield from better(weights, subjects, seed=DRAWS)
    network = weights[next(iter(ranked))]
    done = yield from finish(network, subjects, seed=DRAWS)
    return write(run, network, replace(done, weights=ranked), found, held)


def midway(before: nn.Module, after: JointNetwork) -> JointNetwork:
    """Give a network whose weights are the mean of those before and after a training that began with the former.

    What was learned before is often kept better than by either (Wortsman et al. 2022, arXiv 2109.01903).

    Parameters
    ----------
    before, after : Module
        Of the same shape; neither is changed.
    """
    mean = deepcopy(after)
    known = before.state_dict()
    mixed = {
        key: (value + known[key].to(value)) / 2 if value.is_floating_point() else value
        for key, value in mean.state_dict().items()
    }
    mean.load_state_dict(mixed)
    return mean.eval()


def _watched(run: Run, steps: Generator[Progress, None, None]) -> Generator[Progress, None, None]:
    """Draw the curve beside the detector every few seconds, so that it can be watched."""
    drawn = -math.inf
    picture = run.settings.out.with_suffix(".png")
    try:
        for progress in steps:
            if time.monotonic() - drawn > SECONDS_BETWEEN_CURVES and len(run.curve) > 1:
                draw_curve(run.curve, picture)
                drawn = time.monotonic()
            yield progress
    finally:
        steps.close()


def write(
    run: Run, network: JointNetwork, done: Finished, found: Sequence[Candidate], held: Sequence[Candidate]
) -> Path:
    """Write detector, provenance and loss curve.

    Parameters
    ----------
    run : Run
        Finished.
    network : JointNetwork
        The weights that measured better.
    done : Finished
        Calibration.
    found, held : sequence of Candidate
        Normals that were trained on, and that calibrated.
    """
    out = run.settings.out
    brain = run.settings.region == "brain"
    spacing = run.settings.spacing_mm
    card = Card(
        name=run.settings.name,
        version=VERSION,
        modality="MR of the brain, any contrast" if brain else "as the normal scans it was trained on",
        region=run.settings.region,
        plane_widths=network.plane.widths,
        volume_widths=network.volume.widths,
        extraction_widths=EXTRACTION_WIDTHS if brain else None,
        best=done.best,
        by_contrast={contrast: way for contrast, way in done.ways.items() if contrast != ANY},
        ceiling=True,
        even=True,
        spacing_mm=spacing,
        smoothing_mm=done.smoothing_mm * spacing,
        calibrations={
            way: {contrast: in_voxels_of(one, spacing) for contrast, one in ones.items()}
            for way, ones in done.calibrations.items()
        },
        provenance=provenance(run, done, found, held),
    )
    save(out, card, network, run.extraction if brain else None)
    if out.stat().st_size > LARGEST_BYTES:
        raise DetectorError(f"The detector has {out.stat().st_size} bytes, more than {LARGEST_BYTES}.")
    out.with_suffix(".json").write_text(json.dumps(dict(card.provenance), indent=1), encoding="utf-8")
    draw_curve(run.curve, out.with_suffix(".png"))
    return out


def provenance(
    run: Run, done: Finished, found: Sequence[Candidate], held: Sequence[Candidate]
) -> dict[str, Any]:
    """What a detector was made from, and how: names of files, never of folders or people."""
    settings = run.settings.model_dump(
        mode="json", exclude={"normals", "normal_scans", "label_maps", "lesion_shapes", "out", "begin_with"}
    )
    folders = [*run.settings.normals, *([run.settings.label_maps] if run.settings.label_maps else [])]
    return {
        "settings": settings,
        "folders": [folder.name for folder in folders],
        "lesion_shapes": [folder.name for folder in run.settings.lesion_shapes],
        "trained_on": sorted(candidate.path.name for candidate in found),
        "held_out": sorted(candidate.path.name for candidate in held),
        "began_with": run.began_with,
        "steps": run.step,
        "minutes": round(run.seconds / 60, 1),
        "steps_per_second": round(run.step / max(run.seconds, 1e-9), 3),
        "generator_share": round(run.generator_seconds / max(run.seconds, 1e-9), 3),
        "device": str(run.device),
        "torch": torch.__version__,
        "weights": done.weights,
        "contrasts": done.contrasts,
        "held_out_synthetic": done.table,
        "curve": [{key: round(value, 4) for key, value in entry.items()} for entry in run.curve[::5]],
    }


def _device(settings: TrainSettings) -> torch.device:
    from napari_anomaly.detector.device import choose

    if settings.threads:
        torch.set_num_threads(settings.threads)
    return torch.device(choose(settings.device).name)


def _spacing(settings: TrainSettings, scans: Sequence[Candidate]) -> float:
    # atlas, tissue model and anatomy know brains in voxels of 1 mm
    if settings.region == "brain":
        return 1.0
    return settings.spacing_mm or spacing_for([scan.path for scan in scans])


def _read(
    found: list[Candidate], settings: TrainSettings
) -> Generator[Progress, None, tuple[list[Subject], list[Candidate]]]:
    subjects: list[Subject] = []
    heads: list[Candidate] = []
    if settings.region == "body":
        for index, scan in enumerate(found):
            yield Progress(index, len(found), f"Reading {scan.path.name}")
            subjects.append(load_body(scan.path, spacing=settings.spacing_mm))
        return subjects, heads
    for progress, item in read_subjects(found):
        yield progress
        if isinstance(item, Subject):
            subjects.append(item)
        else:
            heads.append(item)
    return subjects, heads


def _found_brains(run: Run, heads: Sequence[Candidate]) -> list[Subject]:
    return [strip(head, run.extraction.eval()) for head in heads]
