"""A stroke never costs a verdict."""

import numpy as np
import pytest

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.corrections import become, carried, judging, merging, noting, painting, splitting
from napari_anomaly.errors import ReviewError
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


def test_a_bridge_gives_the_verdict_of_the_worst() -> None:
    split, review = two_apart()
    worst, other = (one.id for one in found(split, review))
    review = review.mark([other], Verdict.FALSE_POSITIVE)
    after = painted(review, split, [PEAK], 1)
    assert [after.verdict(one.id) for one in found(split, after)] == [None]
    after = painted(review.mark([worst], Verdict.REAL), split, [PEAK], 1)
    assert [after.verdict(one.id) for one in found(split, after)] == [Verdict.REAL]


def test_what_was_confirmed_stays_so_when_a_line_joins_it_to_a_worse_one() -> None:
    two, review = two_apart()
    _, other = (one.id for one in found(two, review))
    review = review.mark([other], Verdict.REAL)
    after = painted(review, two, [PEAK], 1)
    assert [after.verdict(one.id) for one in found(two, after)] == [Verdict.REAL]
    assert after.undo().verdicts == review.verdicts


def test_a_verdict_reaches_what_a_finding_has_become() -> None:
    two, review = two_apart()
    before = found(two, review)
    worst, other = (one.id for one in before)
    review = painted(review, two, [PEAK], 1)
    now = found(two, review)
    assert become([other, worst], before, now) == {other: worst, worst: worst}
    assert become([other], now, before) == {other: other}
    review = review.apply(judging(review, become([other], before, now), Verdict.UNSURE))
    assert [review.verdict(one.id) for one in now] == [Verdict.UNSURE]
    review = review.apply(noting(review, {other: worst}, other, "one"))
    review = review.apply(noting(review, {other: worst}, other, "two"))
    assert review.note(worst) == "one; two"


def test_a_verdict_on_what_has_just_gone_into_a_judged_one_is_refused() -> None:
    two, review = two_apart()
    before = found(two, review)
    worst, other = (one.id for one in before)
    review = painted(review.mark([worst], Verdict.REAL), two, [PEAK], 1)
    targets = become([other], before, found(two, review))
    with pytest.raises(ReviewError, match="part of another, which you judged already"):
        judging(review, targets, Verdict.FALSE_POSITIVE)
    both = become([worst, other], before, found(two, review))
    assert set(judging(review, both, Verdict.UNSURE).verdicts) == {worst}


def test_a_verdict_follows_a_peak_that_was_erased(review: Review, anomaly_map: AnomalyMap) -> None:
    before = found(anomaly_map, review)
    after = painted(review, anomaly_map, [PEAK], -1)
    targets = become([PEAK], before, found(anomaly_map, after))
    assert targets[PEAK] != PEAK
    after = after.apply(judging(after, targets, Verdict.UNSURE))
    assert Verdict.UNSURE in {after.verdict(one.id) for one in found(anomaly_map, after)}


def two_apart() -> tuple[AnomalyMap, Review]:
    """Two findings with one voxel between them: PEAK."""
    score = SCORE.copy()
    score[0, 1, 5] = 0.0
    score[0, 1, 7] = 0.995
    split = a_map(score)
    return split, Review.of(Scan.from_array(np.zeros(SHAPE)), split)


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


# Splitting and merging

HILLS = np.zeros(SHAPE)
HILLS[0, 1, 1:11] = (0.96, 0.985, 0.99, 0.985, 0.93, 0.92, 0.93, 0.97, 0.98, 0.97)
FIRST, SECOND = 12 + 3, 12 + 9


@pytest.fixture
def hills() -> AnomalyMap:
    return a_map(HILLS)


@pytest.fixture
def unsaid(hills: AnomalyMap) -> Review:
    return Review.of(Scan.from_array(np.zeros(SHAPE)), hills)


def split(review: Review, anomaly_map: AnomalyMap, key: int, threshold: float = 0.9) -> Review:
    findings = found(anomaly_map, review, threshold)
    return review.apply(splitting(review, findings, anomaly_map, key))


def merged(review: Review, anomaly_map: AnomalyMap, keys: list[int], threshold: float) -> Review:
    findings = found(anomaly_map, review, threshold)
    return review.apply(merging(review, findings, anomaly_map, keys))


def ids_at(anomaly_map: AnomalyMap, review: Review, threshold: float) -> list[int]:
    return [one.id for one in found(anomaly_map, review, threshold)]


def test_a_split_makes_two_findings_at_every_threshold(hills: AnomalyMap, unsaid: Review) -> None:
    assert ids_at(hills, unsaid, 0.9) == [FIRST]
    after = split(unsaid, hills, FIRST)
    whole = found(hills, unsaid).labels > 0
    assert ids_at(hills, after, 0.9) == [FIRST, SECOND]
    assert np.array_equal(found(hills, after).labels > 0, whole)
    for threshold in (0.0, 0.5, 0.925, 0.965, 0.975):
        assert ids_at(hills, after, threshold) == [FIRST, SECOND]
    assert ids_at(hills, after, 0.985) == [FIRST]
    assert ids_at(hills, after.undo(), 0.9) == [FIRST]
    assert ids_at(hills, after.undo().redo(), 0.9) == [FIRST, SECOND]


