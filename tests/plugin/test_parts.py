import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLineEdit

from napari_anomaly.plugin.parts import button, caption, row, slim_combo, words

pytestmark = pytest.mark.usefixtures("screen")


def test_a_long_entry_or_label_does_not_widen_the_dock(qtbot: QtBot) -> None:
    combo, label = slim_combo("scan"), words("progress")
    for widget in (combo, label):
        qtbot.addWidget(widget)
    combo.addItem("x" * 500)
    label.setText("x" * 500)
    assert combo.minimumSizeHint().width() < 150
    assert row(combo, label).minimumSize().width() < 200


def test_a_button_does_what_it_says(qtbot: QtBot) -> None:
    pressed: list[bool] = []
    made = button("&Detect", "Look", lambda: pressed.append(True))
    qtbot.addWidget(made)
    made.click()
    assert pressed == [True]
    assert made.toolTip() == "Look"


def test_a_caption_leads_to_its_control(qtbot: QtBot) -> None:
    edit = QLineEdit()
    qtbot.addWidget(edit)
    label = caption("&Note", edit)
    qtbot.addWidget(label)
    assert label.buddy() is edit
