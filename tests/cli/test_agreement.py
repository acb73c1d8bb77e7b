"""Readers compared from the command line."""

import pytest

from napari_anomaly.cli import main
from napari_anomaly.review import Review, Verdict


@pytest.fixture
def reviews(tmp_path):
    paths = []
    for reader, verdicts in (("ann", "rrff"), ("ben", "rfff")):
        review = Review(scan_sha256="a" * 64, map_sha256="a" * 64, reader=reader)
        for key, letter in enumerate(verdicts):
            review = review.mark([key], Verdict.REAL if letter == "r" else Verdict.FALSE_POSITIVE)
        path = tmp_path / f"{reader}.json"
        path.write_text(review.to_json(), encoding="utf-8")
        paths.append(str(path))
    return paths


def test_the_table_is_printed_and_written(reviews, tmp_path, capsys):
    out = tmp_path / "table.csv"
    assert main(["agreement", *reviews, "--csv", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["finding", "ann", "ben", "agree"]
    assert lines[2].split() == ["1", "real", "false", "positive", "no"]
    assert "ann and ben: the same verdict on 3 of 4 findings (75%), kappa 0.50" in lines
    assert out.read_text(encoding="utf-8").splitlines()[2] == "1,real,false positive,no"


def test_one_reader_is_not_enough(reviews, capsys):
    assert main(["agreement", reviews[0]]) == 2
    assert "two readers or more" in capsys.readouterr().err
