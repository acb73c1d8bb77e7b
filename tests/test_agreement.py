"""Readers side by side: known verdicts have a known kappa."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from napari_anomaly.agreement import (
    agreed,
    agreement,
    agreement_as_installed,
    agreement_csv,
    gather,
    read_review,
    write_csv,
)
from napari_anomaly.errors import MissingExtra, ReviewError, ScanError, StaleReview
from napari_anomaly.journal import Header, Journal
from napari_anomaly.review import Entry, Review, Seen, Verdict

A, B = "a" * 64, "b" * 64
R, F, U = Verdict.REAL, Verdict.FALSE_POSITIVE, Verdict.UNSURE


def review(reader: str, verdicts: dict[int, Verdict], **other: str) -> Review:
    made = Review(**({"scan_sha256": A, "map_sha256": A, "detector_sha256": A, "reader": reader} | other))
    for key, verdict in verdicts.items():
        made = made.mark([key], verdict)
    return made


ANN = review("ann", {1: R, 2: R, 3: F, 4: F, 5: U})
BEN = review("ben", {1: R, 2: F, 3: F, 4: F, 6: R})


def test_known_verdicts_have_a_known_kappa() -> None:
    found = agreement([ANN, BEN])
    assert found.findings == (1, 2, 3, 4, 5, 6)
    assert found.verdicts[1] == (R, F)
    assert found.verdicts[4:] == ((U, None), (None, R))
    (pair,) = found.pairs
    assert (pair.both, pair.same, pair.share) == (4, 3, 0.75)
    # Observed .75; expected by chance (2 * 1 + 2 * 3) / 16 = .5.
    assert pair.kappa == pytest.approx(0.5)


def test_the_table_in_words() -> None:
    rows = agreement([ANN, BEN]).rows()
    assert rows[0] == ("finding", "ann", "ben", "agree")
    assert rows[1] == ("1", "real", "real", "yes")
    assert rows[2] == ("2", "real", "false positive", "no")
    assert rows[5] == ("5", "unsure", "", "")


def test_three_readers_make_three_pairs() -> None:
    found = agreement([ANN, BEN, ANN])
    assert found.readers == ("ann", "ben", "ann (3)")
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("ann", "ben"),
        ("ann", "ann (3)"),
        ("ben", "ann (3)"),
    ]
    assert found.pairs[1].kappa == pytest.approx(1.0)


def test_where_kappa_is_not_defined_it_is_none() -> None:
    one = review("ann", {1: R, 2: R})
    (pair,) = agreement([one, review("ben", {1: R, 2: R})]).pairs
    assert (pair.share, pair.kappa) == (1.0, None)
    (pair,) = agreement([one, review("ben", {3: R})]).pairs
    assert (pair.both, pair.share, pair.kappa) == (0, None, None)
    (pair,) = agreement([ANN, BEN], kappa=False).pairs
    assert (pair.share, pair.kappa) == (0.75, None)


def test_reviews_of_different_scans_are_not_compared() -> None:
    with pytest.raises(StaleReview, match="of different scans"):
        agreement([ANN, review("ben", {}, scan_sha256=B)])
    with pytest.raises(StaleReview, match="of different detectors"):
        agreement([ANN, review("ben", {}, detector_sha256=B)])
    with pytest.raises(ReviewError, match="two readers or more"):
        agreement([ANN])
    assert "differ a little" in agreement([ANN, review("ben", {}, map_sha256=B)]).notes[0]


def test_csv_holds_table_and_pairs() -> None:
    lines = agreement_csv(agreement([ANN, BEN])).splitlines()
    assert lines[0] == "finding,ann,ben,agree"
    assert lines[2] == "2,real,false positive,no"
    assert lines[-1] == "ann,ben,4,3,0.750,0.500"


def journal(path: Path, said: Review) -> Path:
    header = Header(
        scan="head", scan_sha256=A, detector="d", detector_sha256=A, map_sha256=A, reader=said.reader
    )
    opened = Journal.open(path, header)
    for key, one in said.verdicts.items():
        change = opened.review.marking([key], one.verdict)
        opened.record(Entry(do="change", change=change))
    opened.close()
    return path


def test_journals_reviews_and_exports_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "review.json").write_text(ANN.to_json(), encoding="utf-8")
    exported = {"product": "napari-anomaly reading", "review": json.loads(ANN.to_json())}
    (tmp_path / "reading.json").write_text(json.dumps(exported), encoding="utf-8")
    paths = (journal(tmp_path / "j.jsonl", ANN), tmp_path / "review.json", tmp_path / "reading.json")
    for path in paths:
        read = read_review(path)
        assert read.reader == "ann"
        assert {key: one.verdict for key, one in read.verdicts.items()} == {
            key: one.verdict for key, one in ANN.verdicts.items()
        }


def test_a_journal_that_is_being_written_to_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = journal(tmp_path / "j.jsonl", ANN)
    with path.open("ab") as file:
        file.write(b'{"do": "cha')
    before = path.read_bytes()
    assert len(read_review(path).verdicts) == 5
    assert path.read_bytes() == before


def test_what_is_no_review_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("no review")
    (tmp_path / "text.jsonl").write_text("no review")
    with pytest.raises(ReviewError, match="Choose a review file"):
        read_review(tmp_path / "text.json")
    with pytest.raises(ReviewError, match="is no review that this version can read"):
        read_review(tmp_path / "text.jsonl")
    with pytest.raises(ReviewError, match="cannot be read"):
        read_review(tmp_path / "none.jsonl")


def test_who_agrees() -> None:
    assert agreed((R, None, R)) is True
    assert agreed((R, F, R)) is False
    assert agreed((R, None)) is None
    assert agreed(()) is None


def test_how_far_two_readers_agree_in_words() -> None:
    (line,) = agreement([ANN, BEN]).sentences()
    assert line == "ann and ben: the same verdict on 3 of 4 findings (75%), kappa 0.50"
    (line,) = agreement([ANN, review("ben", {9: R})]).sentences()
    assert line == "ann and ben: no finding was judged by both"
    (line,) = agreement([review("ann", {1: R}), review("ben", {1: R})]).sentences()
    assert line.endswith("(100%), kappa not defined")


def test_without_scikit_learn_there_is_all_but_kappa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtra, match="needs scikit-learn"):
        agreement([ANN, BEN])
    found = agreement_as_installed([ANN, BEN])
    assert found.sentences() == ["ann and ben: the same verdict on 3 of 4 findings (75%)"]
    assert "napari-anomaly[agreement]" in found.notes[0]
    monkeypatch.undo()
    assert agreement_as_installed([ANN, BEN]) == agreement([ANN, BEN])


def test_stale_and_broken_reviews_are_told_apart_and_never_mixed(tmp_path: Path) -> None:
    cleo = review("cleo", {1: R}, scan_sha256=B)
    dora = review("dora", {1: R}, detector_sha256=B)
    emil = review("emil", {1: R}, detector_sha256="")
    for said in (BEN, cleo, dora, emil):
        (tmp_path / f"{said.reader}.json").write_text(said.to_json(), encoding="utf-8")
    (tmp_path / "zoe.json").write_text("no review")
    found = gather(sorted(tmp_path.iterdir()), scan_sha256=A, detector_sha256=A)
    assert [said.reader for said in found.reviews] == ["ben"]
    assert found.left_out[0] == (
        "cleo.json is left out: it is a review of another scan (bbbbbbbbbbbb) than the open one (aaaaaaaaaaaa)."
    )
    assert "dora.json is left out: it is a review of another detector (bbb" in found.left_out[1]
    assert "it does not say which" in found.left_out[2]
    assert "zoe.json cannot be read" in found.left_out[3]


def test_the_table_is_never_written_over_the_scan(tmp_path: Path) -> None:
    scan = tmp_path / "scan.csv"
    scan.write_text("voxels")
    with pytest.raises(ScanError, match="never overwritten"):
        write_csv(agreement([ANN, BEN]), scan, keep=[scan])
    assert scan.read_text() == "voxels"


def test_a_reader_who_saw_the_others_before_is_named_with_what_came_after() -> None:
    early = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    looked = BEN.follow(Entry(do="seen", seen=Seen(readers=("ann",), unjudged=5, when=early)))
    found = agreement([ANN, looked])
    assert found.notes == (
        "ben saw what others said (ann) on 2026-03-01 12:00 UTC with 5 findings not judged: 5 of ben's verdicts were "
        "given or changed after that, and are not independent.",
    )
    assert found.notes[0] in agreement_csv(found)
    late = BEN.follow(
        Entry(do="seen", seen=Seen(readers=("ann",), unjudged=1, when=datetime.now(UTC) + timedelta(days=1)))
    )
    assert ": 0 of ben's verdicts" in agreement([ANN, late]).notes[0]
    assert agreement([ANN, BEN]).notes == ()
    # What leaves without words names nobody.
    assert looked.without_words().seen == ()
