"""The question for a key."""

from pathlib import Path

import pytest
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_anomaly.plugin.key_choice import ask_key


@pytest.mark.parametrize(
    ("chosen", "given"),
    [("/keys/a", "/keys/a.key"), ("/keys/a.key", "/keys/a.key"), ("/keys/a.txt", "/keys/a.txt")],
)
def test_a_key_has_a_suffix(qtbot, monkeypatch: pytest.MonkeyPatch, chosen: str, given: str) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *words, **named: asked.append((words, named)) or (chosen, "")
    )
    parent = QWidget()
    qtbot.addWidget(parent)
    assert ask_key(parent, Path("/keys/before.key")) == Path(given)
    ((words, named),) = asked
    assert words[2] == str(Path("/keys/before.key"))
    assert named["options"] == QFileDialog.Option.DontConfirmOverwrite


def test_who_thinks_better_of_it_gives_none(qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words, **named: ("", ""))
    parent = QWidget()
    qtbot.addWidget(parent)
    assert ask_key(parent) is None
