"""Finds the normals that the settings name, and keeps some of them out of the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.preprocess import find_brain
from napari_anomaly.progress import Progress
from napari_anomaly.training.normals import (
    Subject,
    load_head,
    load_labels,
    load_stripped,
    load_volume,
    real_subject,
)
from napari_anomaly.training.settings import TrainSettings

LARGEST_BRAIN_MM3 = 2.2e6
"""A scan whose air is exactly 0 and that holds less than this is skull-stripped: a head holds twice as much."""

_BRAIN_LABELS = "_DLMUSE"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that holds a normal, before it is read."""

    path: Path
    is_labels: bool


def candidates(settings: TrainSettings) -> tuple[list[Candidate], list[Candidate]]:
    """List the normals to train on and the held-out ones.

    Parameters
    ----------
    settings : TrainSettings
        Names the folders.

    Raises
    ------
    UnreadableScan
        If no folder holds a NIfTI file, or a single scan is not there.
    """
    for path in settings.normal_scans:
        if not path.is_file():
            raise UnreadableScan(
                f"There is no scan {path.name} at {path.parent}. Name normal scans that are there."
            )
    trained: list[Candidate] = []
    held: list[Candidate] = []
    folders = [(folder, False) for folder in settings.normals]
    if settings.label_maps is not None:
        folders.append((settings.label_maps, True))
    for folder, is_labels in folders:
        paths = [path for path in sorted(folder.glob("*.nii*")) if _BRAIN_LABELS not in path.name]
        for index, path in enumerate(paths):
            last = index % settings.held_out_every == settings.held_out_every - 1
            # a folder of few scans still gives one to the calibration, its last
            few = 2 <= len(paths) < settings.held_out_every and index == len(paths) - 1
            (held if last or few else trained).append(Candidate(path, is_labels))
    # scans that came one by one are too few, and too special, to calibrate on
    trained += [Candidate(path, is_labels=False) for path in settings.normal_scans]
    if not trained:
        named = ", ".join(str(folder) for folder, _ in folders) or "no folder"
        raise UnreadableScan(
            f"No normal scans were found in {named}. Training needs folders with .nii or .nii.gz files of normal "
            "scans (normals) or label maps (label_maps)."
        )
    return trained, held


def read_subjects(found: list[Candidate]) -> Iterator[tuple[Progress, Subject | Candidate]]:
    """Read subjects one by one; a whole head without brain labels comes back as its candidate.

    Parameters
    ----------
    found : list of Candidate
        Files.
    """
    for index, candidate in enumerate(found):
        yield Progress(index, len(found), f"Reading {candidate.path.name}"), _read(candidate)


def _read(candidate: Candidate) -> Subject | Candidate:
    path = candidate.path
    if candidate.is_labels:
        return load_labels(path)
    labels = path.with_name(path.name.replace(".nii", f"{_BRAIN_LABELS}.nii", 1))
    kind = "flair" if "flair" in path.name.lower() else "t1"
    if labels.exists():
        return load_head(path, labels, kind=kind)  # type: ignore[arg-type]
    voxels = load_volume(path, spacing=3.0)
    if (voxels == 0).mean() > 0.3 and (voxels != 0).sum() * 27 < LARGEST_BRAIN_MM3:
        return load_stripped(path, kind=kind)  # type: ignore[arg-type]
    return candidate


def strip(candidate: Candidate, extraction: torch.nn.Module) -> Subject:
    """Read a whole head without brain labels; its brain is found by the extraction network.

    Parameters
    ----------
    candidate : Candidate
        File.
    extraction : Module
        Trained brain extraction network.

    Raises
    ------
    UnreadableScan
        If no brain was found.
    """
    voxels = load_volume(candidate.path, spacing=1.0)
    inside = find_brain(torch.from_numpy(voxels), extraction).numpy()
    if not inside.any():
        raise UnreadableScan(
            f"No brain was found in {candidate.path.name}. Training for the brain needs head scans; "
            "for another region use region = body."
        )
    kind = "flair" if "flair" in candidate.path.name.lower() else "t1"
    return real_subject(candidate.path, kind, voxels, inside)  # type: ignore[arg-type]


def read_library(folders: tuple[Path, ...], *, side: int = 40) -> Tensor | None:
    """Real lesion outlines, each cut to its box and brought to a cube.

    Parameters
    ----------
    folders : tuple of Path
        Folders of binary masks.
    side : int, default 40
        Side of the cubes in voxels.

    Returns
    -------
    Tensor or None
        uint8, shape (shape, side, side, side); None where there are none.
    """
    cubes = []
    for folder in folders:
        for path in sorted(folder.glob("*.nii*")):
            cube = _outline(load_volume(path, spacing=2.0) > 0.5, side)
            if cube is not None:
                cubes.append(cube)
    return torch.from_numpy(np.stack(cubes)) if cubes else None


def _outline(inside: np.ndarray, side: int) -> np.ndarray | None:
    index = np.argwhere(inside)
    if len(index) < 30:
        return None
    low, high = index.min(0), index.max(0) + 1
    extent = int((high - low).max())
    cube = np.zeros((extent, extent, extent), np.float32)
    start = (extent - (high - low)) // 2
    part = inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    cube[tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))] = part
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(cube)[None, None], size=(side,) * 3, mode="trilinear"
    )
    return (scaled[0, 0] > 0.5).to(torch.uint8).numpy()
