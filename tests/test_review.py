import json

import numpy as np
import pytest

from napari_anomaly.errors import ReviewError, StaleReview
from napari_anomaly.review import Change, Review, Verdict, groups_of, judged, paint_of
from napari_anomaly.scan import Scan
from phantoms import SHA, a_map

EMPTY = Review(scan_sha256=SHA, map_sha256=SHA)
PAINTED = np.zeros((3, 4, 5), dtype=bool)
PAINTED[0, 0, :2] = PAINTED[1, 3, 4] = PAINTED[2, 0, 1] = True


def test_a_mark_makes_a_new_review() -> None:
    marked = EMPTY.mark([7, 9], Verdict.FALSE_POSITIVE, reason="vessel")
    assert EMPTY.verdict(7) is None
    assert marked.verdict(7) is marked.verdict(9) is Verdict.FALSE_POSITIVE
    assert marked.verdict(8) is None
    assert marked.verdicts[7].reason == "vessel"
    assert marked.verdicts[7].when.utcoffset().total_seconds() == 0
    assert marked.mark([7], None).verdict(7) is None


def test_note_and_verdict_do_not_touch_each_other() -> None:
    review = EMPTY.write(7, "beside the ventricle").mark([7], Verdict.REAL).write(8, "faint")
    assert (review.note(7), review.verdict(7)) == ("beside the ventricle", Verdict.REAL)
    assert (review.note(8), review.verdict(8)) == ("faint", None)
    assert review.write(7, "new").verdict(7) is Verdict.REAL
    assert review.note(1) == ""


def test_undo_and_redo_go_over_verdicts_notes_and_painting() -> None:
    steps = [EMPTY]
    steps.append(steps[-1].mark([7], Verdict.REAL))
    steps.append(steps[-1].write(7, "note"))
    steps.append(steps[-1].paint(PAINTED, add=True))
    steps.append(steps[-1].mark([7], Verdict.UNSURE))
    review = steps[-1]
    for expected in reversed(steps[:-1]):
        review = review.undo()
        assert (review.verdicts, review.strokes) == (expected.verdicts, expected.strokes)
    assert review.undo() is review
    for expected in steps[1:]:
        review = review.redo()
        assert (review.verdicts, review.strokes) == (expected.verdicts, expected.strokes)
    assert review.redo() is review


def test_a_new_mark_ends_what_could_be_redone() -> None:
    review = EMPTY.mark([7], Verdict.REAL).undo().mark([8], Verdict.REAL)
    assert review.redo() is review
    assert review.undo().verdicts == {}


def test_painting_is_given_back_as_it_was() -> None:
    review = EMPTY.paint(PAINTED, add=True)
    np.testing.assert_array_equal(review.edits(PAINTED.shape).strokes, PAINTED)
    assert len(review.strokes) == 3
    erased = np.zeros_like(PAINTED)
    erased[0, 0, 1:3] = True
    strokes = review.paint(erased, add=False).edits(PAINTED.shape).strokes
    np.testing.assert_array_equal(strokes, np.where(erased, -1, PAINTED))
    assert EMPTY.edits(PAINTED.shape) is None


def test_painting_of_another_scan_is_refused() -> None:
    review = EMPTY.paint(PAINTED, add=True)
    with pytest.raises(StaleReview, match="paints voxel 39, and this scan has 24 voxels"):
        review.edits((2, 3, 4))


