"""A brain of a few boxes with known sides, for tests of the anatomy network and its training."""

import numpy as np
import torch

from napari_anomaly.anatomy import NAMES
from napari_anomaly.preprocess import FIELD
from napari_anomaly.training.anatomy_cases import AnatomyCase
from napari_anomaly.training.atlases import parts

# FreeSurfer numbers of a crude brain in (superior, posterior, left): left is the upper half of the last axis
LEFT, RIGHT = {"white": 2, "cortex": 3, "ventricle": 4}, {"white": 41, "cortex": 42, "ventricle": 43}


def numbers(sides=FIELD):
    """Cortex around white matter around a ventricle, each half with its own numbers, in fluid and skull."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, side) for side in sides], indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    found = np.zeros(sides, np.int16)
    found[radius < 0.95] = 514
    found[radius < 0.85] = 24
    for half, table in ((x >= 0, LEFT), (x < 0, RIGHT)):
        found[half & (radius < 0.8)] = table["cortex"]
        found[half & (radius < 0.6)] = table["white"]
        found[half & (radius < 0.25)] = table["ventricle"]
    # a furrow: fluid between tissue is within the brain, fluid around it is not
    found[(np.abs(y) < 0.06) & (z > 0.4) & (radius < 0.8)] = 24
    return found


def a_case(*, lobes=False):
    """The brain as a case, with a scan of its own where lobes are asked for."""
    from napari_anomaly.training.atlases import freesurfer, truth_of
    from napari_anomaly.training.contrast import CLASSES

    raw = numbers()
    left = np.indices(raw.shape)[2] >= raw.shape[2] // 2
    truth, classes = np.zeros(raw.shape, np.uint8), np.zeros(raw.shape, np.uint8)
    for number in np.unique(raw):
        region = freesurfer().get(int(number))
        classes[raw == number] = CLASSES[int(number)]
        if region is not None:
            for side, half in (("left", left), ("right", ~left)):
                truth[(raw == number) & half] = truth_of(region, side)
    scan = torch.from_numpy(classes).half() / 28 if lobes else None
    partition = torch.arange(len(NAMES)) if lobes else torch.tensor(parts())
    mask = torch.from_numpy(truth > 0)
    return AnatomyCase("box", torch.from_numpy(classes), torch.from_numpy(truth), mask, partition, scan)
