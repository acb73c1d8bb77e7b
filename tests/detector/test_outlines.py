"""Where findings end."""

import numpy as np
import pytest

from napari_anomaly.anomaly import from_decades
from napari_anomaly.detector.outlines import outlined, without_halo

SIDE = 24


def blob(height: float, reach: float) -> np.ndarray:
    """Raw scores that fall from the middle outwards, to 0 at the reach."""
    axes = np.indices((SIDE, SIDE, SIDE)) - SIDE // 2
    return (height - np.sqrt((axes**2).sum(0)) * height / reach).astype(np.float32)


def test_a_finding_of_which_the_network_is_sure_ends_near_even_odds():
    raw = blob(30.0, 10.0)
    labels = (raw > -3).astype(np.int32)
    kept = outlined(raw, labels, 2.0)
    assert kept.sum() < labels.sum()
    assert raw[kept].min() == pytest.approx(2.0, abs=1.0)


def test_a_faint_finding_keeps_its_low_voxels():
    raw = blob(0.5, 4.0)
    labels = (raw > -0.5).astype(np.int32)
    kept = outlined(raw, labels, 2.0)
    assert raw[kept].max() < 2.0
    assert raw[kept].min() < -0.1
    assert kept.sum() > 0.4 * labels.sum()


def test_every_finding_has_an_outline_of_its_own():
    raw = np.full((1, 1, 40), -1.0, np.float32)
    raw[0, 0, 5:10], raw[0, 0, 20:30] = 8.0, -0.8
    labels = np.zeros(raw.shape, np.uint32)
    labels[0, 0, 2:13], labels[0, 0, 20:30] = 7, 2
    kept = outlined(raw, labels, 2.0)
    assert np.flatnonzero(kept).tolist() == [*range(5, 10), *range(20, 30)]


def test_no_finding_falls_below_the_smallest():
    raw = np.full((1, 1, 40), -1.0, np.float32)
    raw[0, 0, 10] = 20.0
    labels = np.zeros(raw.shape, np.uint32)
    labels[0, 0, 5:25] = 1
    assert outlined(raw, labels, 2.0).sum() == 1
    assert outlined(raw, labels, 2.0, smallest=6).sum() == 6
    assert outlined(raw, labels, 2.0, smallest=99).sum() == 20
    assert not outlined(raw, np.zeros_like(labels), 2.0).any()


def test_the_expected_dice_is_highest_there():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 2, (6, 6, 6)).astype(np.float32)
    kept = outlined(raw, np.ones(raw.shape, np.int32), 1.0)
    chance = 1 / (1 + np.exp(-(raw.astype(np.float64) - 1.0)))

    def expected(inside: np.ndarray) -> float:
        return float(2 * chance[inside].sum() / (inside.sum() + chance.sum()))

    assert all(expected(kept) >= expected(raw >= at) for at in np.unique(raw))


def test_a_halo_falls_just_below_what_findings_reach_and_nothing_else_changes():
    raw = blob(30.0, 10.0)
    score = np.clip((raw + 10) / 41, 0, 1).astype(np.float32)
    lowest = np.float32(from_decades(0.5))
    trimmed = without_halo(score, raw, 20.0, threshold=from_decades(1.0), hysteresis=0.5, smallest=30)
    halo = trimmed != score
    assert halo.any()
    assert np.all(score[halo] >= lowest)
    assert np.all((trimmed[halo] < lowest) & (trimmed[halo] > lowest - 1e-5))
    assert np.all(raw[halo] < raw[(score >= lowest) & ~halo].min())
