"""Trains the anatomy network, whole: label maps in, one file of weights out; stopped, it goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_anomaly.detector.anatomy import save_anatomy
from napari_anomaly.detector.device import choose
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.networks.anatomy import AnatomyNetwork
from napari_anomaly.progress import Progress
from napari_anomaly.training.anatomy_cases import LABELS_SUFFIX, AnatomyCase, read_lobes, read_whole
from napari_anomaly.training.anatomy_fit import AnatomyRun, fit_anatomy, fit_atlas, start_anatomy
from napari_anomaly.training.anatomy_settings import AnatomySettings
from napari_anomaly.training.resume import load_state, save_state


@dataclass(frozen=True, slots=True)
class AnatomyFile:
    """A file that holds a brain with known anatomy, before it is read."""

    path: Path
    lobes: Path | None
    """Label map with lobes, of a T1-weighted head; None where the file is a label map itself."""

    @property
    def name(self) -> str:
        """Name of the file without its endings."""
        return self.path.name.split(".")[0]

    def read(self) -> AnatomyCase:
        """Read the brain."""
        return read_whole(self.path) if self.lobes is None else read_lobes(self.path, self.lobes)


def anatomy_files(settings: AnatomySettings) -> tuple[list[AnatomyFile], list[AnatomyFile]]:
    """List what to train on, and what is held out.

    Raises
    ------
    UnreadableScan
        If the folders hold nothing to train on.
    """
    folders = [_whole(settings.label_maps), _with_lobes(settings.heads)]
    trained: list[AnatomyFile] = []
    held: list[AnatomyFile] = []
    for files in folders:
        for index, file in enumerate(files):
            every = index % settings.held_out_every == settings.held_out_every - 1
            apart = file.name in settings.held_out if settings.held_out else every
            (held if apart else trained).append(file)
    if not trained:
        named = ", ".join(str(f) for f in (settings.label_maps, settings.heads) if f) or "no folder"
        raise UnreadableScan(
            f"No brains with known anatomy were found in {named}. Training needs a folder of label maps with "
            f"FreeSurfer's numbers (label_maps), or of T1 heads with <scan>{LABELS_SUFFIX} beside them (heads)."
        )
    return trained, held


def _whole(folder: Path | None) -> list[AnatomyFile]:
    return [] if folder is None else [AnatomyFile(path, None) for path in sorted(folder.glob("*.nii*"))]


def _with_lobes(folder: Path | None) -> list[AnatomyFile]:
    if folder is None:
        return []
    pairs = (
        (path, path.with_name(path.name.replace(".nii", f"{LABELS_SUFFIX}.nii", 1)))
        for path in sorted(folder.glob("*.nii*"))
    )
    return [AnatomyFile(path, labels) for path, labels in pairs if labels.exists()]


def train_anatomy(settings: AnatomySettings) -> Generator[Progress, None, Path]:
    """Train an anatomy network.

    Parameters
    ----------
    settings : AnatomySettings
        Where the label maps are, how long, where to write.

    Yields
    ------
    Progress
        Once a label map read, and once a step.

    Returns
    -------
    Path
        The weights. Beside them lie ``.json`` (their provenance) and the checkpoint that an interrupted training
        goes on from.

    Raises
    ------
    UnreadableScan
        If no label maps were found.
    DetectorError
        If the device is not there.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    run = start_anatomy(settings, torch.device(choose(settings.device).name))
    trained, held = anatomy_files(settings)
    checkpoint = settings.out.with_suffix(".checkpoint.safetensors")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        _resume(run, checkpoint)
    if run.progress < 1:
        cases = []
        for index, file in enumerate(trained):
            yield Progress(index, len(trained), f"Reading {file.path.name}")
            cases.append(file.read())
        if not run.step:
            fit_atlas(run, cases)
        yield from _fit(run, cases, checkpoint)
    return write_anatomy(run, trained, held)


def _fit(run: AnatomyRun, cases: Sequence[AnatomyCase], checkpoint: Path) -> Generator[Progress, None, None]:
    saved = time.monotonic()
    try:
        for progress in fit_anatomy(run, cases):
            if time.monotonic() - saved > 60 * run.settings.checkpoint_minutes:
                save_run(run, checkpoint)
                saved = time.monotonic()
            yield progress
    finally:
        save_run(run, checkpoint)


def save_run(run: AnatomyRun, path: Path) -> None:
    """Write a checkpoint of a run; scans in its pool are not kept."""
    facts = {
        "step": run.step,
        "seconds": run.seconds,
        "random": run.rng.bit_generator.state,
        "curve": run.curve,
    }
    modules = {"network": run.network, "average": run.average}
    save_state(path, modules=modules, optimiser=run.optimiser, facts=facts)


def _resume(run: AnatomyRun, path: Path) -> None:
    modules = {"network": run.network, "average": run.average}
    facts = load_state(path, modules=modules, optimiser=run.optimiser)
    run.step, run.seconds, run.curve = facts["step"], facts["seconds"], facts["curve"]
    run.rng.bit_generator.state = facts["random"]


def write_anatomy(run: AnatomyRun, trained: Sequence[AnatomyFile], held: Sequence[AnatomyFile]) -> Path:
    """Write averaged weights and provenance of a run.

    Parameters
    ----------
    run : AnatomyRun
        Finished.
    trained, held : sequence of AnatomyFile
        What was trained on, and what was not.
    """
    out, average = run.settings.out, run.average.module
    if not isinstance(average, AnatomyNetwork):
        raise TypeError(f"the average must be a AnatomyNetwork, got {type(average).__name__}")
    facts = anatomy_provenance(run, trained, held)
    save_anatomy(out, average, facts)
    out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return out


def anatomy_provenance(
    run: AnatomyRun, trained: Sequence[AnatomyFile], held: Sequence[AnatomyFile]
) -> dict[str, Any]:
    """What an anatomy network was made from, and how: names of files, never of folders or people."""
    folders = [folder.name for folder in (run.settings.label_maps, run.settings.heads) if folder]
    return {
        "settings": run.settings.model_dump(mode="json", exclude={"label_maps", "heads", "out"}),
        "folders": folders,
        "trained_on": sorted(file.path.name for file in trained),
        "held_out": sorted(file.path.name for file in held),
        "steps": run.step,
        "minutes": round(run.seconds / 60, 1),
        "device": str(run.device),
        "torch": torch.__version__,
        "curve": [{key: round(value, 4) for key, value in entry.items()} for entry in run.curve[::10]],
    }
