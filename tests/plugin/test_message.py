import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.plugin.message import Message, sentence, words_for

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


def test_words_about_another_scan_go_away_and_others_stay(qtbot: QtBot) -> None:
    message, one, other = Message(), object(), object()
    qtbot.addWidget(message)
    message.note("The file states no voxel size.", about=one)
    message.turn_to(one)
    assert message.text() == "The file states no voxel size."
    message.turn_to(other)
    assert (message.text(), message.isHidden()) == ("", True)
    message.note("Saved.")
    message.turn_to(other)
    assert message.text() == "Saved."


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


@pytest.mark.parametrize(("score", "count"), [(0.972, 97), (0.999, 99), (1.0, 100), (0.0, 0), (0.29, 29)])
def test_the_sentence_of_the_scan_is_rounded_down(score: float, count: int) -> None:
    assert sentence(score) == f"This scan is more unusual than {count} of 100 normal scans."


def test_errors_of_ours_speak_for_themselves() -> None:
    assert words_for(UnreadableScan("It is damaged.")) == "It is damaged."


def test_other_errors_say_what_to_do() -> None:
    assert "memory of this machine is full" in words_for(MemoryError())
    assert "KeyError: 'x'" in words_for(KeyError("x"))
