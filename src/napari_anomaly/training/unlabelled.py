"""Normal structures that label maps do not tell apart, and that a reader does not call unusual.

Iron makes the dentate nuclei of the cerebellum, the red nuclei and the substantia nigra dark on T2, and less so on
FLAIR, the more the older a person is (Hallgren & Sourander 1958, doi 10.1111/j.1471-4159.1958.tb12607.x). Fluid
follows vessels into the lower basal ganglia (perivascular spaces).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_anomaly.pretask.shapes import field
from napari_anomaly.training.contrast import CLASSES, Family

SHOWN = 0.7
"""Share of the scans from label maps that show them."""

IRON: dict[Family, tuple[float, float]] = {
    "t2": (0.1, 0.55),
    "flair": (0.0, 0.4),
    "t1": (-0.12, 0.12),
    "free": (-0.4, 0.4),
}
"""Share of the signal that iron takes, at least and at most."""

_CEREBELLAR_WHITE, _PUTAMEN, _MIDBRAIN, _FLUID = (CLASSES[number] for number in (7, 12, 28, 4))

_FEWEST = 60
"""Voxels of a structure on one side below which nothing is put there."""


def add_unlabelled(image: Tensor, classes: Tensor, family: Family, rng: np.random.Generator) -> Tensor:
    """Draw iron-rich nuclei and perivascular spaces into a synthesised scan, alike on both sides.

    Parameters
    ----------
    image : Tensor
        Intensities by class, 0 is no signal, shape (z, y, x), voxels of 1 mm.
    classes : Tensor
        Tissue classes, same shape.
    family : {"t1", "t2", "flair", "free"}
        Kind of contrast.
    rng : numpy.random.Generator
        Source of randomness.
    """
    taken = float(rng.uniform(*IRON[family]))
    radii = np.array([rng.uniform(3.5, 6), rng.uniform(5, 9), rng.uniform(3, 6)])
    ragged, share = float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.3, 0.7))
    spots, width = int(rng.integers(0, 9)), float(rng.uniform(0.6, 1.3))
    sides = tuple(image.shape)
    rough = field(sides, coarse=float(rng.uniform(4, 8)), seed=int(rng.integers(2**31)), device=image.device)
    image = image.clone()
    fluid = image[classes == _FLUID]
    for places in _sides(classes == _CEREBELLAR_WHITE):
        # not every device has numbers of 64 bits
        off, reach = (
            torch.tensor(v, dtype=torch.float32).to(image.device) for v in (rng.normal(0, 2, 3), radii)
        )
        far = (((places - places.float().mean(0) - off) / reach) ** 2).sum(1).sqrt()
        index = tuple(places.T)
        alpha = torch.sigmoid((1 - far + ragged * rough[index]) / 0.15)
        image[index] *= 1 - taken * float(rng.uniform(0.85, 1.15)) * alpha
    for places in _sides(classes == _MIDBRAIN):
        index = tuple(places.T)
        alpha = rough[index] > torch.quantile(rough[index][::7], 1 - share)
        image[index] *= 1 - 0.8 * taken * alpha
    for places in _sides(classes == _PUTAMEN):
        if spots and len(fluid):
            low = places[places[:, 0] < places[:, 0].float().quantile(0.4)]
            chosen = low[torch.from_numpy(rng.integers(len(low), size=spots)).to(low.device)].float()
            apart = torch.cdist(places.float(), chosen).amin(1)
            index = tuple(places.T)
            alpha = torch.exp(-0.5 * (apart / width) ** 2) * float(rng.uniform(0.3, 0.9))
            image[index] = image[index] * (1 - alpha) + alpha * fluid.median()
    return image


def _sides(region: Tensor) -> list[Tensor]:
    """Voxels of a structure of both halves of the brain, apart, where there are enough of them."""
    places = torch.nonzero(region)
    if len(places) < 2 * _FEWEST:
        return []
    across = places[:, 2].float()
    halves = places[across < across.mean()], places[across >= across.mean()]
    return [half for half in halves if len(half) >= _FEWEST]
