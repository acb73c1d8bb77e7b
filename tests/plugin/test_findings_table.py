import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from fake_engine import fake_result
from napari_anomaly.findings import Finding, Findings, find
from napari_anomaly.plugin.findings_table import FindingsTable, progress, summary
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def findings(scan: Scan) -> Findings:
    return find(fake_result(scan).map, 0.8)


@pytest.fixture
def table(qtbot: QtBot, findings: Findings) -> FindingsTable:
    table = FindingsTable()
    qtbot.addWidget(table)
    table.resize(304, 200)
    table.show()
    table.set_findings(findings)
    return table


def row(table: FindingsTable, place: int) -> list[str]:
    model = table.findings_model
    return [model.data(model.index(place, column), Qt.ItemDataRole.DisplayRole) for column in range(5)]


def test_there_are_findings_to_test_with(findings: Findings) -> None:
    assert len(findings) > 2


def test_a_row_says_rank_score_volume_extent_and_place(table: FindingsTable, findings: Findings) -> None:
    worst = findings.items[0]
    texts = row(table, 0)
    assert texts[0] == "1"
    assert texts[2] == f"{worst.volume_mm3:.0f}"
    assert texts[3] == f"{worst.diameter_mm:.0f}"
    assert texts[4][0] in "RL"
    model = table.findings_model
    titles = [model.headerData(c, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) for c in range(5)]
    assert titles == ["#", "score", "mm³", "mm", "where"]


def test_voxels_where_mm_are_not_known(table: FindingsTable, scan: Scan) -> None:
    unknown = Scan.from_array(scan.voxels, unit="voxel")
    found = find(fake_result(unknown).map, 0.8)
    table.set_findings(found)
    model = table.findings_model
    assert model.headerData(2, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) == "voxels"
    assert row(table, 0)[4].startswith("z")
    assert summary(found).endswith("voxels")


def test_a_click_goes_there_and_again(table: FindingsTable, findings: Findings, qtbot: QtBot) -> None:
    gone: list[Finding] = []
    table.chosen.connect(gone.append)
    spot = table.visualRect(table.findings_model.index(1, 1)).center()
    for _ in range(2):
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert gone == [findings.items[1], findings.items[1]]


def test_arrow_keys_go_there(table: FindingsTable, findings: Findings, qtbot: QtBot) -> None:
    gone: list[Finding] = []
    table.selectRow(0)
    table.chosen.connect(gone.append)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Up)
    qtbot.keyClick(table, Qt.Key.Key_Up)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert [finding.rank for finding in gone] == [2, 1, 1]


def test_what_was_chosen_stays_chosen_and_nothing_moves(table: FindingsTable, scan: Scan) -> None:
    gone: list[Finding] = []
    table.selectRow(1)
    chosen = table.findings_model.finding(1)
    table.chosen.connect(gone.append)
    table.set_findings(find(fake_result(scan).map, 0.81))
    assert table.findings_model.finding(table.currentIndex().row()).id == chosen.id
    assert gone == []


def test_no_findings(table: FindingsTable, scan: Scan) -> None:
    table.set_findings(None)
    assert table.findings_model.rowCount() == 0
    assert table.findings_model.finding(0) is None
    none = find(fake_result(scan).map, 0.8, min_volume_mm3=1e9)
    assert summary(none) == "no findings at these settings"


def test_the_summary(findings: Findings, scan: Scan) -> None:
    ml = int((findings.labels > 0).sum()) * scan.geometry.voxel_volume / 1000
    assert summary(findings) == f"{len(findings)} findings, {ml:.1f} ml"
    one = find(fake_result(scan).map, 0.8, min_volume_mm3=findings.items[0].volume_mm3)
    assert summary(one).startswith("1 finding, ")


def test_every_cell_has_a_tooltip(table: FindingsTable) -> None:
    model = table.findings_model
    assert "Finding 1" in model.data(model.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert model.headerData(1, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)


def test_progress_says_what_is_shown_and_judged(findings: Findings) -> None:
    first, second = (finding.id for finding in findings.items[:2])
    count = len(findings)
    assert progress(findings, (), count, ()) == f"{summary(findings)}, 0 judged"
    assert progress(findings, {first}, 1, {first, second}) == (
        f"{summary(findings)} (1 shown), 1 judged, 1 ≈ false"
    )
