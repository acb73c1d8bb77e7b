from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from napari.qt import get_stylesheet
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QStyle, QStyleOptionComboBox

from napari_anomaly.plugin.engine import Device
from napari_anomaly.plugin.parts import WIDTH
from napari_anomaly.plugin.preferences import keep_preference
from napari_anomaly.plugin.run_section import RunSection
from napari_anomaly.progress import Progress

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def section(qtbot: QtBot) -> RunSection:
    section = RunSection(("brain-mri", "chest-ct"))
    qtbot.addWidget(section)
    section.show()
    return section


@pytest.fixture
def layers() -> list[Image]:
    return [Image(np.zeros((2, 3, 4)), name=name) for name in ("first", "second", "third")]


def test_without_a_scan_there_is_nothing_to_detect(section: RunSection) -> None:
    section.set_layers([])
    assert section.layer is None
    assert not section.detect.isEnabled()


def test_a_second_opinion_is_asked_for_by_the_reader_alone(section: RunSection, qtbot: QtBot) -> None:
    assert not section.second_opinion
    qtbot.keyClick(section.second, Qt.Key.Key_Space)
    assert section.second_opinion
    assert section.second.toolTip()


def test_the_choice_of_a_scan_stays_where_it_can(section: RunSection, layers: list[Image]) -> None:
    section.set_layers(layers, layers[1])
    heard: list[bool] = []
    section.scan_chosen.connect(lambda: heard.append(True))
    section.set_layers(layers[1:])
    assert section.layer is layers[1]
    assert heard == []
    section.set_layers([layers[2]])
    assert section.layer is layers[2]
    assert heard == [True]


def test_scans_of_the_same_name_are_told_apart(section: RunSection) -> None:
    twins = [Image(np.zeros((2, 3, 4)), name="flair"), Image(np.ones((2, 3, 4)), name="flair")]
    section.set_layers(twins, twins[0])
    section.scan.setCurrentIndex(1)
    assert section.layer is twins[1]


def test_choosing_a_scan(section: RunSection, layers: list[Image]) -> None:
    section.set_layers(layers)
    section.choose(layers[0])
    assert section.layer is layers[0]
    section.choose(Image(np.zeros((2, 3, 4)), name="not offered"))
    assert section.layer is layers[0]


def test_detectors(section: RunSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert section.chosen_detector == "brain-mri"
    file = tmp_path / "mine.safetensors"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(file), ""))
    section.detector.setCurrentIndex(section.detector.count() - 1)
    section.detector.activated.emit(section.detector.count() - 1)
    assert section.chosen_detector == file
    assert section.detector.currentText() == "mine.safetensors"
    section.choose_detector("chest-ct")
    assert section.chosen_detector == "chest-ct"


def test_the_name_of_the_detector_is_not_cut(section: RunSection, qtbot: QtBot) -> None:
    # as wide as in the window, where the contents have margins and napari its own look
    section.setStyleSheet(get_stylesheet("dark"))
    section.setFixedWidth(WIDTH - 16)
    qtbot.waitExposed(section)
    qtbot.wait(50)
    combo, option = section.detector, QStyleOptionComboBox()
    combo.initStyleOption(option)
    room = combo.style().subControlRect(
        QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, combo
    )
    assert combo.currentText() == "brain-mri"
    assert combo.fontMetrics().horizontalAdvance("brain-mri") < room.width()


def test_no_file_chosen_keeps_the_detector(section: RunSection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: ("", ""))
    section.choose_detector("chest-ct")
    section.detector.activated.emit(section.detector.count() - 1)
    assert section.chosen_detector == "chest-ct"


def test_without_a_detector_none_is_chosen(qtbot: QtBot) -> None:
    section = RunSection(())
    qtbot.addWidget(section)
    assert section.chosen_detector is None


def test_devices(section: RunSection) -> None:
    assert section.chosen_device == "auto"
    section.set_devices((Device("auto", "automatic: CPU, no CUDA device was found"), Device("cpu", "CPU")))
    assert section.chosen_device == "auto"
    assert section.device.currentText() == "automatic: CPU, no CUDA device was found"
    assert "no CUDA device was found" in section.device.toolTip()


def test_running_and_idle(section: RunSection, layers: list[Image]) -> None:
    section.set_layers(layers)
    section.show_running()
    assert not section.detect.isEnabled()
    assert section.cancel.isVisible()
    section.show_progress(Progress(62, 100, "looking at slices"), "4 s left")
    assert section.progress.text() == "62%, 4 s left"
    assert section.bar.value() == 620
    section.show_progress(Progress(0, 0, "loading the detector"), "")
    assert section.progress.text() == "loading the detector"
    section.set_layers(layers[:2])
    assert not section.detect.isEnabled()
    section.show_idle("done in 8 s")
    assert section.detect.isEnabled()
    assert not section.cancel.isVisible()
    assert section.progress.text() == "done in 8 s"


def test_buttons_and_keys(section: RunSection, layers: list[Image], qtbot: QtBot) -> None:
    heard: list[str] = []
    section.detect_pressed.connect(lambda: heard.append("detect"))
    section.cancel_pressed.connect(lambda: heard.append("cancel"))
    section.set_layers(layers)
    qtbot.mouseClick(section.detect, Qt.MouseButton.LeftButton)
    qtbot.keyClick(section, Qt.Key.Key_Return)
    section.show_running()
    qtbot.keyClick(section, Qt.Key.Key_Return)
    qtbot.mouseClick(section.cancel, Qt.MouseButton.LeftButton)
    assert heard == ["detect", "detect", "cancel"]


def test_the_choice_of_volume(section: RunSection) -> None:
    heard: list[int] = []
    section.volume_chosen.connect(heard.append)
    section.show_extras("", 30, 4)
    assert section.volume.isVisible()
    assert section.volume.text() == "volume 5 of 30"
    assert heard == []
    section.volume.setValue(8)
    assert heard == [7]
    section.show_extras("oblique 12°", 1, 0)
    assert not section.volume.isVisible()
    assert section.badge.text() == "oblique 12°"
    section.show_extras("", 1, 0)
    assert not section.extras.isVisible()


def test_it_begins_with_what_the_reader_prefers(qtbot: QtBot) -> None:
    keep_preference("detector", "chest-ct")
    keep_preference("device", "cuda")
    section = RunSection(("brain-mri", "chest-ct"))
    qtbot.addWidget(section)
    assert (section.chosen_detector, section.chosen_device) == ("chest-ct", "cuda")
    # A device that is not there is not insisted on.
    section.set_devices((Device("auto", "automatic: CPU"), Device("cpu", "CPU")))
    assert section.chosen_device == "auto"


def test_a_preferred_file_is_a_detector_too(qtbot: QtBot, tmp_path: Path) -> None:
    keep_preference("detector", str(tmp_path / "mine.safetensors"))
    section = RunSection(("brain-mri",))
    qtbot.addWidget(section)
    assert section.chosen_detector == tmp_path / "mine.safetensors"
    assert section.detector.currentText() == "mine.safetensors"
