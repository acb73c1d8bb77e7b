import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from napari_anomaly.plugin.parts import Message, button, caption, row, slim_combo, words

pytestmark = pytest.mark.usefixtures("screen")


def test_a_message_can_be_read_and_goes_away(qtbot: QtBot) -> None:
    message = Message()
    qtbot.addWidget(message)
    assert message.isHidden()
    message.error("No scan is open.")
    assert not message.isHidden()
    assert message.text() == "No scan is open."
    error_style = message.styleSheet()
    message.note("Saved it.")
    assert message.styleSheet() != error_style
    message.clear_text()
    assert message.isHidden()


def test_a_long_path_does_not_widen_the_dock(qtbot: QtBot) -> None:
    message = Message()
    qtbot.addWidget(message)
    message.note("Saved /home/" + "a_long_name/" * 30)
    assert message.minimumSizeHint().width() < 200


def test_angle_brackets_are_text(qtbot: QtBot) -> None:
    message = Message()
    qtbot.addWidget(message)
    message.error("<b>not bold</b>")
    assert message.textFormat() == Qt.TextFormat.PlainText


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
