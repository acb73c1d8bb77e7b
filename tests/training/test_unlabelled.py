"""Iron and perivascular spaces: normal structures that label maps do not tell apart."""

import numpy as np
import pytest
import torch

from napari_anomaly.training.contrast import CLASSES
from napari_anomaly.training.unlabelled import add_unlabelled

CEREBELLUM, PUTAMEN, MIDBRAIN, FLUID = (CLASSES[number] for number in (7, 12, 28, 4))
ANY = CLASSES[2]


@pytest.fixture
def classes():
    """White matter with structures on both sides, and some fluid."""
    labels = torch.full((40, 40, 60), ANY)
    for left in (5, 35):
        labels[2:14, 20:38, left : left + 20] = CEREBELLUM
        labels[18:30, 2:16, left + 4 : left + 16] = PUTAMEN
        labels[15:18, 17:30, left + 5 : left + 15] = MIDBRAIN
    labels[32:36, 10:20, 25:35] = FLUID
    return labels


def drawn(classes, family, seed):
    image = torch.full(classes.shape, 0.5)
    image[classes == FLUID] = 1.0
    return image, add_unlabelled(image, classes, family, np.random.default_rng(seed))


@pytest.mark.parametrize("family", ["t2", "flair", "t1", "free"])
def test_only_these_structures_change(classes, family):
    image, changed = drawn(classes, family, 1)
    others = ~torch.isin(classes, torch.tensor([CEREBELLUM, PUTAMEN, MIDBRAIN]))
    assert torch.equal(changed[others], image[others])
    assert not torch.equal(changed, image)
    assert bool(changed.isfinite().all())
    assert bool((image[classes == PUTAMEN] == 0.5).all())


def test_iron_darkens_both_sides_alike_on_t2(classes):
    for seed in range(5):
        _, changed = drawn(classes, "t2", seed)
        for structure in (CEREBELLUM, MIDBRAIN):
            left, right = (
                changed[..., half][classes[..., half] == structure].min()
                for half in (slice(0, 30), slice(30, 60))
            )
            assert left < 0.48
            assert right < 0.48
            assert abs(left - right) < 0.12


def test_spaces_have_the_brightness_of_fluid(classes):
    brightest = max(float(drawn(classes, "t2", seed)[1][classes == PUTAMEN].max()) for seed in range(6))
    assert 0.6 < brightest <= 1.0


def test_maps_without_these_structures_stay_as_they_are():
    classes = torch.full((8, 8, 8), ANY)
    image = torch.rand(8, 8, 8)
    assert torch.equal(add_unlabelled(image, classes, "flair", np.random.default_rng(0)), image)
