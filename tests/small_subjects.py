"""Normal people on small grids, for tests of the training."""

import nibabel as nib
import numpy as np
import torch

from napari_anomaly.training.contrast import CLASSES
from napari_anomaly.training.normals import Subject

SIDES = (48, 96, 96)
HEAD_SIDES = (32, 32, 32)

WHITE, GREY, VENTRICLE, SKULL = (CLASSES[number] for number in (2, 3, 4, 514))


def egg(sides, share):
    """Mark an ellipsoid that fills a share of every side."""
    lines = [np.linspace(-1, 1, side) for side in sides]
    return sum(line**2 for line in np.meshgrid(*lines, indexing="ij")) < share**2


def class_map(sides):
    """Skull around grey around white matter around a ventricle."""
    classes = np.zeros(sides, np.uint8)
    for share, index in ((0.95, SKULL), (0.8, GREY), (0.65, WHITE), (0.35, VENTRICLE)):
        classes[egg(sides, share)] = index
    return classes


def label_subject(*, head=True, sides=SIDES):
    """A label map with its head."""
    coarse = class_map(HEAD_SIDES)
    return Subject(
        name="labels",
        kind="labels",
        voxels=torch.from_numpy(class_map(sides)),
        mask=torch.from_numpy(egg(sides, 0.8)),
        head=torch.from_numpy(coarse) if head else None,
        head_mask=torch.from_numpy(egg(HEAD_SIDES, 0.8)) if head else None,
    )


def real_subject(kind="t1", *, head=True, sides=SIDES):
    """A scan in which grey matter is grey, white matter bright and the ventricle dark, as on T1."""

    def image(sides):
        values = np.zeros(256, np.float32)
        values[[SKULL, GREY, WHITE, VENTRICLE]] = (0.3, 0.5, 0.9, 0.05)
        noise = np.random.default_rng(0).normal(0, 0.03, sides).astype(np.float32)
        return torch.from_numpy(values[class_map(sides)] + noise)

    return Subject(
        name=kind,
        kind=kind,
        voxels=image(sides).half(),
        mask=torch.from_numpy(egg(sides, 0.8)),
        head=image(HEAD_SIDES) if head else None,
        head_mask=torch.from_numpy(egg(HEAD_SIDES, 0.8)) if head else None,
    )


def write_volume(path, array_zyx, spacing=1.0):
    """Write an array (superior, posterior, left) as a NIfTI file in RAS+ order."""
    array = np.ascontiguousarray(array_zyx[:, ::-1, ::-1].transpose(2, 1, 0))
    nib.save(nib.Nifti1Image(array, np.diag([spacing, spacing, spacing, 1.0])), path)
    return path
