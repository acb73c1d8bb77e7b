from collections import Counter

import numpy as np
import pytest

from napari_anomaly.training.contrast import (
    BRIGHT,
    CLASSES,
    CSF,
    FAMILIES,
    brain_classes,
    draw_contrast,
    draw_family,
)

WHITE, GREY, FLUID = CLASSES[2], CLASSES[3], CLASSES[4]


def draws(family, count=60):
    return [draw_contrast(family, np.random.default_rng(seed)) for seed in range(count)]


def test_left_and_right_are_one_class_and_air_is_the_first():
    assert CLASSES[0] == 0
    for left, right in ((2, 41), (3, 42), (4, 43), (10, 49), (17, 53)):
        assert CLASSES[left] == CLASSES[right]
    assert len({WHITE, GREY, FLUID, CLASSES[24]}) == 4
    assert set(CLASSES.values()) == set(range(len(draws("t1", 1)[0].mean)))


def test_the_brain_holds_no_air_no_skull_and_no_outer_fluid():
    brain = set(brain_classes().tolist())
    assert {WHITE, GREY, FLUID, CLASSES[16]} < brain
    assert not brain & {0, CSF, CLASSES[514]}
    assert CLASSES[24] == CSF


@pytest.mark.parametrize(
    ("family", "order"),
    [("t1", (FLUID, GREY, WHITE)), ("t2", (WHITE, GREY, FLUID)), ("flair", (FLUID, WHITE, GREY))],
)
def test_tissues_rank_as_radiologists_know_them(family, order):
    ranked = [np.all(np.diff(contrast.mean[list(order)]) > 0) for contrast in draws(family)]
    assert np.mean(ranked) > 0.95


def test_the_free_family_knows_no_order():
    ranks = {tuple(np.argsort(contrast.mean[[WHITE, GREY, FLUID]])) for contrast in draws("free")}
    assert len(ranks) == 6


def test_air_is_nothing_and_tissue_varies():
    for contrast in draws("t2", 10):
        assert contrast.mean[0] == contrast.spread[0] == 0
        assert (contrast.spread[1:] > 0).all()
        assert contrast.mean.dtype == contrast.spread.dtype == np.float32


def test_caps_are_seen_on_flair_alone():
    assert max(contrast.cap for contrast in draws("flair", 20)) > 0.05
    assert {contrast.cap for family in ("t1", "t2", "free") for contrast in draws(family, 5)} == {0.0}


def test_the_same_seed_draws_the_same_contrast():
    one, same, other = (draw_contrast("t1", np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.mean, same.mean)
    assert not np.array_equal(one.mean, other.mean)


def test_lesions_are_read_on_flair():
    rng = np.random.default_rng(0)
    counts = Counter(draw_family(rng) for _ in range(2000))
    assert set(counts) == set(FAMILIES) == set(BRIGHT)
    assert counts.most_common(1)[0][0] == "flair"
    assert counts["flair"] / 2000 == pytest.approx(0.4, abs=0.05)
