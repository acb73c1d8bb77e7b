"""The protocol on a scan whose figures are known."""

import numpy as np
import pytest

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import GridMismatch
from napari_anomaly.evaluation.protocol import ProtocolSettings, Scored, evaluate_case, read_truth
from napari_anomaly.findings import find
from napari_anomaly.scan import Scan

SHAPE = (8, 10, 12)
LESION = (slice(2, 4), slice(3, 5), slice(4, 6))  # 8 voxels of 2 x 1 x 1 mm
BRAIN = (slice(1, 7), slice(1, 9), slice(1, 11))


def scan_of(voxels, name="head"):
    return Scan.from_array(voxels.astype(np.float32), spacing=(2.0, 1.0, 1.0), name=name)


def truth():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[LESION] = True
    return mask


def scan():
    voxels = np.zeros(SHAPE)
    voxels[BRAIN] = 100
    voxels[LESION] = 300
    return scan_of(voxels)


def anomaly_map(score, raw=None):
    return AnomalyMap(
        score=score.astype(np.float32),
        geometry=scan().geometry,
        scan_score=0.9,
        detector="known",
        detector_sha256="0" * 64,
        default_threshold=0.99,
        default_min_volume_mm3=4.0,
        raw=None if raw is None else raw.astype(np.float16),
    )


def scores():
    score = np.zeros(SHAPE)
    score[BRAIN] = 0.5
    score[LESION] = 0.999
    score[2, 7, 2] = 0.995  # a speck of one voxel, 2 mm3, and a false finding of two
    score[5, 6, 8:10] = 0.992
    return score


def detected(score=None, raw=None, **options):
    found = anomaly_map(scores() if score is None else score, raw)
    return Scored.of_detection(found, find(found, found.default_threshold, **options))


def test_a_perfect_ranking_and_its_false_findings():
    case = evaluate_case(scan(), truth(), detected(min_volume_mm3=4.0), seconds=1.5)
    assert case.truth_mm3 == pytest.approx(16)
    assert case.truth_outside_mm3 == 0
    assert (case.inside.average_precision, case.inside.auroc, case.inside.best_dice) == (1.0, 1.0, 1.0)
    assert case.inside.best_threshold == pytest.approx(0.999)
    assert case.inside.dice == pytest.approx(2 * 8 / (8 + 10))  # the lesion and the finding of two voxels
    assert case.inside.voxels == 6 * 8 * 10
    assert case.whole.voxels == np.prod(SHAPE)
    assert case.lesions.model_dump() == {
        "lesions": 1,
        "found": 1,
        "recall": 1.0,
        "findings": 2,
        "false_findings": 1,
    }
    assert (case.threshold, case.min_volume_mm3, case.scan_score, case.seconds) == (0.99, 4.0, 0.9, 1.5)


def test_the_intensity_arm_ranks_bright_and_dark():
    arm = evaluate_case(scan(), truth(), detected()).intensity
    assert (arm.bright_average_precision, arm.bright_best_dice) == (1.0, 1.0)
    assert arm.dark_average_precision == pytest.approx(8 / 480)  # after every other voxel
    assert arm.dark_best_dice == pytest.approx(2 * 8 / (480 + 8))


def test_truth_where_nothing_was_looked_at_costs_only_the_whole_grid():
    missed = truth()
    missed[7, 9, 11] = True
    case = evaluate_case(scan(), missed, detected())
    assert case.truth_outside_mm3 == pytest.approx(2)
    assert case.inside.average_precision == 1.0
    assert case.whole.average_precision < 0.9
    assert case.whole.truth_voxels == case.inside.truth_voxels + 1
    assert case.lesions.recall == 0.5


def test_raw_scores_rank_what_the_calibrated_ones_cannot():
    flat = np.where(scores() > 0, 1.0, 0.0)
    raw = np.where(truth(), 2.0, 1.0)
    assert evaluate_case(scan(), truth(), detected(flat, raw)).inside.average_precision == 1.0
    assert evaluate_case(scan(), truth(), detected(flat)).inside.average_precision == pytest.approx(8 / 480)


def test_a_normal_scan_has_no_ranking_but_false_findings():
    case = evaluate_case(scan(), np.zeros(SHAPE, dtype=bool), detected())
    assert case.inside.average_precision is None
    assert case.inside.dice is None
    assert case.lesions.recall is None
    assert case.lesions.false_findings == 3


def test_a_stored_map_of_any_units():
    stored = scan_of(scores() * 1000, "map")
    case = evaluate_case(scan(), truth(), Scored.of_map(stored, threshold=991.0, min_volume_mm3=4.0))
    assert case.inside.average_precision == 1.0
    assert case.lesions.findings == 2
    assert Scored.of_map(stored).labels is None
    assert evaluate_case(scan(), truth(), Scored.of_map(stored)).lesions is None


def test_a_stored_map_below_zero_keeps_its_order_on_the_whole_grid():
    stored = scan_of(np.where(scores() > 0, scores() - 2.0, 0.0), "log-likelihood")
    case = evaluate_case(scan(), truth(), Scored.of_map(stored))
    assert case.inside.average_precision == 1.0
    assert case.whole.average_precision == 1.0


def test_settings_say_what_a_lesion_is():
    case = evaluate_case(scan(), truth(), detected(), settings=ProtocolSettings(min_lesion_mm3=20))
    assert case.lesions.lesions == 0
    with pytest.raises(ValueError, match="greater than 0"):
        ProtocolSettings(overlap=0)


def test_a_mask_must_lie_on_the_scans_grid():
    assert read_truth(scan_of(truth() * 3, "mask"), scan()).sum() == 8
    shifted = Scan.from_array(truth(), spacing=(1.0, 1.0, 1.0), name="mask")
    with pytest.raises(GridMismatch, match=r"mask lies on a grid of .*Export it again"):
        read_truth(shifted, scan())


def test_an_empty_map_cannot_be_evaluated():
    with pytest.raises(GridMismatch, match="no voxel was looked at"):
        evaluate_case(scan(), truth(), Scored.of_map(scan_of(np.zeros(SHAPE))))
