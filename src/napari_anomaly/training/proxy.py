"""Trains ProxyAno on normals: proxy through the memory, scan through the proxy, and pasted pseudo-anomalies undone."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_anomaly.detector.second_opinion import Coarse, coarse
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.memory import ProxyNetwork
from napari_anomaly.progress import Progress
from napari_anomaly.training.batch import Pool
from napari_anomaly.training.normals import Normal, Subject
from napari_anomaly.training.proxies import make_proxy
from napari_anomaly.training.proxy_settings import ProxySettings
from napari_anomaly.training.resume import load_state, save_state

SMALLEST_SLICE = 60
"""Slices with fewer voxels of the region teach nothing."""

MOST_PATCHES = 4
"""Pseudo-anomalies in a slice."""

PATCH_RADII = (1.5, 14.0)
"""Half sides of a pseudo-anomaly in voxels."""

PATCH_SHIFT = 0.8
"""Most that a patch becomes lighter or darker, a share of the brain's range of intensities."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The slices of a normal scan with their proxy, as ProxyAno is shown them; half precision."""

    slices: Tensor
    """Input of the network, shape (slice, `SCAN_CHANNELS`, y, x)."""
    proxy: Tensor
    """Shape (slice, 1, y, x)."""

    @classmethod
    def of(cls, scan: Coarse, settings: ProxySettings) -> Shown:
        """Make the proxy of a scan, once for the many times it is seen."""
        made = make_proxy(
            settings.proxy, scan.image.cpu().numpy(), scan.mask.cpu().numpy(), settings.superpixel_mm
        )
        area = scan.mask.flatten(1).sum(1)
        present = torch.nonzero(area >= min(SMALLEST_SLICE, int(area.max()))).flatten()
        proxy = torch.from_numpy(made).to(scan.image.device)[present]
        return cls(scan.slices(present).half(), proxy[:, None].half())

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Random slices and their proxies, mirrored left to right half of the time."""
        chosen = torch.from_numpy(rng.integers(len(self.slices), size=count)).to(self.slices.device)
        slices, proxy = self.slices[chosen].float(), self.proxy[chosen].float()
        if rng.random() < 0.5:
            slices, proxy = slices.flip(-1), proxy.flip(-1)
            slices[:, -1] *= -1  # the coordinate from side to side
        return slices, proxy


@dataclass(slots=True)
class ProxyRun:
    """A training in progress."""

    settings: ProxySettings
    network: ProxyNetwork
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def progress(self) -> float:
        """Share of the training done, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(1.0, max(self.step / self.settings.steps, by_time))


def start(settings: ProxySettings, device: torch.device) -> ProxyRun:
    """Fresh network and optimiser."""
    torch.manual_seed(settings.seed)
    network = ProxyNetwork(settings.widths, settings.memory_items)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not annotated
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
    return ProxyRun(settings, network, optimiser, np.random.default_rng(settings.seed), device)


def show(normal: Normal, settings: ProxySettings) -> Shown:
    """Bring a normal to the grid of ProxyAno and make its proxy."""
    image = normalise(normal.image.float(), normal.mask)
    return Shown.of(coarse(image, normal.mask, multiple=2 ** len(settings.widths)), settings)


def fit(
    run: ProxyRun, subjects: Sequence[Subject], checkpoint: Path | None = None
) -> Generator[Progress, None, None]:
    """Train until the steps or minutes are spent.

    Parameters
    ----------
    run : ProxyRun
        Fresh, or resumed.
    subjects : sequence of Subject
        Normals to synthesise from.
    checkpoint : Path, optional
        File that is rewritten every few minutes, and when the training is stopped.
    """
    settings = run.settings
    source = Pool(subjects, size=1, rng=run.rng, device=run.device)
    shown: deque[Shown] = deque(maxlen=settings.pool)

    def renew() -> None:
        source.renew()
        shown.append(show(source.draw(), settings))

    while len(shown) < settings.pool:
        yield Progress(len(shown), settings.pool, "Synthesising normal scans")
        renew()
    saved = time.monotonic()
    while run.progress < 1:
        began = time.monotonic()
        if run.step % settings.renew_every == settings.renew_every - 1:
            renew()
        losses = step(run, shown)
        run.seconds += time.monotonic() - began
        if checkpoint and time.monotonic() - saved > 60 * settings.checkpoint_minutes:
            save(run, checkpoint)
            saved = time.monotonic()
        try:
            yield Progress(round(1000 * run.progress), 1000, f"Step {run.step}: loss {losses['loss']:.4f}")
        except GeneratorExit:
            if checkpoint:
                save(run, checkpoint)
            raise
    if checkpoint:
        save(run, checkpoint)


def step(run: ProxyRun, shown: Sequence[Shown]) -> dict[str, float]:
    """One step of gradient descent on random slices; returns the parts of the loss."""
    for group in run.optimiser.param_groups:
        group["lr"] = run.settings.learning_rate * _schedule(run.progress)
    run.network.train()
    slices, proxy = draw(shown, run.rng, run.settings.scans_per_step, run.settings.slices_per_scan)
    parts = losses_of(run.network, slices, proxy, run.settings.pseudo_anomalies, run.rng)
    loss = torch.stack(list(parts.values())).sum()
    run.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    run.optimiser.step()
    run.step += 1
    told = {name: float(part.detach()) for name, part in {"loss": loss, **parts}.items()}
    if run.step % 10 == 1:
        run.curve.append({"step": float(run.step), "seconds": run.seconds} | told)
    return told


