"""Who said what of which finding, as rows on the screen."""

from collections.abc import Callable

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from fake_engine import fake_result
from napari_anomaly.agreement import Agreement, agreement
from napari_anomaly.findings import Findings, find
from napari_anomaly.plugin.agreement_table import AgreementTable, finding_at
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")
R, F, U = Verdict.REAL, Verdict.FALSE_POSITIVE, Verdict.UNSURE
Compare = Callable[..., Agreement]


@pytest.fixture
def findings(scan: Scan) -> Findings:
    return find(fake_result(scan).map, 0.8)


@pytest.fixture
def compared(scan: Scan) -> Compare:
    """Give what comes of verdicts by finding, one mapping for each reader."""
    empty = Review.of(scan, fake_result(scan).map)

    def make(**said: dict[int, Verdict]) -> Agreement:
        reviews = []
        for reader, verdicts in said.items():
            review = empty.model_copy(update={"reader": reader})
            for key, verdict in verdicts.items():
                review = review.mark([key], verdict)
            reviews.append(review)
        return agreement(reviews)

    return make


def cells(table: AgreementTable) -> list[tuple[str, ...]]:
    model = table.model()
    return [
        tuple(model.index(row, column).data() for column in range(model.columnCount()))
        for row in range(model.rowCount())
    ]


def test_a_row_for_each_finding_and_a_column_for_each_reader(
    compared: Compare, findings: Findings, qtbot: QtBot
) -> None:
    first, second, third = (one.id for one in findings.items[:3])
    table = AgreementTable()
    qtbot.addWidget(table)
    table.set_agreement(
        compared(ann={third: U, first: R, second: R}, ben={first: R, second: F}, cleo={second: R}), findings
    )
    header = table.model()
    titles = [header.headerData(n, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) for n in range(6)]
    assert titles == ["#", "agree", "ann (you)", "ben", "cleo", "where"]
    assert [row[:5] for row in cells(table)] == [
        ("1", "= yes", "real", "real", "-"),
        ("2", "≠ no", "real", "false", "real"),
        ("3", "", "unsure", "-", "-"),
    ]


def test_disagreement_is_bold_and_a_sign_and_can_be_shown_alone(
    compared: Compare, findings: Findings, qtbot: QtBot
) -> None:
    first, second = (one.id for one in findings.items[:2])
    table = AgreementTable()
    qtbot.addWidget(table)
    table.set_agreement(compared(ann={first: R, second: R}, ben={first: R, second: F}), findings)
    bold = [table.model().index(row, 2).data(Qt.ItemDataRole.FontRole) for row in range(2)]
    assert bold[0] is None
    assert bold[1].bold()
    table.only_disagreements(True)
    assert [row[0] for row in cells(table)] == ["2"]
    table.only_disagreements(False)
    assert [row[0] for row in cells(table)] == ["1", "2"]


def test_what_is_no_finding_at_this_threshold_is_told_apart(
    compared: Compare, findings: Findings, qtbot: QtBot
) -> None:
    first = findings.items[0]
    inside = np.flatnonzero((findings.labels == first.rank).reshape(-1))
    part = int(next(voxel for voxel in inside if voxel != first.id))
    outside = int(np.flatnonzero(findings.labels.reshape(-1) == 0)[0])
    table = AgreementTable()
    qtbot.addWidget(table)
    table.set_agreement(compared(ann={}, ben={outside: R, part: F, first.id: R}), findings)
    assert [row[0] for row in cells(table)] == ["1", "(1)", "-"]
    assert finding_at(findings, part) is first
    assert finding_at(findings, outside) is None
    assert finding_at(findings, findings.labels.size) is None


def test_titles_sort_and_numbers_sort_as_numbers(compared: Compare, findings: Findings, qtbot: QtBot) -> None:
    assert len(findings) > 10
    table = AgreementTable()
    qtbot.addWidget(table)
    everything = {one.id: R for one in findings}
    table.set_agreement(compared(ann=everything, ben={findings.items[4].id: F}), findings)
    assert [row[0] for row in cells(table)] == [str(one.rank) for one in findings]
    table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert cells(table)[0][:2] == ("5", "≠ no")


def test_the_chosen_one_stays_chosen(compared: Compare, findings: Findings, qtbot: QtBot) -> None:
    first, second = (one.id for one in findings.items[:2])
    table = AgreementTable()
    qtbot.addWidget(table)
    heard: list[int] = []
    table.chosen.connect(heard.append)
    table.set_agreement(compared(ann={first: R, second: R}, ben={}), findings)
    table.selectRow(1)
    assert heard == [second]
    table.set_agreement(compared(ann={first: R, second: U}, ben={}), findings)
    assert table.key == second
    table.select(-5)
    assert table.key is None
    assert heard == [second]
