"""Known answers, and brute force over every threshold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_anomaly.evaluation import metrics
from napari_anomaly.evaluation.metrics import Curve


def scored(*pairs):
    scores, truth = zip(*pairs, strict=True)
    return np.array(scores, dtype=np.float32), np.array(truth, dtype=bool)


def test_average_precision_of_a_ranking_worked_by_hand():
    # Ranked: hit, miss, hit, miss. Precision at the hits is 1 and 2/3; each is half of the recall.
    scores, truth = scored((0.9, 1), (0.8, 0), (0.7, 1), (0.1, 0))
    assert metrics.average_precision(scores, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_average_precision_of_one_tie_is_the_prevalence():
    scores, truth = np.zeros(8), np.arange(8) < 2
    assert metrics.average_precision(scores, truth) == 0.25
    assert metrics.auroc(scores, truth) == 0.5


def test_perfect_and_reversed_rankings():
    scores, truth = np.arange(10.0), np.arange(10) >= 7
    assert metrics.average_precision(scores, truth) == 1.0
    assert metrics.auroc(scores, truth) == 1.0
    assert metrics.auroc(-scores, truth) == 0.0
    assert metrics.best_dice(scores, truth) == (1.0, 7.0)


def test_auroc_worked_by_hand():
    # Of the four (hit, miss) pairs three are ordered rightly.
    scores, truth = scored((0.9, 1), (0.8, 0), (0.7, 1), (0.1, 0))
    assert metrics.auroc(scores, truth) == 0.75


def test_best_dice_marks_scores_at_the_threshold_itself():
    scores, truth = scored((0.9, 1), (0.8, 0), (0.7, 1), (0.1, 0))
    value, threshold = metrics.best_dice(scores, truth)
    assert (value, threshold) == (pytest.approx(0.8), pytest.approx(0.7))
    assert metrics.dice(scores >= threshold, truth) == pytest.approx(value)


def test_figures_without_a_lesion_are_not_numbers():
    scores, truth = np.arange(5.0), np.zeros(5, dtype=bool)
    assert math.isnan(metrics.average_precision(scores, truth))
    assert math.isnan(metrics.auroc(scores, truth))
    assert math.isnan(metrics.auroc(scores, ~truth))
    assert math.isnan(metrics.dice(scores > 2, truth))
    assert all(math.isnan(value) for value in metrics.best_dice(scores, truth))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_must_be_finite(wrong):
    with pytest.raises(ValueError, match="finite"):
        Curve.of(np.array([0.0, wrong]), np.array([True, False]))


def test_no_voxel_cannot_be_ranked():
    with pytest.raises(ValueError, match="no voxel"):
        Curve.of(np.zeros(0), np.zeros(0, dtype=bool))


few_levels = arrays.arrays(np.int16, st.integers(2, 40), elements=st.integers(-3, 3))


@settings(max_examples=60, deadline=None)
@given(scores=few_levels, data=st.data())
def test_every_figure_agrees_with_brute_force(scores, data):
    truth = data.draw(arrays.arrays(bool, scores.shape))
    truth[0], truth[1] = True, False
    precision, recall_before, area = [], 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        marked = scores >= threshold
        recall = (marked & truth).sum() / truth.sum()
        area += (recall - recall_before) * (marked & truth).sum() / marked.sum()
        recall_before = recall
        precision.append(metrics.dice(marked, truth))
    pairs = np.sign(scores[truth][:, None].astype(int) - scores[~truth][None, :])
    assert metrics.average_precision(scores, truth) == pytest.approx(area)
    assert metrics.auroc(scores, truth) == pytest.approx(((pairs + 1) / 2).mean())
    assert metrics.best_dice(scores, truth)[0] == pytest.approx(max(precision))


def test_refine_orders_saturated_scores_and_keeps_true_ties():
    score = np.array([1.0, 1.0, 0.2, 1.0], dtype=np.float32)
    raw = np.array([5.0, 9.0, 99.0, 5.0], dtype=np.float16)
    assert metrics.refine(score, raw).tolist() == [1, 2, 0, 1]


def corners():
    lesions = np.zeros((6, 6, 6), dtype=bool)
    lesions[0, 0, :4] = True  # four voxels in a row
    lesions[4, 4, 4] = lesions[5, 5, 5] = True  # two that touch by a corner
    return lesions


def test_components_touch_by_corners_and_drop_the_small():
    labels = metrics.components(corners())
    assert np.bincount(labels.ravel()).tolist() == [216 - 6, 4, 2]
    only_large = metrics.components(corners(), min_voxels=3)
    assert np.bincount(only_large.ravel()).tolist() == [216 - 4, 4]
    assert metrics.components(np.zeros((2, 2, 2), dtype=bool)).max() == 0


def test_lesions_are_counted_by_the_share_that_is_covered():
    lesions = metrics.components(corners())
    findings = np.zeros(lesions.shape, dtype=np.uint16)
    findings[0, 0, 3:6] = 1  # one of four lesion voxels, and two beside it
    findings[2, 2, 2] = 2  # nowhere near
    loose = metrics.lesion_recall(findings, lesions, overlap=0.25)
    assert loose == metrics.LesionCount(lesions=2, found=1, findings=2, false_findings=1)
    assert loose.recall == 0.5
    strict = metrics.lesion_recall(findings, lesions, overlap=0.5)
    assert strict == metrics.LesionCount(lesions=2, found=0, findings=2, false_findings=2)


def test_no_lesions_leave_every_finding_false():
    nothing = np.zeros((3, 3, 3), dtype=np.uint32)
    findings = nothing.copy()
    findings[1, 1, 1] = 1
    count = metrics.lesion_recall(findings, nothing)
    assert (count.lesions, count.findings, count.false_findings) == (0, 1, 1)
    assert math.isnan(count.recall)
