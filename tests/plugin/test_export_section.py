from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_anomaly.plugin.export_section import ExportSection

pytestmark = pytest.mark.usefixtures("screen")


def section_with(qtbot: QtBot, default: Path | None) -> tuple[ExportSection, list[tuple[str, Path]]]:
    heard: list[tuple[str, Path]] = []
    section = ExportSection(lambda kind: default)
    qtbot.addWidget(section)
    section.mask_wanted.connect(lambda path: heard.append(("mask", path)))
    section.map_wanted.connect(lambda path: heard.append(("map", path)))
    return section, heard


@pytest.mark.parametrize(
    ("answer", "path"), [("out.nii", "out.nii"), ("out.tif", "out.tif"), ("out", "out.nii.gz")]
)
def test_the_chosen_file_is_wanted(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, path: str
) -> None:
    section, heard = section_with(qtbot, tmp_path / "default.nii.gz")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / answer), ""))
    qtbot.mouseClick(section.mask_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(section.map_button, Qt.MouseButton.LeftButton)
    assert heard == [("mask", tmp_path / path), ("map", tmp_path / path)]


def test_no_choice_wants_nothing(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    section, heard = section_with(qtbot, tmp_path / "default.nii.gz")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    section.ask_mask()
    section.ask_map()
    assert heard == []


def test_nothing_to_export_asks_nothing(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    section, heard = section_with(qtbot, None)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: pytest.fail("asked"))
    section.ask_mask()
    assert heard == []
