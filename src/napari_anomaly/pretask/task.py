"""The pretask: sample anomalies as plain data, then paint them on a normal scan with pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_anomaly.pretask import blending
from napari_anomaly.pretask.shapes import Shape, box, field, membership

Kind = Literal["shift", "replace", "rim", "transplant", "blur", "push"]
Scenario = Literal["white", "scatter", "mass", "infarct", "mixed"]

VISIBLE = 0.1
"""Smallest local change, as a share of the brain's intensity range, that is called an anomaly."""

GRAIN_TIMES = 1.5
"""A change that is called an anomaly exceeds this multiple of the grain (noise and fine structure) around it."""

MOST_GRAIN = 0.2
"""A change larger than this is seen through any grain."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One synthetic anomaly as plain numbers.

    Parameters
    ----------
    shape : Shape
        Where, how large, which outline.
    kind : str
        How it is painted, a function of `blending`.
    amount : float
        Signed intensity change, a share of the brain's range (p5 to p95).
    texture : float
        Relative strength of the lesion's own texture.
    grain : float
        Size of that texture in mm.
    tissue : float
        Width of the intensity window that binds it to the tissue at its centre; 0 crosses borders.
    second : float
        Second intensity (the core of a rim), or the strength of a push.
    """

    shape: Shape
    kind: Kind
    amount: float
    texture: float = 0.0
    grain: float = 3.0
    tissue: float = 0.0
    second: float = 0.0


class Painted(NamedTuple):
    """A scan after the pretask."""

    image: Tensor
    """Shape (z, y, x), float32."""
    truth: Tensor
    """Voxels that were visibly changed, bool, shape (z, y, x)."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Range of signed contrast in a stage of the curriculum.

    Parameters
    ----------
    faintest, strongest : float
        Bounds of the absolute intensity change, shares of the brain's range.
    plain : float
        Share of scans with plain anomalies only: large, and far brighter or darker than any tissue.
    """

    faintest: float = 0.2
    strongest: float = 1.0
    plain: float = 0.0

    @classmethod
    def at(cls, progress: float) -> Difficulty:
        """Difficulty at a share of the training done: plain first, since faint ones stall the learning."""
        eased = min(1.0, max(0.0, progress - 0.1) / 0.6)
        return cls(faintest=0.5 - 0.3 * eased, strongest=1.0, plain=max(0.0, 0.75 - 3 * progress))


def sample(
    rng: np.random.Generator,
    centres: np.ndarray,
    *,
    white: np.ndarray | None = None,
    bright: float,
    difficulty: Difficulty,
    templates: int = 0,
    scenario: Scenario | None = None,
) -> tuple[Anomaly, ...]:
    """Draw the anomalies of one scan.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    centres : ndarray of int, shape (n, 3)
        Voxels (z, y, x) of the region where an anomaly may lie.
    white : ndarray of int, shape (n, 3), optional
        Voxels of the white matter, where the lesions of many diseases lie; anywhere if left out.
    bright : float
        Chance that an anomaly is brighter than its surroundings (lesions on FLAIR mostly are).
    difficulty : Difficulty
        Range of contrasts.
    templates : int, default 0
        Number of real lesion shapes in the library.
    scenario : str, optional
        What kind of disease, drawn if left out.
    """
    if rng.random() < difficulty.plain:
        return tuple(_plain(rng, centres, bright) for _ in range(rng.integers(1, 6)))
    white = centres if white is None else white
    scenario = scenario or rng.choice(
        ["white", "scatter", "mass", "infarct", "mixed"], p=[0.4, 0.06, 0.28, 0.18, 0.08]
    )
    sign = 1.0 if rng.random() < bright else -1.0
    if scenario == "white":
        return _white_matter(rng, white, sign=sign, difficulty=difficulty)
    if scenario == "scatter":
        radius = rng.uniform(1.2, 4.0)
        base = _draw(rng, centres, sign=sign, difficulty=difficulty, radius=radius, templates=0)
        base = replace(base, kind="shift", tissue=rng.choice([0.0, 0.35, 0.6]))
        return tuple(_sibling(rng, base, centres) for _ in range(rng.integers(3, 24)))
    if scenario == "mass":
        return _mass(rng, white if rng.random() < 0.75 else centres, sign=sign, difficulty=difficulty)
    count = 1 + int(rng.random() < 0.3) if scenario == "infarct" else int(rng.integers(1, 7))
    return tuple(
        _draw(
            rng,
            centres,
            sign=sign if rng.random() < 0.8 else -sign,
            difficulty=difficulty,
            radius=float(np.exp(rng.uniform(np.log(6 if scenario == "infarct" else 2), np.log(26)))),
            templates=templates if scenario == "infarct" or rng.random() < 0.25 else 0,
        )
        for _ in range(count)
    )


