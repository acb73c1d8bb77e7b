import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_anomaly.plugin.show_section import ShowSection
from napari_anomaly.plugin.windows import Window

pytestmark = pytest.mark.usefixtures("screen")

BRAIN = Window("brain", "grey and white matter", (0.0, 100.0))
BONE = Window("bone", "skull", (-100.0, 900.0))


@pytest.fixture
def section(qtbot: QtBot) -> ShowSection:
    section = ShowSection()
    qtbot.addWidget(section)
    section.show()
    return section


def test_without_a_result_there_is_nothing_to_show(section: ShowSection) -> None:
    section.show_layers({})
    assert not any(box.isEnabled() for box in section.boxes.values())
    assert not section.opacity.isEnabled()


def test_layers_are_shown_as_they_are_without_signals(section: ShowSection) -> None:
    heard: list[tuple[str, bool]] = []
    section.layer_toggled.connect(lambda role, on: heard.append((role, on)))
    section.show_layers({"map": True, "mask": False})
    assert [box.isChecked() for box in section.boxes.values()] == [True, False, False, False]
    assert [box.isEnabled() for box in section.boxes.values()] == [True, True, False, False]
    assert heard == []


def test_boxes_toggle_with_the_space_key(section: ShowSection, qtbot: QtBot) -> None:
    heard: list[tuple[str, bool]] = []
    section.layer_toggled.connect(lambda role, on: heard.append((role, on)))
    section.show_layers({"map": True, "mask": False, "proxies": False})
    qtbot.keyClick(section.boxes["mask"], Qt.Key.Key_Space)
    assert heard == [("mask", True)]


def test_a_click_chooses_a_plane(section: ShowSection, qtbot: QtBot) -> None:
    heard: list[str] = []
    section.plane_chosen.connect(heard.append)
    for plane in ("coronal", "3d"):
        qtbot.mouseClick(section.planes[plane], Qt.MouseButton.LeftButton)
    assert heard == ["coronal", "3d"]


def test_the_plane_on_the_screen_is_marked(section: ShowSection) -> None:
    section.show_plane("sagittal")
    assert [plane for plane, made in section.planes.items() if made.isChecked()] == ["sagittal"]
    section.show_plane(None)
    assert not any(made.isChecked() for made in section.planes.values())


def test_windows(section: ShowSection) -> None:
    heard: list[Window] = []
    section.window_chosen.connect(heard.append)
    section.set_windows((BRAIN, BONE), BONE.limits)
    assert section.window_.currentText() == "bone"
    section.window_.activated.emit(0)
    assert heard == [BRAIN]
    section.show_limits((1.0, 2.0))
    assert section.window_.currentIndex() == -1
    section.show_limits((0.0, 100.0))
    assert section.window_.currentText() == "brain"


def test_opacity(section: ShowSection) -> None:
    heard: list[float] = []
    section.opacity_changed.connect(heard.append)
    section.opacity.setValue(40)
    assert heard == [0.4]
