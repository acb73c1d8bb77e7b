import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_anomaly.plugin.archive_sign_in import SignIn

pytestmark = pytest.mark.usefixtures("screen")


def test_a_secret_is_handed_over_once_and_forgotten(qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    for accept, expected in ((True, [("", "token")]), (False, [])):
        dialog, given = SignIn("pacs.example:443", parent), []
        dialog.given.connect(lambda user, secret, given=given: given.append((user, secret)))
        dialog.open()
        qtbot.keyClicks(dialog.secret, "token")
        qtbot.keyClick(dialog.secret, Qt.Key.Key_Return if accept else Qt.Key.Key_Escape)
        assert given == expected
        assert dialog.secret.text() == ""
