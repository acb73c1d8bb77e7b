"""Steps of the training of an anatomy network, and what an arm of the experiment sees."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from napari_anomaly.anatomy import NAMES, STRUCTURES
from napari_anomaly.networks.anatomy import ATLAS, NAME_OF, AnatomyNetwork
from napari_anomaly.networks.blocks import use_channels_last
from napari_anomaly.preprocess import coordinates
from napari_anomaly.progress import Progress
from napari_anomaly.training.anatomy_cases import (
    AnatomyCase,
    Example,
    make_example,
    make_pose,
    mirrored,
    other_side,
)
from napari_anomaly.training.anatomy_settings import AnatomySettings
from napari_anomaly.training.atlases import UNKNOWN

POOL = 160
"""Synthesised scans kept ready; the oldest leaves for a new one."""

FIRST = 8
"""Scans that are synthesised before the first step."""

STEPS_PER_SCAN = 4
"""Steps for which one more scan is synthesised."""

POSES = 240
"""Random poses in which the atlas is counted."""

FLOOR = 1e-3
"""Share that a structure has in the atlas where it was never seen."""

MARGIN = 2
"""Voxels around the brain that a step looks at; air further away teaches nothing and costs as much."""

Arm = Literal["image+mask", "image", "mask"]

CHANNELS: dict[Arm, tuple[int, ...]] = {"image+mask": (0, 1, 2, 3, 4), "image": (0,), "mask": (1, 2, 3, 4)}
"""Input channels that an arm of the experiment sees; the coordinates are the mask's."""


@dataclass(slots=True)
class AnatomyRun:
    """A training in progress."""

    settings: AnatomySettings
    network: AnatomyNetwork
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    device: torch.device
    arm: Arm = "image+mask"
    stripped: bool = True
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    pool: list[Example] = field(default_factory=list)

    @property
    def progress(self) -> float:
        """Share of the training done, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(1.0, max(self.step / self.settings.steps, by_time))


def start_anatomy(settings: AnatomySettings, device: torch.device) -> AnatomyRun:
    """Fresh network and optimiser for the given settings."""
    torch.manual_seed(settings.seed)
    network = AnatomyNetwork(widths=settings.widths).to(device)
    # at first the atlas alone speaks
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)  # type: ignore[arg-type]  # there is one
    use_channels_last(network, 3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-3)
    average = AveragedModel(network, avg_fn=_average, use_buffers=True)
    rng = np.random.default_rng(settings.seed)
    return AnatomyRun(settings, network, average, optimiser, rng, device)


def fit_atlas(run: AnatomyRun, cases: Sequence[AnatomyCase], *, poses: int = POSES) -> None:
    """Count which structures lie where within the mask, and put that into the network.

    Parameters
    ----------
    run : AnatomyRun
        Fresh; its average is a copy of the network afterwards.
    cases : sequence of AnatomyCase
        Brains to count in; where some have lobes, those.
    poses : int, default `POSES`
        Random poses to count.
    """
    lobed = [case for case in cases if case.scan is not None] or list(cases)
    counts = torch.zeros((len(STRUCTURES), *ATLAS), device=run.device)
    for index in range(poses):
        truth, mask = make_pose(lobed[index % len(lobed)], run.rng, run.device)
        _count(counts, truth, mask)
        _count(counts, other_side(truth.flip(-1)), mask.flip(-1))
    smooth = functional.avg_pool3d(functional.pad(counts[None], (1,) * 6), 3, stride=1)[0] + counts
    names = torch.zeros((len(NAMES), *ATLAS), device=run.device).index_add(
        0, torch.tensor(NAME_OF, device=run.device), smooth
    )
    left, right = (
        smooth[[n for n, s in enumerate(STRUCTURES) if s.side == side]].sum(0) for side in ("left", "right")
    )
    shares = (names / names.sum(0).clamp(min=1) + FLOOR).log()
    atlas = torch.cat((shares, ((left + 1) / (right + 1)).log()[None].clamp(-4, 4)))[None]
    run.network.atlas.copy_(atlas)
    run.average.module.atlas.copy_(atlas)  # type: ignore[operator]  # a buffer


def _count(counts: Tensor, truth: Tensor, mask: Tensor) -> None:
    places = torch.meshgrid(*coordinates(mask), indexing="ij")
    known = mask & (truth != UNKNOWN)
    cells = [
        ((place[known] + 1) / 2 * side).long().clamp(0, side - 1)
        for place, side in zip(places, ATLAS, strict=True)
    ]
    ones = torch.ones(len(cells[0]), device=counts.device)
    counts.index_put_((truth[known], *cells), ones, accumulate=True)


def fit_anatomy(run: AnatomyRun, cases: Sequence[AnatomyCase]) -> Generator[Progress, None, None]:
    """Train until the steps or minutes are spent.

    Parameters
    ----------
    run : AnatomyRun
        Fresh, or resumed.
    cases : sequence of AnatomyCase
        Brains to synthesise from; those with lobes are drawn as often as the settings say.

    Yields
    ------
    Progress
        Once a step.
    """
    while run.progress < 1:
        began = time.monotonic()
        while len(run.pool) < FIRST or run.step % STEPS_PER_SCAN == 0:
            run.pool.append(_drawn(run, cases))
            if len(run.pool) >= FIRST:
                break
        del run.pool[:-POOL]
        loss = _step(run, run.pool[int(run.rng.integers(len(run.pool)))])
        run.step += 1
        run.seconds += time.monotonic() - began
        run.curve.append({"step": float(run.step), "seconds": run.seconds, "loss": loss})
        yield Progress(round(1000 * run.progress), 1000, f"Step {run.step}: loss {loss:.3f}")


def _drawn(run: AnatomyRun, cases: Sequence[AnatomyCase]) -> Example:
    lobed = [case for case in cases if case.scan is not None]
    whole = [case for case in cases if case.scan is None]
    chosen = lobed if lobed and (not whole or run.rng.random() < run.settings.lobes) else whole
    case = chosen[int(run.rng.integers(len(chosen)))]
    return make_example(case, run.rng, run.device, stripped=run.stripped)


def _step(run: AnatomyRun, example: Example) -> float:
    for group in run.optimiser.param_groups:
        group["lr"] = run.settings.learning_rate * _schedule(run.progress)
    if run.rng.random() < 0.5:
        example = mirrored(example)
    inputs, truth = around_brain(seen_by(run.arm, example.inputs), example)
    loss = anatomy_loss(run.network.train()(inputs), *named(truth), example.partition)
    run.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    run.optimiser.step()
    run.average.update_parameters(run.network)
    return loss.item()


def seen_by(arm: Arm, inputs: Tensor) -> Tensor:
    """What an arm of the experiment sees of the inputs; all other channels are 0."""
    seen = torch.zeros_like(inputs)
    for channel in CHANNELS[arm]:
        seen[:, channel] = inputs[:, channel]
    return seen


def around_brain(inputs: Tensor, example: Example) -> tuple[Tensor, Tensor]:
    """Cut the air away; voxels outside of the mask have the truth `UNKNOWN`, since the mask says what they are."""
    inside = example.inputs[0, 1] >= 0.5
    truth = torch.where(inside, example.truth, UNKNOWN)
    parts = []
    for axis, side in enumerate(inside.shape):
        present = torch.nonzero(inside.movedim(axis, 0).flatten(1).any(1)).flatten()
        low = max(0, int(present[0]) - MARGIN)
        high = min(side, int(present[-1]) + 1 + MARGIN)
        # sides must be even, and so is the whole grid's
        parts.append(slice(low // 2 * 2, -(-high // 2) * 2))
    z, y, x = parts
    return inputs[:, :, z, y, x].contiguous(memory_format=torch.channels_last_3d), truth[z, y, x]


def named(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Name and side of labels: places in `NAMES`, and 1 on the left, 0 on the right; `UNKNOWN` elsewhere."""
    names = torch.full((UNKNOWN + 1,), UNKNOWN, device=truth.device)
    names[: len(NAME_OF)] = torch.tensor(NAME_OF, device=truth.device)
    sides = torch.full_like(names, UNKNOWN)
    for label, structure in enumerate(STRUCTURES):
        if structure.side:
            sides[label] = int(structure.side == "left")
    return names[truth], sides[truth]


