"""Small scans on disk."""

import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.samples import phantom, phantom_lesion
from tiny_detector import write_tiny_detector

SHAPE = (40, 48, 40)
FIELD_MM = 96.0
LESION_MM = 11.0


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Words that choose a detector which is fast and knows nothing."""
    path = write_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny.safetensors")
    return ["--detector", str(path), "--device", "cpu", "--engine", "torch"]


@pytest.fixture
def write_phantom(tmp_path):
    """Write a small head with a lesion under a name, and give its path."""

    def write(name, *, lesion_mm=LESION_MM, seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scan = phantom(SHAPE, rng=np.random.default_rng(seed), lesion_mm=lesion_mm, field_mm=FIELD_MM)
        io.write_like(scan.voxels, scan, path, kind="image")
        return path

    return write


@pytest.fixture
def write_truth(tmp_path):
    """Write the mask of the phantom's lesion, and give its path."""

    def write(name="truth.nii.gz", *, lesion_mm=LESION_MM):
        path = tmp_path / name
        mask = phantom_lesion(SHAPE, lesion_mm=lesion_mm, field_mm=FIELD_MM)
        io.write_like(mask, phantom(SHAPE, field_mm=FIELD_MM), path, kind="mask")
        return path

    return write
