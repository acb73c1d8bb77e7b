"""The question which series are to be opened."""

from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox

pytest.importorskip("pydicom", reason="needs the extra dicom")

from dicoms import PATIENT, ROOT, classic, ramp
from napari_anomaly import io
from napari_anomaly.plugin.series_choice import SeriesChoice

SLICES = ramp()


@pytest.fixture
def asking(qtbot, tmp_path: Path) -> SeriesChoice:
    classic(tmp_path / "a", SLICES)
    classic(tmp_path / "b", ramp((9, 6, 4)), SeriesInstanceUID=ROOT + "77", SeriesNumber=8)
    classic(tmp_path / "c", SLICES[:1], SeriesInstanceUID=ROOT + "78", SeriesNumber=9)
    (tmp_path / "odd.dcm").write_text("no header at all")
    made = SeriesChoice(io.find_series(tmp_path))
    qtbot.addWidget(made)
    return made


def test_every_series_is_listed_in_columns_and_none_names_the_patient(asking: SeriesChoice) -> None:
    table = asking.table
    words = [[table.item(row, column).text() for column in range(6)] for row in range(table.rowCount())]
    assert words[0] == ["MR", "t1 mprage", "2024-02-29", "5 slices", "axial", "0.75 x 1.5 x 3 mm"]
    assert [row[3] for row in words] == ["5 slices", "9 slices"]
    told = " ".join(word for row in words for word in row) + asking.refused.toPlainText()
    assert PATIENT.split("^")[0] not in told


def test_what_cannot_be_opened_is_named_with_its_reason(asking: SeriesChoice) -> None:
    told = asking.refused.toPlainText().splitlines()
    assert len(told) == 2
    assert "single slice" in told[0]
    assert "odd.dcm" in told[1]


def test_the_largest_series_is_chosen_at_first(asking: SeriesChoice) -> None:
    assert asking.chosen == (1,)


def test_all_can_be_chosen_and_none_cannot_be_opened(qtbot, asking: SeriesChoice) -> None:
    asking.show()
    qtbot.keyClick(asking.table, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert asking.chosen == (0, 1)
    opening = asking.buttons.button(QDialogButtonBox.StandardButton.Open)
    asking.table.clearSelection()
    assert asking.chosen == ()
    assert not opening.isEnabled()
    asking.table.selectRow(0)
    assert opening.isEnabled()


def test_a_double_click_opens(qtbot, asking: SeriesChoice) -> None:
    asking.show()
    with qtbot.waitSignal(asking.accepted):
        asking.table.doubleClicked.emit(asking.table.model().index(0, 0))


def test_without_problems_nothing_is_said_of_them(qtbot, tmp_path: Path) -> None:
    classic(tmp_path, SLICES)
    made = SeriesChoice(io.find_series(tmp_path))
    qtbot.addWidget(made)
    assert made.refused.isHidden()
