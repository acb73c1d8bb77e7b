"""A training in progress: networks, optimiser, curve; its steps, its checkpoints, and going on from one."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from napari_anomaly.detector.checkpoint import Detector
from napari_anomaly.errors import DetectorError
from napari_anomaly.networks.joint import JointNetwork, JointOutput
from napari_anomaly.networks.volume import VolumeNetwork
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import Progress
from napari_anomaly.training.batch import Batch, Pool, make_batch
from napari_anomaly.training.extraction import EXTRACTION_WIDTHS, train_extraction
from napari_anomaly.training.loss import nt_xent, recall_loss, recall_weight, tail_loss, voxel_loss
from napari_anomaly.training.normals import Subject
from napari_anomaly.training.resume import load_state, save_state
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.tissue_atlas import build_atlas
from napari_anomaly.training.tissue_task import WEIGHTS, TissueHeads, tissue_loss

AVERAGE_MEMORY = 0.99
"""Share of the averaged weights that a step keeps."""

EMBEDDED_CELLS = 256
"""Pairs of cells drawn for NT-Xent in a step."""


@dataclass(slots=True)
class Run:
    """A training in progress."""

    settings: TrainSettings
    network: JointNetwork
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    extraction: VolumeNetwork
    tissue: TissueHeads
    rng: np.random.Generator
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    generator_seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    normals: tuple[str, ...] = ()
    """Names of the files that it learns from; empty where nobody said."""
    began_with: dict[str, str | float] = field(default_factory=dict)
    """The detector whose weights it began with: name, version, region, sha256, and steps and minutes of all that led to
    it; empty for none."""

    @property
    def stage(self) -> float:
        """How far along the curriculum is, 0 to 1: who begins with a detector of the region has had the easy part."""
        return 1.0 if self.began_with.get("region") == self.settings.region else self.progress

    @property
    def progress(self) -> float:
        """Share of the training done, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(1.0, max(self.step / self.settings.steps, by_time))

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Networks that a checkpoint holds."""
        return {
            "network": self.network,
            "average": self.average,
            "extraction": self.extraction,
            "tissue": self.tissue,
        }


def start(settings: TrainSettings, device: torch.device, widths: tuple[tuple[int, ...], ...] = ()) -> Run:
    """Fresh networks and optimiser for the given settings.

    Parameters
    ----------
    settings : TrainSettings
        Seed and learning rate.
    device : torch.device
        Where the networks live.
    widths : tuple of tuple of int, default ()
        Channels of the 2D and of the 3D network, finest level first; those that ship if left out.
    """
    torch.manual_seed(settings.seed)
    network = JointNetwork(*widths)
    network.use_channels_last()
    network.to(device)
    average = AveragedModel(network, avg_fn=_average, use_buffers=True)
    tissue = TissueHeads(network.plane.widths[0], network.volume.widths[0]).to(device)
    learned = [*network.parameters(), *tissue.parameters()]
    optimiser = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=1e-3)
    extraction = VolumeNetwork(inputs=2, widths=EXTRACTION_WIDTHS).to(device)
    rng = np.random.default_rng(settings.seed)
    return Run(settings, network, average, optimiser, extraction.eval(), tissue, rng, device)


def begin_with(run: Run, detector: Detector) -> None:
    """Give a fresh run the weights of a detector, brain extraction included.

    What a detector of the brain knows of edges, textures and what is painted serves any region; its atlas does not.

    Raises
    ------
    DetectorError
        If the detector has other networks than are trained here.
    """
    widths, card = (run.network.plane.widths, run.network.volume.widths), detector.card
    if (card.plane_widths, card.volume_widths) != widths:
        raise DetectorError(
            f"The training cannot begin with the detector {detector.name}: its networks have {card.plane_widths} "
            f"and {card.volume_widths} channels, and {widths[0]} and {widths[1]} are trained. "
            "Begin with another one, or with none."
        )
    known = dict(detector.network.state_dict())
    if card.region != run.settings.region:
        known["atlas"] = torch.zeros_like(known["atlas"])
    run.network.load_state_dict(known)
    run.average.module.load_state_dict(known)
    if detector.extraction is not None and card.region == run.settings.region:
        run.extraction.load_state_dict(detector.extraction.state_dict())
    own, before = detector.provenance, detector.provenance.get("began_with", {})
    earlier = {key: own.get(key, 0) + before.get(key, 0) for key in ("steps", "minutes")}
    run.began_with = {
        "name": detector.name,
        "version": detector.version,
        "region": card.region,
        "sha256": detector.sha256,
        **earlier,
    }


def fit(
    run: Run, subjects: list[Subject], library: Tensor | None, checkpoint: Path
) -> Generator[Progress, None, None]:
    """Train the joint network until its steps or minutes are spent.

    Parameters
    ----------
    run : Run
        Fresh, or resumed.
    subjects : list of Subject
        Normals to synthesise from.
    library : Tensor or None
        Real lesion outlines.
    checkpoint : Path
        File that is rewritten every few minutes, and when the training is stopped.
    """
    settings = run.settings
    learn_atlas(run, subjects)
    pool = Pool(subjects, size=settings.pool, rng=run.rng, device=run.device)
    while pool.missing:
        yield Progress(settings.pool - pool.missing, settings.pool, "Synthesising normal scans")
        pool.renew()
    saved = time.monotonic()
    with ThreadPoolExecutor(1) as maker:
        # the next step's data is made while this one is learned from
        coming = maker.submit(_next_batch, run, pool, library, run.step, run.stage)
        while run.progress < 1:
            began = time.monotonic()
            batch = coming.result()
            made = time.monotonic()
            coming = maker.submit(_next_batch, run, pool, library, run.step + 1, run.stage)
            losses = step(run, batch)
            run.step += 1
            run.generator_seconds += made - began
            run.seconds += time.monotonic() - began
            _log(run, losses)
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                coming.exception()  # wait: the random state is saved between two batches
                save(run, checkpoint)
                saved = time.monotonic()
            try:
                yield Progress(
                    round(1000 * run.progress), 1000, f"Step {run.step}: loss {losses['loss']:.3f}"
                )
            except GeneratorExit:
                coming.exception()
                save(run, checkpoint)
                raise
        coming.exception()
    save(run, checkpoint)


def _next_batch(run: Run, pool: Pool, library: Tensor | None, number: int, stage: float) -> Batch:
    if number % run.settings.renew_every == 0:
        pool.renew()
    return make_batch(
        pool,
        run.rng,
        scans=run.settings.scans_per_step,
        slices=run.settings.slices_per_scan,
        difficulty=Difficulty.at(stage),
        library=library,
        atlas=run.network.atlas,
    )


def learn_atlas(run: Run, subjects: list[Subject]) -> None:
    """Give the networks an atlas of tissues, unless they have one or there is no label map."""
    atlas = None if bool(run.network.atlas.any()) else build_atlas(subjects)
    if atlas is not None:
        run.network.atlas.copy_(atlas)
        run.average.module.atlas.copy_(atlas)  # type: ignore[operator]


def step(run: Run, batch: Batch) -> dict[str, float]:
    """One step of gradient descent; returns the parts of the loss."""
    for group in run.optimiser.param_groups:
        group["lr"] = run.settings.learning_rate * _schedule(run.progress)
    run.network.train()
    seen = run.network(batch.slices, batch.volume, batch.where, batch.scan_of)
    parts = losses_of(seen, batch, run.stage, run.settings, np.random.default_rng(run.step))
    known = run.tissue(*seen.features)
    for weight, logits, shares in zip(WEIGHTS, known, (batch.slice_tissue, batch.volume_tissue), strict=True):
        parts["tissue"] = parts.get("tissue", 0) + weight * tissue_loss(logits, shares)
    loss = torch.stack(list(parts.values())).sum()
    run.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_([*run.network.parameters(), *run.tissue.parameters()], 5.0)
    run.optimiser.step()
    run.average.update_parameters(run.network)
    with torch.no_grad():
        found = torch.sigmoid(seen.joint) > 0.5
        overlap = 2 * (found * batch.slice_truth).sum() / (found.sum() + batch.slice_truth.sum() + 1)
    return {
        "loss": loss.item(),
        "dice": overlap.item(),
        **{key: value.item() for key, value in parts.items()},
    }


def losses_of(
    seen: JointOutput, batch: Batch, progress: float, settings: TrainSettings, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Weighted parts of the loss: every head, recall, the tail of the normal voxels, scan, joint embedding."""
    parts = {
        "joint": voxel_loss(seen.joint, batch.slice_truth),
        "plane": 0.5 * voxel_loss(seen.plane, batch.slice_truth),
        "volume": 0.5 * voxel_loss(seen.volume, batch.volume_truth),
        "recall": recall_weight(progress) * recall_loss(seen.joint, batch.slice_truth),
        "scan": 0.1 * functional.binary_cross_entropy_with_logits(seen.scan, batch.scan_truth),
        "contrast": 0.1 * functional.cross_entropy(seen.contrast, batch.contrast),
    }
    if settings.tail_weight:
        tails = (
            tail_loss(seen.joint, batch.slice_truth),
            0.5 * tail_loss(seen.plane, batch.slice_truth),
            0.5 * tail_loss(seen.volume, batch.volume_truth),
        )
        parts["tail"] = settings.tail_weight * torch.stack(tails).sum()
    # a scan whose region is smaller than a cell has nothing to compare
    if settings.embedding_weight and bool(batch.inside.any()):
        flat, deep = (view[batch.inside] for view in seen.embeddings)
        chosen = torch.from_numpy(rng.permutation(len(flat))[:EMBEDDED_CELLS]).to(flat.device)
        parts["embedding"] = settings.embedding_weight * nt_xent(flat[chosen], deep[chosen])
    return parts