def paint(
    image: Tensor, mask: Tensor, anomalies: tuple[Anomaly, ...], *, library: Tensor | None = None
) -> Painted:
    """Paint anomalies on a normal scan.

    Parameters
    ----------
    image : Tensor
        Normal scan of 1 mm voxels, shape (z, y, x); the brain's p5 to p95 span 0 to 1.
    mask : Tensor
        Region where anomalies may appear, bool, same shape.
    anomalies : tuple of Anomaly
        What to paint, in order.
    library : Tensor or None
        Real lesion shapes, see `shapes.membership`.

    Returns
    -------
    Painted
        New tensors; the arguments are left as they are.
    """
    result = image.clone()
    truth = torch.zeros_like(mask)
    for anomaly in anomalies:
        window = box(anomaly.shape, tuple(image.shape))
        before = result[window]
        after, alpha = _apply(before, anomaly, result, library)
        changed = blending.smooth((after - before).abs(), 3) > _visible(anomaly.kind, before, mask[window])
        here = (alpha > 0.4) & changed & mask[window]
        if int(here.sum()) < 4:
            continue
        result[window] = torch.where(mask[window], after, before)
        truth[window] |= here
    return Painted(result, truth)


def _visible(kind: Kind, patch: Tensor, mask: Tensor) -> float:
    # what a reader cannot see teaches a network to guess; loss of grain is no larger than the grain
    grain = (patch - blending.smooth(patch, 3)).abs()[mask]
    if kind in ("blur", "push") or not len(grain):
        return VISIBLE
    return min(max(VISIBLE, GRAIN_TIMES * float(grain.median())), MOST_GRAIN)


def _apply(patch: Tensor, anomaly: Anomaly, whole: Tensor, library: Tensor | None) -> tuple[Tensor, Tensor]:
    shape = anomaly.shape
    alpha = membership(shape, tuple(whole.shape), library=library, device=patch.device)
    window = box(shape, tuple(whole.shape))
    middle = tuple(c - part.start for c, part in zip(shape.centre, window, strict=True))
    tissue = blending.smooth(patch, 3)
    level = float(tissue[middle])
    if anomaly.tissue:
        alpha = alpha * torch.exp(-(((tissue - level) / anomaly.tissue) ** 2))
    texture = None
    if anomaly.texture:
        texture = anomaly.texture * field(
            tuple(patch.shape), coarse=anomaly.grain, seed=shape.seed + 1, device=patch.device
        )
    match anomaly.kind:
        case "shift":
            return blending.shift(patch, alpha, anomaly.amount, texture), alpha
        case "replace":
            return blending.replace(patch, alpha, level + anomaly.amount, texture), alpha
        case "rim":
            return blending.rim(patch, alpha, level + anomaly.amount, level + anomaly.second), alpha
        case "blur":
            return blending.blur(patch, alpha, 5 if max(shape.radii) < 8 else 9), alpha
        case "push":
            radius = max(shape.radii) * 1.4
            return blending.displace(patch, middle, radius, anomaly.second), alpha
        case "transplant":
            foreign = _elsewhere(whole, window, shape.seed)
            return blending.transplant(patch, alpha, foreign + anomaly.second), alpha


def _elsewhere(whole: Tensor, window: tuple[slice, slice, slice], seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    sides = [part.stop - part.start for part in window]
    # the middle half of the grid is inside the head
    starts = [
        int(np.clip(rng.integers(n // 4, max(n // 4 + 1, 3 * n // 4)) - side // 2, 0, n - side))
        for n, side in zip(whole.shape, sides, strict=True)
    ]
    foreign = whole[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))]
    return foreign.flip([axis for axis in range(3) if rng.random() < 0.5])


def _plain(rng: np.random.Generator, centres: np.ndarray, bright: float) -> Anomaly:
    shape = _outline(rng, centres[rng.integers(len(centres))], float(rng.uniform(4, 20)), 0)
    sign = 1.0 if rng.random() < bright else -1.0
    return Anomaly(shape=shape, kind="shift", amount=sign * float(rng.uniform(0.8, 1.6)))


def _draw(
    rng: np.random.Generator,
    centres: np.ndarray,
    *,
    sign: float,
    difficulty: Difficulty,
    radius: float,
    templates: int,
) -> Anomaly:
    shape = _outline(rng, centres[rng.integers(len(centres))], radius, templates)
    kind: Kind = rng.choice(
        ["shift", "replace", "rim", "transplant", "blur", "push"], p=[0.45, 0.33, 0.08, 0.08, 0.02, 0.04]
    )
    return Anomaly(
        shape=shape,
        kind=kind,
        amount=sign * float(rng.uniform(difficulty.faintest, difficulty.strongest)),
        texture=float(rng.choice([0.0, rng.uniform(0.05, 0.25)])),
        grain=float(rng.uniform(2, 6)),
        tissue=float(rng.choice([0.0, 0.4, 0.6], p=[0.5, 0.2, 0.3])) if kind == "shift" else 0.0,
        second=_second(rng, kind),
    )


def _second(rng: np.random.Generator, kind: Kind) -> float:
    if kind == "push":
        return float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.6))
    return float(rng.uniform(-0.8, 0.5)) if kind == "rim" else float(rng.uniform(-0.2, 0.2))


