import re
from dataclasses import replace

import numpy as np
import pytest

from fake_engine import FakeResult, fake_result
from napari_anomaly.errors import GridMismatch, ReviewError, StaleReview
from napari_anomaly.review import Review, Verdict
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan
from napari_anomaly.session import Result, Session


@pytest.fixture
def result(scan: Scan) -> FakeResult:
    return fake_result(scan)


@pytest.fixture
def session(scan: Scan, result: FakeResult) -> Session:
    session = Session()
    session.open(scan)
    session.set_result(result)
    return session


def heard(session: Session) -> list[str]:
    names: list[str] = []
    for name in ("scan", "result", "settings", "findings", "review"):
        getattr(session, f"{name}_changed").connect(lambda name=name: names.append(name))
    return names


def marked(session: Session) -> Review:
    assert session.scan is not None
    assert session.map is not None
    assert session.findings is not None
    review = Review.of(session.scan, session.map)
    return review.mark([session.findings.items[0].id], Verdict.FALSE_POSITIVE)


def test_a_new_session_is_empty() -> None:
    session = Session()
    assert (session.scan, session.map, session.supervoxels) == (None, None, None)
    assert (session.findings, session.mask, session.review, session.question) == (None, None, None, None)
    assert session.false_findings is None


def test_a_result_is_a_result(result: FakeResult, scan: Scan) -> None:
    assert isinstance(result, Result)
    assert not isinstance(scan, Result)


def test_the_detectors_own_settings_come_with_the_map(session: Session, result: FakeResult) -> None:
    assert session.threshold == result.map.default_threshold
    assert session.min_volume_mm3 == result.map.default_min_volume_mm3
    assert session.false_findings == result.map.false_findings.expected(0.995, 30.0)


def test_settings_of_the_reader_stay_when_the_same_detector_runs_again(session: Session, scan: Scan) -> None:
    session.threshold = 0.9
    session.set_result(fake_result(scan))
    assert session.threshold == 0.9


def test_findings_follow_the_settings(session: Session) -> None:
    strict = len(session.findings.labels.nonzero()[0])
    session.threshold = 0.9
    assert not session.has_findings
    assert len(session.findings.labels.nonzero()[0]) > strict
    session.snap = True
    assert session.findings.snapped
    session.min_volume_mm3 = 1e9
    assert len(session.findings) == 0


def test_findings_extend_as_far_as_the_map_proposes_unless_told_not_to(scan: Scan) -> None:
    result = fake_result(scan)
    session = Session()
    session.open(scan)
    session.set_result(replace(result, map=replace(result.map, hysteresis=1.5)))
    extended = np.count_nonzero(session.findings.labels)
    assert session.findings.hysteresis == 1.5
    session.extend = False
    assert not session.has_findings
    assert session.findings.hysteresis == 0.0
    assert np.count_nonzero(session.findings.labels) < extended
    assert session.settings.extend is False


def test_settings_that_do_not_move_forget_nothing(session: Session) -> None:
    findings = session.findings
    names = heard(session)
    session.threshold = session.threshold
    session.min_volume_mm3 = session.min_volume_mm3
    session.snap = session.snap
    assert session.findings is findings
    assert names == []


def test_each_stage_tells_and_clears_those_to_its_right(session: Session) -> None:
    assert session.findings is not None
    names = heard(session)
    session.threshold = 0.95
    assert names == ["settings", "findings"]
    names.clear()
    session.open(phantom((10, 12, 10)))
    assert names == ["scan", "result", "findings"]
    assert session.map is None
    assert session.findings is None


def test_opening_the_open_scan_clears_nothing(session: Session, scan: Scan) -> None:
    session.open(scan)
    assert session.map is not None


def test_late_findings_are_dropped(session: Session) -> None:
    early = session.question
    answer = early.answer()
    session.threshold = 0.9
    assert not session.accept(early, answer)
    assert not session.has_findings
    assert session.accept(session.question, answer)
    assert session.findings is answer


def test_the_question_stays_the_same_until_something_changes(session: Session) -> None:
    before = session.question
    assert session.question is before
    session.snap = True
    assert session.question is not before
    assert session.question.supervoxels is session.supervoxels


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_share(session: Session, threshold: float) -> None:
    with pytest.raises(ValueError, match=re.escape("within 0..1")):
        session.threshold = threshold


def test_a_volume_is_not_negative(session: Session) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        session.min_volume_mm3 = -1.0


def test_a_map_of_another_grid_is_refused(session: Session) -> None:
    other = fake_result(phantom((10, 12, 10)))
    with pytest.raises(GridMismatch, match="belongs to another scan"):
        session.set_result(other)
    with pytest.raises(GridMismatch, match="no open scan"):
        Session().set_result(other)


def test_a_review_takes_findings_out_of_the_mask(session: Session) -> None:
    everything = int(session.mask.voxels.sum())
    session.set_review(marked(session))
    assert int(session.mask.voxels.sum()) < everything
    assert session.unsaved


def test_a_review_survives_the_threshold(session: Session) -> None:
    review = marked(session)
    session.set_review(review)
    session.threshold = 0.9
    assert session.review is review


def test_an_unsaved_review_is_never_lost(session: Session, scan: Scan) -> None:
    review = marked(session)
    session.set_review(review)
    for lose in (lambda: session.open(None), lambda: session.set_result(fake_result(scan))):
        with pytest.raises(ReviewError, match="is not saved and would be lost"):
            lose()
        assert session.review is review
        assert session.map is not None
    session.mark_saved()
    session.open(None)
    assert session.review is None


def test_an_unsaved_review_is_kept_before_it_leaves(scan: Scan) -> None:
    kept: list[tuple[Scan, Review]] = []
    session = Session(keep_review=lambda scan, review: kept.append((scan, review)))
    session.open(scan)
    session.set_result(fake_result(scan))
    review = marked(session)
    session.set_review(review)
    names = heard(session)
    session.open(None)
    assert kept == [(scan, review)]
    assert names[0] == "review"
    assert not session.unsaved


def test_a_review_that_cannot_be_kept_stops_what_would_lose_it(scan: Scan) -> None:
    def refuse(scan: Scan, review: Review) -> None:
        raise ReviewError("the disk is full")

    session = Session(keep_review=refuse)
    session.open(scan)
    session.set_result(fake_result(scan))
    session.set_review(marked(session))
    with pytest.raises(ReviewError, match="the disk is full"):
        session.open(None)
    assert session.scan is scan


def test_a_saved_review_leaves_without_a_word(session: Session) -> None:
    session.set_review(marked(session), saved=True)
    session.open(None)
    assert session.review is None


def test_a_review_needs_its_map(session: Session) -> None:
    with pytest.raises(ReviewError, match="no anomaly map to review"):
        Session().set_review(marked(session))
    other = Review(scan_sha256="0" * 64, map_sha256="1" * 64)
    with pytest.raises(StaleReview, match="another scan"):
        session.set_review(other)


def test_the_mask_is_that_of_the_findings(session: Session) -> None:
    assert np.array_equal(session.mask.voxels, session.findings.labels > 0)
