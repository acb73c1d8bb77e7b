import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_anomaly.plugin.display import TOP, step_of, threshold_of
from napari_anomaly.plugin.threshold_section import ThresholdSection, format_score

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def section(qtbot: QtBot) -> ThresholdSection:
    section = ThresholdSection()
    qtbot.addWidget(section)
    section.show_settings(0.995, 30.0, False, "mm")
    section.show()
    return section


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0.95, ".950"),
        (0.995, ".995"),
        (0.9967, ".996"),
        (0.99987, ".9998"),
        (0.9999, ".99990"),
        (1.0, "1"),
        (0, ".000"),
    ],
)
def test_scores_have_the_digits_of_their_decade(score: float, text: str) -> None:
    assert format_score(score) == text


def test_the_threshold_that_is_set_is_kept_exactly(section: ThresholdSection) -> None:
    assert section.threshold == 0.995
    assert section.step == step_of(0.995)
    assert section.threshold != threshold_of(section.step)
    assert section.value.text() == ".995"


def test_settings_are_shown_without_signals(section: ThresholdSection) -> None:
    heard: list[object] = []
    section.moved.connect(heard.append)
    section.settled.connect(lambda: heard.append("settled"))
    section.snap_changed.connect(heard.append)
    section.show_settings(0.9, 100.0, True, "voxel")
    assert heard == []
    assert section.smallest.text() == "100 voxels"


def test_moving_is_live_and_settles_after_a_rest(section: ThresholdSection, qtbot: QtBot) -> None:
    steps: list[int] = []
    settled: list[bool] = []
    section.moved.connect(steps.append)
    section.settled.connect(lambda: settled.append(True))
    for step in (120, 130, 140):
        section.set_step(step)
    assert steps == [120, 130, 140]
    assert settled == []
    qtbot.waitUntil(lambda: bool(settled), timeout=10_000)
    assert settled == [True]
    assert section.threshold == threshold_of(140)


def test_release_settles_at_once(section: ThresholdSection, qtbot: QtBot) -> None:
    settled: list[bool] = []
    section.settled.connect(lambda: settled.append(True))
    section.set_step(100)
    section.slider.sliderReleased.emit()
    assert settled == [True]
    qtbot.wait(250)
    assert settled == [True]


def test_right_is_more_sensitive(section: ThresholdSection, qtbot: QtBot) -> None:
    before = section.threshold
    qtbot.keyClick(section.slider, Qt.Key.Key_Right)
    assert section.threshold < before
    qtbot.keyClick(section.slider, Qt.Key.Key_Left)
    qtbot.keyClick(section.slider, Qt.Key.Key_Left)
    assert section.threshold > before


def test_the_ends_of_the_slider(section: ThresholdSection) -> None:
    section.set_step(0)
    assert section.step == 1
    section.set_step(TOP + 9)
    assert section.value.text() == ".99999"


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (0.8, "about 0.8 false findings per normal scan"),
        (14.2, "about 14 false findings per normal scan"),
        (0.01, "fewer than 0.1 false findings per normal scan"),
        (None, ""),
    ],
)
def test_false_findings_in_words(section: ThresholdSection, expected: float | None, text: str) -> None:
    section.show_false_findings(expected)
    assert section.false_findings.text() == text


def test_extending_is_offered_where_the_map_proposes_it(section: ThresholdSection) -> None:
    heard: list[bool] = []
    section.extend_changed.connect(heard.append)
    assert not section.extend.isEnabled()
    section.show_settings(0.999, 30.0, False, "mm", extend=True)
    assert section.extend.isEnabled()
    assert section.extend.isChecked()
    assert heard == []
    section.extend.click()
    assert heard == [False]


def test_the_smallest_finding_and_snap(section: ThresholdSection, qtbot: QtBot) -> None:
    settled: list[bool] = []
    snaps: list[bool] = []
    section.settled.connect(lambda: settled.append(True))
    section.snap_changed.connect(snaps.append)
    section.smallest.setValue(120)
    section.snap.setChecked(True)
    assert section.min_volume_mm3 == 120
    assert settled == [True]
    assert snaps == [True]