def _outline(rng: np.random.Generator, centre: np.ndarray, radius: float, templates: int) -> Shape:
    ratios = np.exp(rng.uniform(-0.45, 0.45, 3))
    radii = np.maximum(radius * ratios / np.cbrt(ratios.prod()), 1.0)
    return Shape(
        centre=(int(centre[0]), int(centre[1]), int(centre[2])),
        radii=(float(radii[0]), float(radii[1]), float(radii[2])),
        turn=tuple(float(v) for v in rng.normal(0, 0.8, 3)),  # type: ignore[arg-type]
        rough=float(rng.uniform(0, 1)),
        edge=float(rng.uniform(0.3, 1.0) * (1 + 0.1 * radius)),
        seed=int(rng.integers(2**31)),
        template=int(rng.integers(templates)) if templates else -1,
    )


def _sibling(rng: np.random.Generator, base: Anomaly, centres: np.ndarray) -> Anomaly:
    # the lesions of one patient look alike and vary in size
    radius = float(np.clip(np.mean(base.shape.radii) * np.exp(rng.normal(0, 0.5)), 1.0, 12.0))
    shape = _outline(rng, centres[rng.integers(len(centres))], radius, 0)
    return replace(
        base, shape=replace(shape, edge=base.shape.edge), amount=base.amount * rng.uniform(0.7, 1.2)
    )


def _white_matter(
    rng: np.random.Generator, white: np.ndarray, *, sign: float, difficulty: Difficulty
) -> tuple[Anomaly, ...]:
    """Many small lesions of one look in the white matter, deep ones near the ventricles first, some confluent."""
    middle = white.mean(0)
    depth = np.linalg.norm(white - middle, axis=1)
    chance = np.exp(-depth / float(rng.uniform(12, 60)))
    chance /= chance.sum()
    base = _draw(
        rng, white, sign=sign, difficulty=difficulty, radius=float(rng.uniform(1.2, 3.5)), templates=0
    )
    amount = sign * float(rng.uniform(difficulty.faintest, max(0.65, difficulty.faintest + 0.1)))
    base = replace(
        base, kind=rng.choice(["shift", "replace"]), amount=amount, tissue=float(rng.choice([0.0, 0.3, 0.6]))
    )
    if base.kind == "replace":
        base = replace(base, tissue=0.0, texture=min(base.texture, 0.08))
    chosen = rng.choice(len(white), size=int(rng.integers(3, 36)), p=chance)
    lesions = [_sibling(rng, base, white[index : index + 1]) for index in chosen]
    if rng.random() < 0.35:
        # lesions that run together around the ventricles
        wide = _outline(rng, white[chosen[0]], float(rng.uniform(6, 16)), 0)
        lesions.append(replace(base, shape=wide, kind="shift", tissue=float(rng.uniform(0.15, 0.4))))
    return tuple(lesions)


def _mass(
    rng: np.random.Generator, centres: np.ndarray, *, sign: float, difficulty: Difficulty
) -> tuple[Anomaly, ...]:
    radius = float(rng.uniform(8, 34))
    oedema = _draw(rng, centres, sign=sign, difficulty=difficulty, radius=radius, templates=0)
    oedema = replace(oedema, kind="shift", tissue=float(rng.choice([0.0, 0.4])))
    # oedema spreads through white matter and spares the cortex: it is faint on T1
    oedema = replace(oedema, amount=oedema.amount * float(rng.uniform(0.7, 1.0)))
    parts = [oedema]
    if rng.random() < 0.5:
        push = Anomaly(shape=oedema.shape, kind="push", amount=0.0, second=float(rng.uniform(0.2, 0.5)))
        parts.insert(0, push)
    if rng.random() < 0.65:
        core = _outline(rng, np.asarray(oedema.shape.centre), radius * rng.uniform(0.25, 0.6), 0)
        kind: Kind = rng.choice(["replace", "rim"])
        amount = float(rng.choice([-1, 1]) * rng.uniform(0.15, 0.9))
        parts.append(
            replace(
                oedema, shape=core, kind=kind, amount=amount, tissue=0.0, second=float(rng.uniform(-0.7, 0.3))
            )
        )
    return tuple(parts)
