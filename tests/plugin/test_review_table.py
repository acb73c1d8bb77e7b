from dataclasses import replace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from fake_engine import fake_result
from napari_anomaly.findings import Findings, find
from napari_anomaly.plugin.review_table import ReviewTable, verdict_words
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_map, oriented

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def findings(scan: Scan) -> Findings:
    return find(fake_result(scan).map, 0.8)


@pytest.fixture
def table(qtbot: QtBot, findings: Findings, scan: Scan) -> ReviewTable:
    table = ReviewTable()
    qtbot.addWidget(table)
    table.resize(304, 300)
    table.show()
    table.set_findings(findings, scan.source)
    return table


def test_words_for_verdicts() -> None:
    assert verdict_words(None) == "-"
    assert verdict_words(Verdict.FALSE_POSITIVE, "vessel") == "false: vessel"
    assert verdict_words(Verdict.REAL) == "real"


def test_every_cell_and_title_has_words(table: ReviewTable, findings: Findings, scan: Scan) -> None:
    first = findings.items[0].id
    table.set_review(
        Review.of(scan, fake_result(scan).map).mark([first], Verdict.UNSURE).write(first, "look again")
    )
    model = table.review_model
    tip = model.data(model.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert "Finding 1" in tip
    assert "unsure" in tip
    assert "look again" in tip
    for column in range(model.columnCount()):
        assert model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        assert model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole)


def test_slices_are_those_of_the_file(table: ReviewTable) -> None:
    voxels = np.zeros((6, 7, 8), dtype=np.float32)
    turned = Scan.from_array(voxels, affine=oriented((0, 2, 1), (1, -1, -1)))
    score = np.zeros(turned.geometry.shape, dtype=np.float32)
    score[1:3] = 0.95
    findings = find(a_map(score, geometry=turned.geometry), 0.9)
    table.set_findings(findings, turned.source)
    in_file = np.nonzero(turned.source.to_file(findings.labels))[turned.source.order[0]]
    text = table.model().index(0, 7).data()
    assert text == f"{in_file.min()}-{in_file.max()}"


def test_what_is_hardly_found_again_sorts_first_by_stability(table: ReviewTable, scan: Scan) -> None:
    seen = fake_result(scan).map
    least = np.zeros(seen.score.shape, np.float16)
    steady = find(seen, 0.8).items[1]
    least[find(seen, 0.8).labels == steady.rank] = 5.0
    table.set_findings(find(replace(seen, least=least), 0.8), scan.source)
    table.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    assert table.order()[0] == steady.id
    assert [table.model().index(row, 3).data() for row in range(2)] == ["100%", "0%"]


def test_numbers_sort_as_numbers(table: ReviewTable, findings: Findings) -> None:
    table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert table.order() == [finding.id for finding in reversed(findings.items)]


def test_what_was_chosen_stays_chosen_and_is_told_once(
    table: ReviewTable, findings: Findings, scan: Scan
) -> None:
    wanted = [findings.items[1].id, findings.items[3].id]
    table.select(wanted)
    told: list[tuple[int, ...]] = []
    table.chosen.connect(told.append)
    table.set_findings(find(fake_result(scan).map, 0.8), scan.source)
    assert list(table.ids()) == wanted
    assert told == [tuple(wanted)]


def test_a_verdict_draws_its_own_row_anew(table: ReviewTable, findings: Findings, scan: Scan) -> None:
    rows: list[tuple[int, int]] = []
    table.review_model.dataChanged.connect(lambda first, last: rows.append((first.row(), last.row())))
    empty = Review.of(scan, fake_result(scan).map)
    first, _, third = (finding.id for finding in findings.items[:3])
    said = empty.mark([first, third], Verdict.REAL)
    table.set_review(said)
    assert rows == [(0, 0), (2, 2)]
    table.set_review(said.write(third, "faint"))
    assert rows[2:] == [(2, 2)]
    table.set_review(None)
    assert rows[3:] == [(0, 0), (2, 2)]


def test_a_filter_follows_the_review(table: ReviewTable, findings: Findings, scan: Scan) -> None:
    table.show_only("unjudged")
    first = findings.items[0].id
    assert first in table.order()
    table.set_review(Review.of(scan, fake_result(scan).map).mark([first], Verdict.REAL))
    assert first not in table.order()
    table.show_only("real")
    assert table.order() == [first]
    table.select([findings.items[1].id])
    assert table.ids() == ()


def test_size_and_score_filter_together_with_the_verdict(table: ReviewTable, findings: Findings) -> None:
    sizes = sorted(finding.volume_mm3 for finding in findings)
    peaks = sorted(finding.peak for finding in findings)
    # Most findings are of one voxel, so that the third largest tells them apart.
    size, peak = sizes[-3], peaks[-3]
    for least_mm3, least_score in ((size, 0.0), (0.0, peak), (size, peak)):
        table.show_only("all", least_mm3=least_mm3, least_score=least_score)
        wanted = [one.id for one in findings if one.volume_mm3 >= least_mm3 and one.peak >= least_score]
        assert table.order() == wanted
        assert 0 < len(wanted) < len(findings)
    table.show_only("real", least_mm3=sizes[0])
    assert table.order() == []


def test_a_tip_says_millilitres(table: ReviewTable, findings: Findings) -> None:
    tip = table.review_model.data(table.review_model.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert f"{findings.items[0].volume_mm3 / 1000:.2f} ml" in tip
