"""The window of the table of readers: a question first, then the table; its keys are its own."""

from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_anomaly.agreement import agreement
from napari_anomaly.plugin.agreement_window import AgreementWindow
from napari_anomaly.review import Review, Verdict

pytestmark = pytest.mark.usefixtures("screen")
SHA = "a" * 64


@pytest.fixture
def acts() -> list[str]:
    return []


@pytest.fixture
def beside(qtbot: QtBot, acts: list[str]) -> Iterator[AgreementWindow]:
    parent = QWidget()
    qtbot.addWidget(parent)
    window = AgreementWindow(
        parent, {name: lambda name=name: acts.append(name) for name in ("agree", "files", "export")}
    )
    parent.show()
    window.show()
    yield window
    parent.close()


def said(reader: str, verdict: Verdict) -> Review:
    empty = Review(scan_sha256=SHA, map_sha256=SHA, detector_sha256=SHA, reader=reader)
    return empty.mark([1, 2], verdict).mark([3], Verdict.REAL)


def test_it_asks_before_it_shows(beside: AgreementWindow, acts: list[str], qtbot: QtBot) -> None:
    found = agreement([said("ann", Verdict.REAL), said("<b>ben</b>", Verdict.UNSURE)])
    beside.show_agreement(found, None, ["a note"])
    assert (beside.asking, beside.notes.text()) == (False, "a note")
    assert "ann and <b>ben</b>: the same verdict on 1 of 3 findings (33%)" in beside.pairs.text()
    assert beside.pairs.textFormat() == Qt.TextFormat.PlainText
    beside.ask("sure?")
    assert (beside.asking, beside.question.text()) == (True, "sure?")
    assert beside.table.model().rowCount() == 0
    assert beside.pairs.text() == ""
    qtbot.mouseClick(beside.show_all, Qt.MouseButton.LeftButton)
    assert acts == ["agree"]
    qtbot.mouseClick(beside.judge_first, Qt.MouseButton.LeftButton)
    assert not beside.isVisible()


def test_enter_sees_nothing_by_accident_and_escape_closes(
    beside: AgreementWindow, acts: list[str], qtbot: QtBot
) -> None:
    beside.ask("sure?")
    qtbot.keyClick(beside, Qt.Key.Key_Return)
    assert acts == []
    qtbot.keyClick(beside, Qt.Key.Key_Escape)
    assert not beside.isVisible()


def test_nothing_to_export_without_a_comparison(
    beside: AgreementWindow, acts: list[str], qtbot: QtBot
) -> None:
    beside.show_agreement(None, None, ["nobody else"])
    qtbot.mouseClick(beside.export, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(beside.files, Qt.MouseButton.LeftButton)
    assert acts == ["files"]


def test_every_control_has_words(beside: AgreementWindow) -> None:
    controls = [*beside.findChildren(QAbstractButton), beside.table]
    named = [one for one in controls if one is beside.table or one.text()]
    assert len(named) == 6
    assert all(one.toolTip() for one in named)
