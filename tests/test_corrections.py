"""A stroke never costs a verdict."""

import numpy as np
import pytest

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.corrections import carried, painting
from napari_anomaly.findings import Findings, find
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_map

SHAPE = (1, 3, 12)
SCORE = np.zeros(SHAPE)
SCORE[0, 1, 1:10] = (0.95, 0.96, 0.97, 0.98, 0.99, 0.98, 0.97, 0.96, 0.95)
PEAK = 12 + 5


@pytest.fixture
def anomaly_map() -> AnomalyMap:
    return a_map(SCORE)


@pytest.fixture
def review(anomaly_map: AnomalyMap) -> Review:
    return (
        Review.of(Scan.from_array(np.zeros(SHAPE)), anomaly_map).mark([PEAK], Verdict.REAL).write(PEAK, "n")
    )


def found(anomaly_map: AnomalyMap, review: Review, threshold: float = 0.9) -> Findings:
    return find(anomaly_map, threshold, edits=review.edits(SHAPE))


def painted(review: Review, anomaly_map: AnomalyMap, flat: list[int], value: int) -> Review:
    findings = found(anomaly_map, review)
    return review.apply(painting(review, findings, anomaly_map, np.array(flat), value))


def test_erasing_the_peak_keeps_the_verdict(review: Review, anomaly_map: AnomalyMap) -> None:
    after = painted(review, anomaly_map, [PEAK], -1)
    findings = found(anomaly_map, after)
    assert len(findings) == 2
    assert {after.verdict(one.id) for one in findings} == {Verdict.REAL}
    assert {after.note(one.id) for one in findings} == {"n"}
    assert PEAK not in {one.id for one in findings}


def test_one_undo_takes_back_stroke_and_verdict(review: Review, anomaly_map: AnomalyMap) -> None:
    after = painted(review, anomaly_map, [PEAK], -1).undo()
    assert after.verdicts == review.verdicts
    assert after.strokes == ()


def test_the_verdict_stays_when_the_threshold_moves_on(review: Review, anomaly_map: AnomalyMap) -> None:
    after = painted(review, anomaly_map, [PEAK], -1)
    for threshold in (0.9, 0.955, 0.975):
        assert all(after.verdict(one.id) is Verdict.REAL for one in found(anomaly_map, after, threshold))


def test_erasing_elsewhere_changes_no_verdict(review: Review, anomaly_map: AnomalyMap) -> None:
    after = painted(review, anomaly_map, [12 + 1], -1)
    assert after.verdicts == review.verdicts


def test_a_bridge_gives_the_verdict_of_the_worst(anomaly_map: AnomalyMap) -> None:
    score = SCORE.copy()
    score[0, 1, 5] = 0.0
    score[0, 1, 7] = 0.995
    split = a_map(score)
    review = Review.of(Scan.from_array(np.zeros(SHAPE)), split)
    worst, other = (one.id for one in found(split, review))
    review = review.mark([other], Verdict.FALSE_POSITIVE)
    after = painted(review, split, [PEAK], 1)
    assert [after.verdict(one.id) for one in found(split, after)] == [None]
    after = painted(review.mark([worst], Verdict.REAL), split, [PEAK], 1)
    assert [after.verdict(one.id) for one in found(split, after)] == [Verdict.REAL]


def test_a_painted_finding_keeps_its_verdict_as_it_grows(anomaly_map: AnomalyMap) -> None:
    empty = a_map(np.zeros(SHAPE))
    review = Review.of(Scan.from_array(np.zeros(SHAPE)), empty)
    review = painted(review, empty, [14, 15], 1)
    (one,) = found(empty, review)
    review = review.mark([one.id], Verdict.UNSURE)
    review = painted(review, empty, [12, 13], 1)
    (grown,) = found(empty, review)
    assert grown.id != one.id
    assert review.verdict(grown.id) is Verdict.UNSURE


def test_older_findings_do_as_well(review: Review, anomaly_map: AnomalyMap) -> None:
    stale = found(anomaly_map, review)
    after = review.apply(painting(review, stale, anomaly_map, np.array([PEAK]), -1))
    after = after.apply(painting(after, stale, anomaly_map, np.array([PEAK - 1]), -1))
    assert {after.verdict(one.id) for one in found(anomaly_map, after)} == {Verdict.REAL}


def test_without_verdicts_or_findings_a_stroke_is_a_stroke(anomaly_map: AnomalyMap) -> None:
    review = Review.of(Scan.from_array(np.zeros(SHAPE)), anomaly_map)
    for findings in (None, found(anomaly_map, review)):
        change = painting(review, findings, anomaly_map, np.array([1, 2]), 1)
        assert (change.verdicts, len(change.paint)) == ({}, 1)


def test_a_map_that_differs_a_little_keeps_its_verdicts(review: Review) -> None:
    score = SCORE.copy()
    score[0, 1, 6] = 0.991
    moved = found(a_map(score), review)
    change = carried(review, moved)
    after = review.apply(change)
    assert after.verdict(moved.items[0].id) is Verdict.REAL
    assert carried(after, moved) is None


def test_nothing_is_carried_over_a_verdict(review: Review) -> None:
    score = SCORE.copy()
    score[0, 1, 6] = 0.991
    judged = review.mark([18], Verdict.UNSURE)
    assert carried(judged, found(a_map(score), judged)) is None