def draw(shown: Sequence[Shown], rng: np.random.Generator, scans: int, slices: int) -> tuple[Tensor, Tensor]:
    """Random slices of random scans, mirrored half of the time.

    Returns
    -------
    slices, proxy : Tensor
        Input of the network and its proxy, shape (slice, channel, y, x).
    """
    parts = [shown[int(rng.integers(len(shown)))].draw(rng, slices) for _ in range(scans)]
    inputs, proxies = (torch.cat(column) for column in zip(*parts, strict=True))
    return inputs.contiguous(memory_format=torch.channels_last), proxies


def losses_of(
    network: ProxyNetwork,
    slices: Tensor,
    proxy: Tensor,
    pseudo_anomalies: str,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Mean absolute error of proxy and scan; what was pasted counts as much as all the rest.

    Every second slice is rebuilt from its spoiled normal proxy, the others from what the memory made of the scan.

    Parameters
    ----------
    network : ProxyNetwork
        In training mode.
    slices, proxy : Tensor
        From `draw`.
    pseudo_anomalies : {"none", "proxy", "both"}
        Where patches are pasted.
    rng : numpy.random.Generator
        Source of the patches.
    """
    image, region = slices[:, :1], slices[:, 1:]
    inside = region[:, :1]
    seen, pasted = slices, torch.zeros_like(image, dtype=torch.bool)
    if pseudo_anomalies == "both":
        spoiled, pasted = paste(image, image, inside, rng)
        seen = torch.cat((spoiled, region), dim=1).contiguous(memory_format=torch.channels_last)
    made = network.extraction(seen) * inside
    parts = {"proxy": _error(made, proxy, inside, pasted)}
    if pseudo_anomalies != "none":
        made, pasted = made.clone(), pasted.clone()
        made[1::2], pasted[1::2] = paste(proxy[1::2], image[1::2], inside[1::2], rng)
    return parts | {"image": _error(network.rebuild(made, region), image, inside, pasted)}


def paste(onto: Tensor, image: Tensor, inside: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paste patches of slices elsewhere on their normal proxy: pseudo-anomalies (Zhou et al. 2021).

    Half of the patches become lighter or darker: many lesions have intensities that no normal tissue has.

    Parameters
    ----------
    onto : Tensor
        What is pasted on, shape (slice, 1, y, x).
    image : Tensor
        Slices that the patches are cut out of, same shape.
    inside : Tensor
        Region, 0 or 1, same shape; both ends of a patch lie in it.
    rng : numpy.random.Generator
        Source of number, size, outline, intensity and place.

    Returns
    -------
    spoiled, pasted : Tensor
        New slices, and where they are new, bool.
    """
    spoiled, pasted = onto.clone(), torch.zeros_like(onto, dtype=torch.bool)
    height, width = image.shape[2:]
    rows, columns = np.mgrid[:height, :width]
    for index in range(len(image)):
        places = torch.nonzero(inside[index, 0]).cpu().numpy()
        if not len(places):
            continue
        for _ in range(int(rng.integers(1, MOST_PATCHES + 1))):
            target, source = places[rng.integers(len(places), size=2)]
            shift = tuple(int(v) for v in target - source)
            share = torch.from_numpy(_outline(rows - target[0], columns - target[1], rng)).to(image.device)
            share = share * inside[index, 0] * torch.roll(inside[index, 0], shift, (0, 1))
            lighter = float(rng.uniform(-PATCH_SHIFT, PATCH_SHIFT)) if rng.random() < 0.5 else 0.0
            moved = torch.roll(image[index, 0], shift, (0, 1)) + lighter
            spoiled[index, 0] = torch.lerp(spoiled[index, 0], moved, share)
            pasted[index, 0] |= share > 0.5
    return spoiled, pasted


def _outline(rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of a patch in every pixel: an ellipse or a rectangle, turned, with an edge of some softness."""
    angle = rng.uniform(0, np.pi)
    low, high = np.log(PATCH_RADII)
    first, second = np.exp(rng.uniform(low, high, size=2))
    along = np.abs(rows * np.cos(angle) + columns * np.sin(angle)) / first
    across = np.abs(columns * np.cos(angle) - rows * np.sin(angle)) / second
    distance = np.sqrt(along * along + across * across) if rng.random() < 0.5 else np.maximum(along, across)
    softness = rng.uniform(0.5, 3.0) / min(first, second)
    share: np.ndarray = np.clip((1 - distance) / softness + 0.5, 0, 1).astype(np.float32)
    return share


def save(run: ProxyRun, path: Path) -> None:
    """Write a checkpoint."""
    state = run.rng.bit_generator.state
    facts = {"step": run.step, "seconds": run.seconds, "curve": run.curve, "rng": state}
    save_state(path, modules={"network": run.network}, optimiser=run.optimiser, facts=facts)


def resume(run: ProxyRun, path: Path) -> None:
    """Go on from a checkpoint."""
    facts = load_state(path, modules={"network": run.network}, optimiser=run.optimiser)
    run.step, run.seconds, run.curve = facts["step"], facts["seconds"], facts["curve"]
    run.rng.bit_generator.state = facts["rng"]


def _error(seen: Tensor, wanted: Tensor, inside: Tensor, pasted: Tensor) -> Tensor:
    apart = (seen - wanted).abs()
    own = pasted * inside
    rest = inside - own
    return ((apart * rest).sum() / rest.sum().clamp(min=1)) + (apart * own).sum() / own.sum().clamp(min=1)


def _schedule(progress: float) -> float:
    return min(1.0, (progress + 0.002) / 0.05) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
