import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_anomaly.pacs.match import Match
from napari_anomaly.plugin.archive_table import ArchiveTable, MatchModel

pytestmark = pytest.mark.usefixtures("screen")

A = Match("1", "1.1", "Muster^Anna^B", "ID1", "20240229", "MR", "flair", "5", images=9)
B = Match("2", "2.1", "山田^太郎=Yamada^Tarou", "", "1999", "CT", "", "", images=0)


@pytest.mark.parametrize(
    ("match", "texts"),
    [(A, ["2024-02-29", "Muster, Anna B", "MR", "flair", "9"]), (B, ["1999", "山田, 太郎", "CT", "", ""])],
)
def test_a_row_says_what_a_reader_needs(match: Match, texts: list[str]) -> None:
    model = MatchModel()
    model.set_matches([match])
    assert [model.index(0, column).data() for column in range(model.columnCount())] == texts


def test_what_is_here_is_ticked() -> None:
    model = MatchModel()
    model.set_matches([A, B])
    model.set_here([A])
    assert [model.index(row, 4).data() for row in range(2)] == ["✓ 9", ""]
    assert model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole) == "Muster, Anna B\nID1\nMR 5 flair"
    model.set_matches([A])
    assert model.index(0, 4).data() == "9"


def test_selected_series_follow_the_order_on_the_screen(qtbot: QtBot) -> None:
    table = ArchiveTable()
    qtbot.addWidget(table)
    assert table.selected == []
    table.set_matches([B, A])
    assert table.selected == [A]
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    table.selectAll()
    assert table.selected == [B, A]
    chosen: list[Match] = []
    table.chosen.connect(chosen.append)
    table.setCurrentIndex(table.model().index(1, 0))
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert chosen == [A]