def save(run: Run, path: Path) -> None:
    """Write a checkpoint of a run."""
    facts: dict[str, Any] = {
        "step": run.step,
        "seconds": run.seconds,
        "generator_seconds": run.generator_seconds,
        "random": run.rng.bit_generator.state,
        "curve": run.curve,
        "region": run.settings.region,
        "normals": run.normals,
        "began_with": run.began_with,
    }
    save_state(path, modules=run.modules, optimiser=run.optimiser, facts=facts)


def resume(run: Run, path: Path) -> None:
    """Bring a fresh run to where a checkpoint was written.

    Raises
    ------
    UnreadableDetector
        If the file is damaged, or was written for other networks.
    DetectorError
        If that training was of another region or of other normals.
    """
    facts = load_state(path, modules=run.modules, optimiser=run.optimiser)
    before = facts.get("region", run.settings.region), tuple(facts.get("normals", run.normals))
    if before != (run.settings.region, run.normals):
        raise DetectorError(
            f"{path.name} is of a training on other scans ({len(before[1])} of the {before[0]}) than these "
            f"({len(run.normals)} of the {run.settings.region}). Name another file to write to, or delete it."
        )
    run.step, run.seconds = facts["step"], facts["seconds"]
    run.generator_seconds, run.curve = facts["generator_seconds"], facts["curve"]
    run.began_with = facts.get("began_with", {})
    run.rng.bit_generator.state = facts["random"]


def extract(run: Run, subjects: list[Subject]) -> Generator[Progress, None, None]:
    """Train the brain extraction of a run, where there are whole heads to learn from."""
    if run.settings.extraction_steps and any(subject.head is not None for subject in subjects):
        run.extraction = yield from train_extraction(
            subjects, steps=run.settings.extraction_steps, rng=run.rng, device=run.device
        )


def _average(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    # a fixed long memory would keep half of the untrained weights after a hundred steps
    share = max(1 - AVERAGE_MEMORY, 9 / (10 + float(count)))
    return average + share * (current - average)


def _schedule(progress: float) -> float:
    return min(1.0, progress / 0.02 + 0.05) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-3


def _log(run: Run, losses: dict[str, float]) -> None:
    entry = {"step": float(run.step), "seconds": run.seconds, **losses}
    if run.curve and int(run.curve[-1]["step"]) // 10 == run.step // 10:
        previous = run.curve[-1]
        run.curve[-1] = {key: 0.9 * previous.get(key, value) + 0.1 * value for key, value in entry.items()}
        run.curve[-1]["step"], run.curve[-1]["seconds"] = entry["step"], entry["seconds"]
    else:
        run.curve.append(entry)