def anatomy_loss(logit: Tensor, names: Tensor, sides: Tensor, partition: Tensor) -> Tensor:
    """Cross-entropy and Dice loss over the names that a label map tells apart, and cross-entropy of the side.

    Parameters
    ----------
    logit : Tensor
        Shape (1, names + 1, z, y, x).
    names, sides : Tensor
        See `named`; int64, shape (z, y, x); `UNKNOWN` counts nothing.
    partition : Tensor
        For every name the one that stands for it in `names`.
    """
    known = names != UNKNOWN
    labels = names[known]
    shares = torch.softmax(logit[0, :-1].movedim(0, -1)[known].float(), dim=1)
    told = torch.zeros_like(shares).index_add(1, partition, shares)
    hits = torch.zeros_like(told).scatter(1, labels[:, None], 1.0)
    # counted alike, voxels of small structures are too few to be learned; counted by structure, too loud
    weights = hits.sum(0).clamp(min=1).rsqrt()[labels]
    missed = -told.gather(1, labels[:, None])[:, 0].clamp(min=1e-6).log()
    entropy = (weights * missed).sum() / weights.sum()
    overlap = (2 * (told * hits).sum(0) + 1) / (told.sum(0) + hits.sum(0) + 1)
    loss = entropy + 1 - overlap[hits.any(0)].mean()
    paired = sides != UNKNOWN
    if not bool(paired.any()):
        return loss
    left = sides[paired].float()
    return loss + functional.binary_cross_entropy_with_logits(logit[0, -1][paired].float(), left)


def _average(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    share = max(0.02, 9 / (10 + float(count)))
    return average + share * (current - average)


def _schedule(progress: float) -> float:
    return min(1.0, progress / 0.03 + 0.1) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-3
