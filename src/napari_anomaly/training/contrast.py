"""Tissue classes and the random contrasts in which they are synthesised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from napari_anomaly.networks.joint import CONTRASTS

Family = Literal["t1", "t2", "flair", "free"]

FAMILIES: tuple[Family, ...] = cast("tuple[Family, ...]", CONTRASTS)

BRIGHT: dict[Family, float] = {"t1": 0.3, "t2": 0.9, "flair": 0.93, "free": 0.5}
"""Chance that a lesion is brighter than the tissue around it: oedema and gliosis prolong T1 and T2."""

WHITE = (1, 4)
"""Classes of white matter, of the cerebrum and of the cerebellum."""

ENHANCED = 0.35
"""Share of T1-weighted scans in which vessels and choroid plexus shine, as after contrast agent."""

CSF = 15
"""Class of the fluid around the brain."""

# FreeSurfer number -> class; 25 and 57 are age-related changes of white matter, kept as white matter
_GROUPS: tuple[tuple[int, ...], ...] = (
    (0,),
    (2, 41, 25, 57),
    (3, 42),
    (4, 43, 5, 44),
    (7, 46),
    (8, 47),
    (10, 49),
    (11, 50),
    (12, 51),
    (13, 52),
    (14, 15, 72),
    (16,),
    (17, 18, 53, 54),
    (26, 58, 28, 60),
    (30, 62, 136, 137, 163, 164),
    (24,),
    (85,),
    (502,),
    (506,),
    (507,),
    (508,),
    (509,),
    (511,),
    (512,),
    (514,),
    (515,),
    (516,),
    (530,),
)

CLASSES: dict[int, int] = {number: index for index, group in enumerate(_GROUPS) for number in group}
"""Class of every FreeSurfer number that SynthSeg's label maps use."""

# tissue each class resembles: 0 air, 1 white, 2 grey, 3 fluid, 4 vessels and choroid plexus, 5 outside the brain
_LIKE = np.array([0, 1, 2, 3, 1, 2, 2, 2, 2, 2, 3, 1, 2, 2, 4, 3, 1] + [5] * 11)

TISSUE_OF = np.where(_LIKE <= 3, _LIKE, 0).astype(np.uint8)
"""White matter 1, grey matter 2, fluid 3 for every class; 0 for vessels and what is no brain."""

# white, grey, fluid, vessels: ranges of the mean
_RANGES: dict[Family, tuple[tuple[float, float], ...]] = {
    "t1": ((0.70, 0.95), (0.45, 0.68), (0.05, 0.30), (0.2, 0.7)),
    "t2": ((0.25, 0.45), (0.42, 0.65), (0.80, 1.10), (0.3, 0.9)),
    "flair": ((0.42, 0.60), (0.55, 0.78), (0.03, 0.25), (0.3, 0.8)),
    "free": ((0.05, 1.00), (0.05, 1.00), (0.00, 1.10), (0.0, 1.0)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Mean and spread of every class, and the brightness of normal periventricular caps."""

    mean: np.ndarray
    spread: np.ndarray
    cap: float


def brain_classes() -> np.ndarray:
    """Classes that are brain or lie within it."""
    return np.array([index for index in range(1, 17) if index != CSF])


def draw_family(rng: np.random.Generator) -> Family:
    """Draw a kind of contrast; FLAIR and T2 most often, since lesions are read on them."""
    return FAMILIES[int(rng.choice(4, p=[0.2, 0.34, 0.36, 0.1]))]


def draw_contrast(family: Family, rng: np.random.Generator) -> Contrast:
    """Draw means and spreads of all classes for a family.

    Parameters
    ----------
    family : {"t1", "t2", "flair", "free"}
        Kind of contrast.
    rng : numpy.random.Generator
        Source of randomness.
    """
    tissue = [rng.uniform(*bounds) for bounds in _RANGES[family]]
    if family == "flair":
        # grey matter is brighter than white by a tenth to a half
        tissue[1] = min(0.9, tissue[0] * rng.uniform(1.05, 1.5))
    if family == "t1" and rng.random() < ENHANCED:
        tissue[3] = rng.uniform(0.9, 1.6)
    mean = np.zeros(len(_LIKE), np.float32)
    for index, like in enumerate(_LIKE):
        if like == 5:
            mean[index] = rng.uniform(0, 1.1)
        elif like:
            own = rng.normal(0, 0.035) if index not in (1, 2, 3) else 0.0
            mean[index] = tissue[like - 1] + own
    mean[9] += 0.5 * (mean[1] - mean[2])  # iron and myelin bring the pallidum near white matter
    mean[6] += 0.4 * (mean[1] - mean[2])
    mean[CSF] = mean[3] + rng.normal(0, 0.03)
    spread = rng.uniform(0.008, 0.05) * np.exp(rng.normal(0, 0.3, len(_LIKE)))
    spread[0] = 0.0
    cap = float(rng.uniform(0, 0.12)) if family == "flair" else 0.0
    return Contrast(mean, spread.astype(np.float32), cap)