def test_json_keeps_all_but_the_steps() -> None:
    review = EMPTY.mark([7], Verdict.FALSE_POSITIVE, reason="artefact").write(9, "ü").paint(PAINTED, add=True)
    again = Review.from_json(review.to_json())
    assert again.verdicts == review.verdicts
    assert again.strokes == review.strokes
    assert (again.past, again.future) == ((), ())
    written = json.loads(review.to_json())
    assert written["schema_version"] == 1
    assert written["verdicts"]["7"]["verdict"] == "false_positive"
    assert set(written) == {
        "schema_version",
        "seen",
        "scan_sha256",
        "map_sha256",
        "detector_sha256",
        "reader",
        "verdicts",
        "strokes",
        "groups",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"scan_sha256": "abc"}, "scan_sha256: String should match"),
        ({"verdicts": {"7": {"verdict": "maybe", "when": "2026-01-01T00:00:00Z"}}}, r"verdicts\.7\.verdict"),
        ({"colour": 1}, "colour: Extra inputs"),
        ({"strokes": [{"start": -1, "length": 1, "value": 1}]}, r"strokes\.0\.start"),
    ],
)
def test_json_of_another_kind_is_refused(change: dict, message: str) -> None:
    text = json.dumps(json.loads(EMPTY.to_json()) | change)
    with pytest.raises(ReviewError, match=f"not a review that this version can read: {message}"):
        Review.from_json(text)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ReviewError, match="the text: Invalid JSON"):
        Review.from_json("{")


def test_a_review_belongs_to_its_scan_and_its_map() -> None:
    score = np.zeros((2, 2, 2))
    scan, anomaly_map = Scan.from_array(np.zeros((2, 2, 2))), a_map(score)
    review = Review.of(scan, anomaly_map)
    review.check(scan, anomaly_map)
    score[0, 0, 0] = 1
    with pytest.raises(StaleReview, match="made on another anomaly map"):
        review.check(scan, a_map(score))
    with pytest.raises(StaleReview, match="made on another scan"):
        review.check(Scan.from_array(score), anomaly_map)
    with pytest.raises(StaleReview, match="made on another detector"):
        review.model_copy(update={"detector_sha256": "1" * 64}).check(scan, anomaly_map)


def test_painting_can_be_left_to_the_threshold_again() -> None:
    review = EMPTY.paint(PAINTED, add=True)
    again = review.apply(Change(paint=paint_of(np.array([0, 1, 7]), np.array([0, -1, 1], dtype=np.int8))))
    strokes = again.edits(PAINTED.shape).strokes.reshape(-1)
    assert strokes[[0, 1, 7]].tolist() == [0, -1, 1]
    assert all(stroke.value != 0 for stroke in again.strokes)
    np.testing.assert_array_equal(again.undo().edits(PAINTED.shape).strokes, PAINTED)


def test_hundreds_of_steps_can_be_undone() -> None:
    review = EMPTY
    for key in range(400):
        review = review.mark([key], Verdict.REAL)
    for _ in range(400):
        review = review.undo()
    assert review.verdicts == {}
    assert len(review.future) == 400


def test_only_verdicts_count_as_judged() -> None:
    review = EMPTY.mark([7], Verdict.REAL).write(8, "note only")
    assert judged(review, [7, 8, 9]) == {7: Verdict.REAL}
    assert judged(None, [7]) == {}


def test_splits_and_merges_are_steps_like_all_others() -> None:
    flat = np.array([3, 4, 5, 9])
    first = EMPTY.apply(Change(groups=groups_of(flat, np.array([1, 1, 2, 2]))))
    second = first.apply(Change(groups=groups_of(flat[1:3], np.array([0, 700]))))
    found = second.edits((1, 1, 12)).groups
    assert found.reshape(-1).tolist() == [0, 0, 0, 1, 0, 700, 0, 0, 0, 2, 0, 0]
    assert not second.edits((1, 1, 12)).strokes.any()
    assert second.undo().groups == first.groups
    assert second.undo().undo().groups == ()
    assert second.undo().redo().groups == second.groups
    assert second.undo().undo().edits((1, 1, 12)) is None
    assert Review.from_json(second.to_json()).groups == second.groups


def test_painting_over_a_split_changes_no_group() -> None:
    split = EMPTY.apply(Change(groups=groups_of(np.array([0, 1]), np.array([1, 2]))))
    assert split.paint(PAINTED, add=True).groups == split.groups


def test_groups_of_another_scan_are_stale() -> None:
    split = EMPTY.apply(Change(groups=groups_of(np.array([7]), np.array([1]))))
    with pytest.raises(StaleReview, match="paints voxel 7, and this scan has 5 voxels"):
        split.edits((1, 1, 5))
