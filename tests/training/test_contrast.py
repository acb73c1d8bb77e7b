from collections import Counter

import numpy as np
import pytest

from napari_anomaly.networks.joint import CONTRASTS
from napari_anomaly.training.contrast import (
    BRIGHT,
    CLASSES,
    CSF,
    ENHANCED,
    FAMILIES,
    brain_classes,
    draw_contrast,
    draw_family,
)
from napari_anomaly.training.contrast import (
    WHITE as WHITE_MATTER,
)

WHITE, GREY, FLUID = CLASSES[2], CLASSES[3], CLASSES[4]


def draws(family, count=60):
    return [draw_contrast(family, np.random.default_rng(seed)) for seed in range(count)]


def test_the_network_tells_apart_what_is_synthesised():
    assert FAMILIES == CONTRASTS


def test_white_matter_is_that_of_cerebrum_and_cerebellum():
    assert WHITE_MATTER == (CLASSES[2], CLASSES[7]) == (CLASSES[41], CLASSES[46])
    assert GREY not in WHITE_MATTER


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


def test_vessels_and_choroid_plexus_shine_on_some_t1_scans():
    vessels = np.array([draw.mean[CLASSES[30]] for draw in draws("t1", 300)])
    assert np.mean(vessels > 0.8) == pytest.approx(ENHANCED, abs=0.08)
    assert max(draw.mean[CLASSES[30]] for draw in draws("t2")) < 1.05


def test_lesions_are_dark_on_t1_and_bright_on_t2_and_flair():
    assert BRIGHT["t1"] < BRIGHT["free"] == 0.5 < BRIGHT["t2"] <= BRIGHT["flair"] < 1


def test_caps_are_seen_on_flair_alone():
    assert max(contrast.cap for contrast in draws("flair", 20)) > 0.05
    assert {contrast.cap for family in ("t1", "t2", "free") for contrast in draws(family, 5)} == {0.0}


def test_the_same_seed_draws_the_same_contrast():
    one, same, other = (draw_contrast("t1", np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.mean, same.mean)
    assert not np.array_equal(one.mean, other.mean)


def test_lesions_are_read_on_flair_and_t2():
    rng = np.random.default_rng(0)
    counts = Counter(draw_family(rng) for _ in range(2000))
    assert set(counts) == set(FAMILIES) == set(BRIGHT)
    assert {family for family, _ in counts.most_common(2)} == {"flair", "t2"}
    assert 0.6 < (counts["flair"] + counts["t2"]) / 2000 < 0.8
    assert min(counts.values()) > 100
