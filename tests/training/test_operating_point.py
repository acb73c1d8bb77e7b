import numpy as np
import pytest

from napari_anomaly.anomaly import FalseFindings, from_decades, to_decades
from napari_anomaly.training.operating_point import (
    MOST_FALSE,
    MOST_FALSE_ML,
    SMALLEST_MM3,
    THRESHOLDS,
    VOLUMES_MM3,
    Trial,
    operating_point,
    quiet_threshold,
    side_by_side,
)

SIDES = (40, 40, 40)


def scan(seed, *, specks=0, lesion=0.0):
    """Give a noisy scan with single loud voxels, and a cube of 8 mm that is louder than its surroundings."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, SIDES).astype(np.float32)
    places = rng.integers(6, 34, (specks, 3))
    raw[tuple(places.T)] = 12.0
    truth = np.zeros(SIDES, np.bool_)
    if lesion:
        truth[16:24, 16:24, 16:24] = True
        raw[truth] += lesion
    return Trial("flair", np.ones(SIDES, np.bool_), raw.astype(np.float16), truth)


@pytest.fixture(scope="module")
def normal():
    return [scan(seed, specks=6) for seed in range(6)]


def test_the_default_is_the_lowest_threshold_that_keeps_normal_scans_quiet(normal):
    painted = [scan(seed, specks=6, lesion=6.0) for seed in range(3)]
    calibration, dice = operating_point(normal, painted, 0.0)
    table, at = calibration.false_findings, calibration.default_threshold
    assert calibration.default_min_volume_mm3 == SMALLEST_MM3
    assert table.expected(at, SMALLEST_MM3) <= MOST_FALSE
    lower = from_decades(float(to_decades(at)) - 0.2)
    assert at == THRESHOLDS[0] or table.expected(lower, SMALLEST_MM3) > MOST_FALSE
    # single voxels are louder than the lesion, and no finding
    assert dice > 0.7


def test_a_quiet_threshold_lies_between_those_counted():
    thresholds = tuple(from_decades(decades) for decades in (2.0, 3.0, 4.0))

    def at(*counts):
        table = FalseFindings(thresholds, (0.0, SMALLEST_MM3), tuple((2 * count, count) for count in counts))
        return float(to_decades(quiet_threshold(table)))

    assert at(5.0, 1.5, 0.5) == pytest.approx(3.5, abs=1e-3)
    assert at(5.0, 3.0, 2.0) == pytest.approx(4.0, abs=1e-3)
    assert at(0.9, 0.5, 0.1) == pytest.approx(2.0, abs=1e-3)
    assert at(5.0, 1.0, 0.0) == pytest.approx(3.0, abs=1e-3)


def test_false_findings_are_counted_by_threshold_and_volume(normal):
    table = operating_point(normal, [], 0.0)[0].false_findings
    assert (table.thresholds, table.volumes_mm3) == (THRESHOLDS, VOLUMES_MM3)
    counts = np.array(table.per_scan)
    assert counts.shape == (len(THRESHOLDS), len(VOLUMES_MM3))
    assert (np.diff(counts, axis=1) <= 0).all()
    assert counts[THRESHOLDS.index(round(from_decades(4), 8)), 0] == pytest.approx(6, abs=1)
    assert (counts[:, -1] == 0).all()


def test_smoothing_is_what_a_detection_does(normal):
    assert not np.array_equal(normal[0].smoothed(1.0), normal[0].smoothed(0.0))
    assert normal[0].smoothed(1.0).max() < normal[0].smoothed(0.0).max()


def test_trials_keep_their_order(normal):
    tops = side_by_side(lambda trial: float(trial.smoothed(0.0).sum()), normal)
    assert tops == [float(trial.smoothed(0.0).sum()) for trial in normal]


def test_findings_extend_as_far_as_fits_what_was_painted():
    # blobs of normal scans are a little louder than the rim of a lesion, and far from its core
    normal = [scan(seed) for seed in range(8)]
    for trial in normal:
        for place, loud in ((4, 6.0), (14, 6.0), (24, 5.0), (33, 5.0)):
            trial.raw[place : place + 5, place : place + 5, place : place + 5] = loud
    painted = [scan(seed, lesion=1.0) for seed in range(20, 24)]
    for trial in painted:
        trial.raw[trial.truth] = 5.5
        trial.raw[18:22, 18:22, 18:22] = 12.0
    extended, better = operating_point(normal, painted, 0.0)
    cut, worse = operating_point(normal, painted, 0.0, [0.0])
    assert cut.hysteresis == 0.0 < extended.hysteresis
    assert better > worse
    table = extended.false_findings
    assert table.expected(extended.default_threshold, SMALLEST_MM3) <= MOST_FALSE + 1e-6


def test_even_odds_take_the_halo_of_a_sure_finding():
    normal, painted = [scan(seed) for seed in range(8)], [scan(seed, lesion=8.0) for seed in range(20, 24)]
    for trial in (*normal, *painted):
        trial.raw[:] *= 0.3
    for trial in painted:
        trial.raw[15:25, 15:25, 15:25] = 1.5
        trial.raw[trial.truth] = 8.0
    chosen, better = operating_point(normal, painted, 0.0)
    assert chosen.even is not None
    assert better > 0.95


def test_without_paint_findings_keep_their_halo(normal):
    calibration, dice = operating_point(normal, [], 0.0)
    assert (calibration.even, calibration.hysteresis, dice) == (None, 0.0, 0.0)


def test_findings_extend_no_further_than_false_ones_stay_small():
    # every normal scan has one loud spot in a wide region that is a little louder than the rest
    normal = [scan(seed) for seed in range(8)]
    for trial in normal:
        trial.raw[:] *= 0.3
        trial.raw[8:26, 8:26, 8:26] = 1.5
        trial.raw[14:20, 14:20, 14:20] = 3.0
    painted = [scan(seed) for seed in range(20, 24)]
    for trial in painted:
        trial.raw[:] *= 0.3
        trial.truth[8:32, 8:32, 8:32] = True
        trial.raw[trial.truth] = 1.5
        trial.raw[16:24, 16:24, 16:24] = 6.0
    chosen, dice = operating_point(normal, painted, 0.0)
    wide, better = operating_point(normal, painted, 0.0, [1.5])
    assert better > dice
    assert chosen.hysteresis < wide.hysteresis == 1.5
    assert MOST_FALSE_ML < 18**3 / 1000