def test_each_part_begins_with_the_judgement_on_the_whole(hills: AnomalyMap, unsaid: Review) -> None:
    said = unsaid.mark([FIRST], Verdict.FALSE_POSITIVE, reason="vessel").write(FIRST, "n")
    after = split(said, hills, FIRST)
    assert [after.verdict(key) for key in (FIRST, SECOND)] == [Verdict.FALSE_POSITIVE] * 2
    assert after.verdicts[SECOND] == said.verdicts[FIRST]
    assert after.undo().verdicts == said.verdicts
    other = split(unsaid.mark([SECOND], Verdict.REAL), hills, FIRST)
    assert [other.verdict(key) for key in (FIRST, SECOND)] == [None, Verdict.REAL]


def test_what_cannot_be_split_says_so(hills: AnomalyMap, unsaid: Review) -> None:
    after = split(unsaid, hills, FIRST)
    lonely = a_map(np.where(np.arange(12) == 3, HILLS, 0))
    with pytest.raises(ReviewError, match=r"Finding 1 cannot be split: .*eraser"):
        split(unsaid, lonely, FIRST)
    with pytest.raises(ReviewError, match="not there at the settings of now"):
        split(after, hills, 5)


def test_merging_makes_one_finding_at_every_threshold(hills: AnomalyMap, unsaid: Review) -> None:
    assert ids_at(hills, unsaid, 0.95) == [FIRST, SECOND]
    after = merged(unsaid, hills, [SECOND, FIRST], 0.95)
    for threshold in (0.9, 0.95, 0.975):
        assert ids_at(hills, after, threshold) == [FIRST]
        assert np.array_equal(
            found(hills, after, threshold).labels > 0, found(hills, unsaid, threshold).labels > 0
        )
    assert ids_at(hills, after.undo(), 0.95) == [FIRST, SECOND]


def test_merging_needs_two(hills: AnomalyMap, unsaid: Review) -> None:
    with pytest.raises(ReviewError, match="Choose two findings or more"):
        merged(unsaid, hills, [FIRST, FIRST], 0.95)


def test_what_was_merged_keeps_a_verdict_and_all_notes(hills: AnomalyMap, unsaid: Review) -> None:
    said = unsaid.write(FIRST, "bright").mark([SECOND], Verdict.UNSURE).write(SECOND, "faint")
    after = merged(said, hills, [FIRST, SECOND], 0.95)
    assert after.verdict(FIRST) is Verdict.UNSURE
    assert after.note(FIRST) == "bright; faint"
    both = said.mark([FIRST], Verdict.REAL)
    assert merged(both, hills, [FIRST, SECOND], 0.95).verdict(FIRST) is Verdict.REAL
    assert merged(both, hills, [FIRST, SECOND], 0.95).undo().verdicts == both.verdicts
    assert merged(unsaid, hills, [FIRST, SECOND], 0.95).verdicts == {}


def test_what_was_merged_can_be_split_and_the_other_way_round(hills: AnomalyMap, unsaid: Review) -> None:
    one = merged(unsaid, hills, [FIRST, SECOND], 0.95)
    two = split(one, hills, FIRST, 0.95)
    assert ids_at(hills, two, 0.95) == ids_at(hills, two, 0.9) == [FIRST, SECOND]
    again = merged(two, hills, [FIRST, SECOND], 0.9)
    assert ids_at(hills, again, 0.9) == ids_at(hills, again, 0.95) == [FIRST]


def test_hidden_voxels_of_an_older_merge_make_no_third_finding(hills: AnomalyMap, unsaid: Review) -> None:
    # Merged where the threshold was low, split where it is high, and looked at where it is low again.
    low = split(unsaid, hills, FIRST)
    one = merged(low, hills, [FIRST, SECOND], 0.9)
    two = split(one, hills, FIRST, 0.965)
    assert ids_at(hills, two, 0.9) == [FIRST, SECOND]


def test_a_stroke_keeps_verdicts_of_parts_apart(hills: AnomalyMap, unsaid: Review) -> None:
    after = split(unsaid, hills, FIRST).mark([FIRST], Verdict.REAL).mark([SECOND], Verdict.FALSE_POSITIVE)
    bridged = painted(after, hills, [12 + 5, 12 + 6, 5, 6], 1)
    assert [bridged.verdict(one) for one in ids_at(hills, bridged, 0.9)] == [
        Verdict.REAL,
        Verdict.FALSE_POSITIVE,
    ]
    erased = painted(bridged, hills, [SECOND], -1)
    said = {one.id: erased.verdict(one.id) for one in found(hills, erased)}
    assert said[FIRST] is Verdict.REAL
    assert {verdict for key, verdict in said.items() if key != FIRST} == {Verdict.FALSE_POSITIVE}
