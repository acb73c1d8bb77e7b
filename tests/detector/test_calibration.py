import numpy as np
import pytest

from napari_anomaly.anomaly import FalseFindings, to_decades
from napari_anomaly.detector.calibration import (
    Calibration,
    calibrate,
    calibrate_scan,
    decades_map,
    fit_calibration,
    in_voxels_of,
    scan_raw_score,
    score_map,
)


def normals(seed, count=300_000):
    """Draw raw scores with a long upper tail, as logits of normal voxels have."""
    rng = np.random.default_rng(seed)
    return (rng.normal(-4, 1, count) + rng.exponential(0.8, count)).astype(np.float32)


def fitted(samples, scan_raw=()):
    raw, decades = fit_calibration(samples)
    return Calibration(
        raw=raw, decades=decades, scan_raw=scan_raw, default_threshold=0.99, default_min_volume_mm3=30
    )


@pytest.fixture(scope="module")
def calibration():
    return fitted([normals(seed, 300_000 - seed) for seed in range(4)], (1.0, 2.0, 3.0, 4.0, 5.0))


def test_other_normal_voxels_are_spread_evenly(calibration):
    scores = calibrate(normals(99), calibration)
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        assert np.mean(scores < share) == pytest.approx(share, abs=0.01)
    assert np.mean(scores >= 0.99) == pytest.approx(1e-2, rel=0.1)
    assert np.mean(scores >= 0.999) == pytest.approx(1e-3, rel=0.2)
    # and voxels of another distribution are not
    assert np.mean(calibrate(normals(99) + 1, calibration) < 0.5) < 0.3


def test_the_scale_rises_with_the_raw_score_and_stays_within_0_and_1(calibration):
    raw = np.linspace(-12, 12, 4001).astype(np.float32)
    scores = calibrate(raw, calibration)
    assert scores.dtype == np.float32
    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() < 1


def test_beyond_the_last_knot_higher_still_ranks_higher_in_float32(calibration):
    top = calibration.raw[-1]
    spread = max(1.0, (top - calibration.raw[0]) / 4)
    beyond = top + spread * np.arange(0, 1.51, 0.25)
    scores = calibrate(beyond.astype(np.float32), calibration)
    assert (np.diff(scores) > 0).all()
    assert scores[0] == pytest.approx(1 - 10 ** -calibration.decades[-1], abs=1e-6)
    assert scores[-1] < 1


def test_knots_rise_and_end_where_five_voxels_support_them(calibration):
    assert (np.diff(calibration.raw) > 0).all()
    assert (np.diff(calibration.decades) > 0).all()
    assert 10 ** -calibration.decades[-1] * 1_200_000 >= 5
    short = fit_calibration([normals(0, 400)])[1]
    assert short[-1] == 1.75
    assert 10 ** -short[-1] * 400 >= 5


def test_ties_do_not_break_the_curve():
    flat = np.concatenate([np.full(50_000, -12.0), np.linspace(-1, 1, 500)]).astype(np.float32)
    calibration = fitted([flat])
    assert (np.diff(calibration.raw) > 0).all()
    low, middle, high = calibrate(np.array([-12.0, 0.0, 1.0]), calibration)
    assert low < 0.99 < middle < high


def test_volumes_grow_with_the_voxels_and_scores_do_not(calibration):
    counted = calibration.model_copy(
        update={
            "default_min_volume_mm3": 30.0,
            "false_findings": FalseFindings((0.9,), (0.0, 100.0), ((9.0, 5.0),)),
        }
    )
    assert in_voxels_of(counted, 1.0) == counted
    grown = in_voxels_of(counted, 2.0)
    assert grown.default_min_volume_mm3 == 240
    assert grown.false_findings == FalseFindings((0.9,), (0.0, 800.0), ((9.0, 5.0),))
    assert (grown.raw, grown.decades) == (counted.raw, counted.decades)
    assert in_voxels_of(calibration.model_copy(update={"false_findings": None}), 2.0).false_findings is None


def test_scores_keep_their_shape(calibration):
    raw = normals(1, 24).reshape(2, 3, 4)
    assert np.array_equal(calibrate(raw, calibration).ravel(), calibrate(raw.ravel(), calibration))


def test_a_map_is_zero_where_nobody_looked_and_nowhere_else(calibration):
    raw = np.linspace(-60, 6, 2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    looked_at = np.ones(raw.shape, dtype=bool)
    looked_at[0, 0, 1] = looked_at[1, 2, 3] = False
    score = score_map(raw, looked_at, calibration)
    assert score.dtype == np.float32
    assert np.array_equal(score > 0, looked_at)
    assert score[1, 2, 2] == calibrate(raw[1, 2, 2:3], calibration)[0]
    decades = decades_map(raw, looked_at, calibration)
    assert decades.dtype == np.float16
    assert decades[1, 2, 3] == 0
    assert np.allclose(decades[1, 2, 2], to_decades(score[1, 2, 2]), rtol=1e-3)


def test_a_scan_scores_by_its_highest_voxels():
    raw = np.zeros(10_000)
    raw[[5, 700, 701, 9000, 9999]] = [3, 4, 5, 6, 7]
    assert scan_raw_score(raw) == pytest.approx(5)
    assert scan_raw_score(raw, share=2e-4) == pytest.approx(6.5)
    assert scan_raw_score(np.array([1.0, 3.0])) == 3
    assert scan_raw_score(np.array([])) == -np.inf


def test_a_scan_is_ranked_among_normal_scans(calibration):
    assert calibrate_scan(3.0, calibration) == pytest.approx(0.5)
    assert calibrate_scan(2.0, calibration) == pytest.approx(0.25, abs=1e-3)
    assert calibrate_scan(4.0, calibration) == pytest.approx(0.75, abs=1e-3)
    ranks = [calibrate_scan(raw, calibration) for raw in np.linspace(-10, 20, 61)]
    assert (np.diff(ranks) > 0).all()
    assert 0 <= ranks[0] < 0.01 < 0.99 < ranks[-1] <= 1


def test_extremes_of_a_scan_overflow_nothing(calibration):
    assert calibrate_scan(-np.inf, calibration) == pytest.approx(0, abs=1e-6)
    assert calibrate_scan(1e9, calibration) == pytest.approx(1, abs=1e-6)


def test_without_normal_scans_nothing_is_said():
    assert calibrate_scan(5.0, fitted([normals(0, 1000)])) == 0.5


def test_a_calibration_survives_json(calibration):
    table = FalseFindings((0.9, 0.99), (0.0, 10.0), ((3.0, 2.0), (1.0, 0.5)))
    full = calibration.model_copy(update={"false_findings": table})
    back = Calibration.model_validate_json(full.model_dump_json())
    assert back == full != calibration
    assert back.false_findings.expected(0.9, 0.0) == 3
