"""The reading dock in a real window: clicks and keys, from the first finding to the last."""

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import napari
import numpy as np
import pytest
from napari.utils.colormaps import ensure_colormap
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QTableView, QWidget

from fake_engine import fake_result
from napari_anomaly.journal import Journal
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.preferences import keep_preference
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.view import worst_slice
from napari_anomaly.recall import Memory, alike, memory_path
from napari_anomaly.review import Verdict
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")

MakePanel = Callable[..., ReviewPanel]
THRESHOLD = 0.8


@pytest.fixture
def make_panel(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> Iterator[MakePanel]:
    panels: list[ReviewPanel] = []

    def make(scan: Scan, *, detected: bool = True, show: bool = True) -> ReviewPanel:
        viewer = make_napari_viewer(show=show)
        viewer.window.resize(760, 760)
        data, keywords, _ = scan_layer(scan)
        viewer.add_image(data, **keywords)
        panel = ReviewPanel(viewer)
        viewer.window.add_dock_widget(panel, name="Findings")
        panels.append(panel)
        if detected:
            show_result(panel, qtbot)
        return panel

    yield make
    for panel in panels:
        panel.close()
        until(
            qtbot,
            lambda panel=panel: panel.desk.counts.idle and panel.out.idle and panel.recalling.idle,
        )


def show_result(panel: ReviewPanel, qtbot: QtBot) -> None:
    case = panel.desk.case
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    if case.session.threshold != THRESHOLD:
        case.session.threshold = THRESHOLD
        case.session.min_volume_mm3 = 0.0
        panel.desk.count()
    settle(panel, qtbot)


@pytest.fixture
def panel(make_panel: MakePanel, scan: Scan) -> ReviewPanel:
    return make_panel(scan)


@pytest.fixture
def reading(panel: ReviewPanel, qtbot: QtBot) -> ReviewPanel:
    """Give the dock with review mode on, the first finding chosen."""
    click(panel.mode, qtbot)
    assert panel.mode.isChecked()
    return panel


def until(qtbot: QtBot, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(done, timeout=60_000)


def settle(panel: ReviewPanel, qtbot: QtBot) -> None:
    until(qtbot, lambda: panel.desk.case.shown is not None and panel.desk.case.session.has_findings)


def click(widget: QWidget, qtbot: QtBot) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(panel: ReviewPanel, qtbot: QtBot, key: Qt.Key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    # Where the reader's keyboard mostly is: on the canvas.
    canvas = panel.window().centralWidget()
    qtbot.keyClick(canvas, key, modifier)


def ids(panel: ReviewPanel) -> list[int]:
    return [finding.id for finding in panel.findings]


def verdicts(panel: ReviewPanel) -> list[Verdict | None]:
    return [panel.review.verdict(one) if panel.review else None for one in ids(panel)]


def spot(panel: ReviewPanel, row: int, column: int = 1) -> QPoint:
    return panel.table.visualRect(panel.table.model().index(row, column)).center()


def mask(panel: ReviewPanel) -> np.ndarray:
    return panel.desk.case.layers.mask.data


def marked(panel: ReviewPanel, value: int) -> np.ndarray:
    layer = panel.desk.case.layers.shown("marks")
    return layer.data == value


def rank(panel: ReviewPanel, number: int) -> np.ndarray:
    return panel.findings.labels == number


# The table


def test_the_table_says_what_there_is(panel: ReviewPanel) -> None:
    count = len(panel.findings)
    assert count > 3
    assert panel.table.model().rowCount() == count
    assert panel.count.text().startswith(f"{count} findings, ")
    assert panel.count.text().endswith(" ml, 0 judged")
    model = panel.table.model()
    row = [model.index(0, column).data() for column in range(10)]
    worst = panel.findings.items[0]
    z0, z1 = worst.box[0]
    assert row[0] == "1"
    assert row[4] == f"{worst.volume_mm3:.0f}"
    assert row[7] == f"{z0}-{z1 - 1}"
    assert (row[1], row[9]) == ("-", "")


def test_a_click_outlines_and_does_not_move(panel: ReviewPanel, qtbot: QtBot) -> None:
    before = tuple(panel.viewer.dims.point)
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=spot(panel, 1))
    assert tuple(panel.viewer.dims.point) == before
    assert np.array_equal(marked(panel, 1), rank(panel, 2))


def test_a_double_click_or_enter_goes_there_in_all_planes(panel: ReviewPanel, qtbot: QtBot) -> None:
    case = panel.desk.case
    for click_ in (qtbot.mouseClick, qtbot.mouseDClick):
        click_(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=spot(panel, 1))
    place = case.layer.world_to_data(panel.viewer.dims.point)
    assert np.allclose(place, panel.findings.items[1].peak_index)
    panel.viewer.dims.set_point(range(3), (0.0, 0.0, 0.0))
    panel.table.select([panel.findings.items[2].id])
    qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    assert np.allclose(case.layer.world_to_data(panel.viewer.dims.point), panel.findings.items[2].peak_index)


def test_several_rows_get_one_verdict_in_one_step(panel: ReviewPanel, qtbot: QtBot) -> None:
    for row, modifier in ((0, Qt.KeyboardModifier.NoModifier), (2, Qt.KeyboardModifier.ShiftModifier)):
        qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, modifier, spot(panel, row))
    click(panel.judge_.unsure, qtbot)
    assert verdicts(panel)[:4] == [Verdict.UNSURE] * 3 + [None]
    assert panel.table.ids() == (ids(panel)[3],)
    click(panel.judge_.undo, qtbot)
    assert verdicts(panel)[:3] == [None] * 3


def test_the_filter_shows_one_verdict(panel: ReviewPanel, qtbot: QtBot) -> None:
    panel.table.select(ids(panel)[:1])
    panel.judge(Verdict.REAL)
    for show, count in (("real", 1), ("unjudged", len(panel.findings) - 1), ("unsure", 0)):
        panel.filter.setCurrentIndex(panel.filter.findData(show))
        panel.filter.activated.emit(panel.filter.currentIndex())
        assert panel.table.model().rowCount() == count


def test_judging_in_a_filtered_table_goes_on(panel: ReviewPanel) -> None:
    panel.filter.setCurrentIndex(panel.filter.findData("unjudged"))
    panel.filter.activated.emit(1)
    order = ids(panel)
    panel.table.select(order[:1])
    for _ in order:
        panel.judge(Verdict.REAL)
    assert verdicts(panel) == [Verdict.REAL] * len(order)
    assert panel.table.model().rowCount() == 0
    assert panel.count.text().endswith(f"{len(order)} judged")


def test_size_and_score_filter_what_the_keys_go_through(reading: ReviewPanel, qtbot: QtBot) -> None:
    sizes = sorted(finding.volume_mm3 for finding in reading.findings)
    reading.filters.least_size.setValue(int(sizes[-2]))
    large = [finding.id for finding in reading.findings if finding.volume_mm3 >= int(sizes[-2])]
    assert reading.table.order() == large
    assert f"({len(large)} shown)" in reading.count.text()
    reading.table.select(large[:1])
    press(reading, qtbot, Qt.Key.Key_N)
    assert reading.table.ids() == (large[1],)
    # What the table leaves out stays in the mask.
    assert np.array_equal(mask(reading), reading.findings.mask)


def test_titles_sort(panel: ReviewPanel) -> None:
    panel.table.sortByColumn(4, Qt.SortOrder.AscendingOrder)
    sizes = [panel.findings.by_id(one).volume_mm3 for one in panel.table.order()]
    assert sizes == sorted(sizes)


# Keys


def test_the_keys_judge_and_move_on(reading: ReviewPanel, qtbot: QtBot) -> None:
    assert reading.table.ids() == (ids(reading)[0],)
    press(reading, qtbot, Qt.Key.Key_R)
    press(reading, qtbot, Qt.Key.Key_U)
    assert verdicts(reading)[:3] == [Verdict.REAL, Verdict.UNSURE, None]
    assert reading.table.ids() == (ids(reading)[2],)
    place = reading.desk.case.layer.world_to_data(reading.viewer.dims.point)
    assert np.allclose(place, reading.findings.items[2].peak_index)
    assert reading.count.text().endswith("2 judged")


def test_f_asks_why(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_F)
    menu = reading.judge_.reasons
    until(qtbot, menu.isVisible)
    qtbot.keyClick(menu, Qt.Key.Key_V)
    first, second = ids(reading)[:2]
    assert reading.review.verdict(first) is Verdict.FALSE_POSITIVE
    assert reading.review.reason(first) == "vessel"
    press(reading, qtbot, Qt.Key.Key_F)
    until(qtbot, menu.isVisible)
    qtbot.keyClick(menu, Qt.Key.Key_F)
    assert reading.review.reason(second) == "vessel"
    press(reading, qtbot, Qt.Key.Key_F)
    until(qtbot, menu.isVisible)
    qtbot.keyClick(menu, Qt.Key.Key_Escape)
    assert verdicts(reading)[2] is None


def test_space_finds_what_is_left_and_n_and_p_move(reading: ReviewPanel, qtbot: QtBot) -> None:
    order = ids(reading)
    reading.table.select([order[1]])
    press(reading, qtbot, Qt.Key.Key_R)
    press(reading, qtbot, Qt.Key.Key_P)
    press(reading, qtbot, Qt.Key.Key_P)
    assert reading.table.ids() == (order[0],)
    press(reading, qtbot, Qt.Key.Key_Space)
    assert reading.table.ids() == (order[2],)
    press(reading, qtbot, Qt.Key.Key_N)
    assert reading.table.ids() == (order[3],)
    press(reading, qtbot, Qt.Key.Key_Backspace)
    reading.table.select(order)
    reading.judge(Verdict.REAL)
    press(reading, qtbot, Qt.Key.Key_Space)
    assert "has a verdict" in reading.message.text()


def test_w_goes_to_the_most_suspicious_slice_of_the_plane(reading: ReviewPanel, qtbot: QtBot) -> None:
    case = reading.desk.case
    for key, axis in ((Qt.Key.Key_1, 0), (Qt.Key.Key_2, 1)):
        press(reading, qtbot, key)
        press(reading, qtbot, Qt.Key.Key_W)
        expected = worst_slice(reading.findings, case.session.map.score, axis)
        shown = case.layer.world_to_data(reading.viewer.dims.point)
        assert tuple(round(index) for index in shown) == expected
        assert reading.findings.by_id(reading.table.ids()[0]).rank == reading.findings.labels[expected]
    reading.table.select(ids(reading))
    reading.judge(Verdict.FALSE_POSITIVE)
    click(reading.judge_.worst, qtbot)
    assert "no finding left" in reading.message.text()


def test_keys_of_the_left_hand(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    keep_preference("keys", "left hand")
    panel = make_panel(scan)
    click(panel.mode, qtbot)
    press(panel, qtbot, Qt.Key.Key_V)
    press(panel, qtbot, Qt.Key.Key_Q)
    assert verdicts(panel)[:3] == [None, Verdict.UNSURE, None]
    press(panel, qtbot, Qt.Key.Key_Z)
    assert panel.table.ids() == (ids(panel)[1],)
    press(panel, qtbot, Qt.Key.Key_U)
    assert verdicts(panel)[:3] == [None, Verdict.UNSURE, None]
    assert panel.judge_.next.toolTip().endswith("(V)")
    assert panel.judge_.real.toolTip().endswith("(R)")
    names = {label.text() for label in panel.sheet.findChildren(QLabel)}
    assert {"<b>Q</b>", "<b>Shift+V</b>"} <= names
    assert "<b>U</b>" not in names


def test_a_preferred_threshold_and_colour_count_for_every_new_scan(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    keep_preference("threshold", 0.9)
    keep_preference("colours", "cividis")
    panel = make_panel(scan, detected=False)
    case = panel.desk.case
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    settle(panel, qtbot)
    assert case.session.threshold == 0.9
    top = case.layers.map.colormap.colors[-1]
    assert np.allclose(top, ensure_colormap("cividis").colors[-1], atol=0.02)
    # What the reader has moved since stays when the scan is looked at again.
    case.session.threshold = 0.8
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    assert case.session.threshold == 0.8


def test_exports_are_offered_where_the_reader_prefers(panel: ReviewPanel, tmp_path: Path) -> None:
    keep_preference("exports", str(tmp_path / "out"))
    assert panel.desk.case.default_path("mask").parent == tmp_path / "out"


def test_undo_and_redo_go_over_verdicts_notes_and_drawing(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_R)
    reading.judge_.note.setFocus()
    qtbot.keyClicks(reading.judge_.note, "faint")
    qtbot.keyClick(reading.judge_.note, Qt.Key.Key_Return)
    second = ids(reading)[1]
    assert reading.review.note(second) == "faint"
    mask(reading)[0, 0, 0] = 1
    reading.desk.case.take_strokes()
    assert reading.review.strokes
    settle(reading, qtbot)
    control = Qt.KeyboardModifier.ControlModifier
    press(reading, qtbot, Qt.Key.Key_Z, control)
    assert reading.review.strokes == ()
    press(reading, qtbot, Qt.Key.Key_Z, control)
    assert reading.review.note(second) == ""
    press(reading, qtbot, Qt.Key.Key_Z, control)
    assert reading.review.verdicts == {}
    press(reading, qtbot, Qt.Key.Key_Z, control)
    assert "nothing more" in reading.message.text()
    for _ in range(3):
        press(reading, qtbot, Qt.Key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)
    assert reading.review.note(second) == "faint"
    settle(reading, qtbot)
    assert mask(reading)[0, 0, 0] == 1


def test_keys_are_napari_s_own_when_it_is_off(reading: ReviewPanel, qtbot: QtBot) -> None:
    heard: list[str] = []
    reading.viewer.bind_key("r", lambda viewer: heard.append("r"), overwrite=True)
    canvas = reading.window().findChild(QWidget, "canvas") or reading.window().centralWidget()
    press(reading, qtbot, Qt.Key.Key_R)
    assert (heard, verdicts(reading)[0]) == ([], Verdict.REAL)
    click(reading.mode, qtbot)
    before = reading.review
    qtbot.keyClick(canvas, Qt.Key.Key_R)
    assert reading.review is before
    assert not reading.keys.on


def test_keys_are_letters_while_a_note_is_typed(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_T)
    qtbot.keyClicks(reading.judge_.note, "real? unsure")
    assert verdicts(reading) == [None] * len(reading.findings)
    assert reading.judge_.note.text() == "real? unsure"
    until(
        qtbot, lambda: reading.review is not None and reading.review.note(ids(reading)[0]) == "real? unsure"
    )


def test_a_note_goes_to_the_finding_that_it_was_typed_for(reading: ReviewPanel, qtbot: QtBot) -> None:
    first, second = ids(reading)[:2]
    qtbot.keyClicks(reading.judge_.note, "one")
    reading.table.select([second])
    assert reading.review.note(first) == "one"
    assert reading.review.note(second) == ""
    assert reading.judge_.note.text() == ""


def test_the_sheet_lists_the_keys(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    assert reading.sheet.isVisible()
    qtbot.keyClick(reading.sheet, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    assert not reading.sheet.isVisible()


# The mask


def test_false_positives_leave_the_mask_at_once_and_come_back(reading: ReviewPanel) -> None:
    everything = mask(reading).copy()
    reading.judge(Verdict.FALSE_POSITIVE, "vessel")
    assert not mask(reading)[rank(reading, 1)].any()
    assert np.array_equal(mask(reading) > 0, (everything > 0) & ~rank(reading, 1))
    reading.undo()
    assert np.array_equal(mask(reading), everything)


def test_ghosts(reading: ReviewPanel, qtbot: QtBot) -> None:
    reading.judge(Verdict.FALSE_POSITIVE)
    assert not marked(reading, 2).any()
    press(reading, qtbot, Qt.Key.Key_G)
    assert reading.ghosts.isChecked()
    drawn = marked(reading, 2)
    assert drawn.any()
    assert not (drawn & ~rank(reading, 1)).any()
    assert np.count_nonzero(drawn) < np.count_nonzero(rank(reading, 1))
    press(reading, qtbot, Qt.Key.Key_2)
    assert not np.array_equal(marked(reading, 2), drawn)
    press(reading, qtbot, Qt.Key.Key_1)
    assert np.array_equal(marked(reading, 2), drawn)
    assert not mask(reading)[rank(reading, 1)].any()
    press(reading, qtbot, Qt.Key.Key_G)
    assert not marked(reading, 2).any()


def test_a_moved_threshold_keeps_verdicts_and_drawing(reading: ReviewPanel, qtbot: QtBot) -> None:
    reading.judge(Verdict.FALSE_POSITIVE)
    mask(reading)[0, 0, :2] = 1
    reading.desk.case.take_strokes()
    settle(reading, qtbot)
    first = ids(reading)[0]
    reading.desk.case.session.threshold = 0.95
    reading.desk.count()
    settle(reading, qtbot)
    assert reading.review.verdict(first) is Verdict.FALSE_POSITIVE
    assert mask(reading)[0, 0, :3].tolist() == [1, 1, 0]
    assert not mask(reading)[reading.findings.labels == reading.findings.by_id(first).rank].any()


def test_drawing_with_the_mouse_goes_into_the_review(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_D)
    layer = reading.desk.case.layers.mask
    assert (layer.mode, layer.visible, reading.viewer.layers.selection.active) == ("paint", True, layer)
    assert reading.judge_.tools["draw"].isChecked()
    layer.paint((2, 3, 4), 1)
    painted = layer.data.copy()
    assert reading.review.strokes
    settle(reading, qtbot)
    assert np.array_equal(layer.data, painted)
    press(reading, qtbot, Qt.Key.Key_E)
    assert layer.mode == "erase"
    layer.paint((2, 3, 4), 0)
    settle(reading, qtbot)
    assert layer.data[2, 3, 4] == 0
    press(reading, qtbot, Qt.Key.Key_Escape)
    assert layer.mode == "pan_zoom"
    assert reading.viewer.layers.selection.active is reading.desk.case.layer


def test_a_click_takes_a_superpixel_in_and_out(reading: ReviewPanel, qtbot: QtBot) -> None:
    press(reading, qtbot, Qt.Key.Key_S)
    case = reading.desk.case
    outside = np.argwhere((case.session.supervoxels.ids > 0) & (mask(reading) == 0))
    index = tuple(int(i) for i in outside[len(outside) // 2])
    same = case.session.supervoxels.ids == case.session.supervoxels.ids[index]

    class Press:
        type, button, pos, modifiers = "mouse_press", 1, (50, 50), ()
        position = case.layer.data_to_world(index)

    def click_there() -> None:
        for callback in reading.viewer.mouse_drag_callbacks:
            gesture = callback(reading.viewer, Press)
            if gesture is not None:
                list(gesture)
        settle(reading, qtbot)

    click_there()
    assert mask(reading)[same].all()
    click_there()
    assert not mask(reading)[same].any()
    Press.position = case.layer.data_to_world((-3, -3, -3))
    click_there()
    assert "no supervoxel here" in reading.message.text()


class Press:
    """A click of the left button, as the canvas tells it."""

    type, button, pos, modifiers = "mouse_press", 1, (50, 50), ()

    def __init__(self, panel: ReviewPanel, index: tuple[int, ...]) -> None:
        self.position = panel.desk.case.layer.data_to_world(index)
        for callback in panel.viewer.mouse_drag_callbacks:
            gesture = callback(panel.viewer, self)
            if gesture is not None:
                list(gesture)


def test_a_click_adds_a_missed_finding_and_chooses_it(reading: ReviewPanel, qtbot: QtBot) -> None:
    case = reading.desk.case
    ids_ = case.session.supervoxels.ids
    missed = np.argwhere((ids_ > 0) & (mask(reading) == 0))
    index = tuple(int(i) for i in missed[len(missed) // 2])
    press(reading, qtbot, Qt.Key.Key_A)
    assert reading.judge_.tools["grow"].isChecked()
    Press(reading, index)
    settle(reading, qtbot)
    assert mask(reading)[ids_ == ids_[index]].all()
    (chosen,) = reading.table.ids()
    assert reading.findings.labels[index] == reading.findings.by_id(chosen).rank
    press(reading, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    settle(reading, qtbot)
    assert not mask(reading)[index]


def test_split_and_merge_by_key_survive_threshold_and_restart(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    reading = make_panel(scan)
    click(reading.mode, qtbot)
    before, everything = ids(reading), mask(reading).copy()
    reading.table.select(before[:2])
    press(reading, qtbot, Qt.Key.Key_J)
    settle(reading, qtbot)
    assert len(reading.findings) == len(before) - 1
    assert reading.table.ids() == (before[0],)
    assert np.array_equal(mask(reading), everything)
    press(reading, qtbot, Qt.Key.Key_R)
    reading.table.select([before[0]])
    press(reading, qtbot, Qt.Key.Key_X)
    settle(reading, qtbot)
    assert before[0] in ids(reading)
    parts = ids(reading)
    assert len(parts) >= len(before)
    said = reading.review
    case = reading.desk.case
    case.session.threshold = 0.85
    reading.desk.count()
    settle(reading, qtbot)
    case.session.threshold = THRESHOLD
    reading.desk.count()
    settle(reading, qtbot)
    assert ids(reading) == parts
    reading.close()
    second = make_panel(scan)
    assert ids(second) == parts
    assert second.review.groups == said.groups
    assert second.review.verdicts == said.verdicts
    for count in (len(before) - 1, len(before) - 1, len(before)):
        second.undo()
        settle(second, qtbot)
        assert len(second.findings) == count


def test_what_cannot_be_split_or_merged_says_so(reading: ReviewPanel, qtbot: QtBot) -> None:
    reading.table.select(ids(reading)[:1])
    press(reading, qtbot, Qt.Key.Key_J)
    assert "Choose two findings or more" in reading.message.text()
    reading.table.select(ids(reading)[:2])
    press(reading, qtbot, Qt.Key.Key_X)
    assert "Choose one finding" in reading.message.text()


def test_drawing_into_a_false_positive_says_so(reading: ReviewPanel, qtbot: QtBot) -> None:
    reading.judge(Verdict.FALSE_POSITIVE)
    mask(reading)[rank(reading, 1)] = 1
    reading.desk.case.take_strokes()
    assert "which you judged false positive" in reading.message.text()


def draw_between(panel: ReviewPanel, one: int, other: int) -> None:
    """Draw a box from the peak of one finding to that of another."""
    ends = np.array([panel.findings.items[place].peak_index for place in (one, other)])
    box = tuple(slice(low, high + 1) for low, high in zip(ends.min(0), ends.max(0), strict=True))
    mask(panel)[box] = 1
    panel.desk.case.take_strokes()


def test_a_key_pressed_before_the_table_follows_a_line_reaches_what_it_has_joined(
    reading: ReviewPanel, qtbot: QtBot
) -> None:
    worst, other = ids(reading)[:2]
    draw_between(reading, 0, 1)
    assert not reading.desk.case.session.has_findings
    reading.table.select([other])
    press(reading, qtbot, Qt.Key.Key_U)
    assert other not in ids(reading)
    assert reading.table.order() == ids(reading)
    assert reading.review.verdict(worst) is Verdict.UNSURE
    settle(reading, qtbot)
    shown = reading.table.review_model
    assert {shown.finding(row).id: shown.verdict(row) for row in range(shown.rowCount())}[
        worst
    ] is Verdict.UNSURE
    assert reading.findings.mask.sum() == (mask(reading) > 0).sum()


def test_a_key_pressed_before_the_table_follows_never_changes_another_verdict(
    reading: ReviewPanel, qtbot: QtBot
) -> None:
    worst, other = ids(reading)[:2]
    reading.table.select([worst])
    press(reading, qtbot, Qt.Key.Key_R)
    draw_between(reading, 0, 1)
    reading.table.select([other])
    press(reading, qtbot, Qt.Key.Key_U)
    assert "part of another, which you judged already" in reading.message.text()
    assert reading.review.verdict(worst) is Verdict.REAL
    assert reading.table.order() == ids(reading)


# Nothing lost


def test_every_step_is_on_disk_at_once(reading: ReviewPanel, reviews: Path, qtbot: QtBot) -> None:
    assert not reviews.exists()
    reading.judge(Verdict.REAL)
    (path,) = reviews.iterdir()
    case = reading.desk.case
    assert case.journal.synced(1.0)
    assert "every step is kept in reviews" in reading.out.kept.text()
    text = path.read_text(encoding="utf-8")
    assert '"real"' in text
    assert '"threshold": 0.8' in text
    assert not case.session.unsaved


def test_the_next_start_goes_on_where_it_ended(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot, reviews: Path
) -> None:
    first = make_panel(scan)
    first.table.select(ids(first)[:1])
    first.judge(Verdict.FALSE_POSITIVE, "artefact")
    mask(first)[0, 0, :2] = 1
    first.desk.case.take_strokes()
    settle(first, qtbot)
    expected, before = mask(first).copy(), first.review
    first.close()
    second = make_panel(scan)
    assert second.review.verdicts == before.verdicts
    assert second.desk.case.session.threshold == THRESHOLD
    assert np.array_equal(mask(second), expected)
    assert "goes on where it ended: 1 verdict and painted" in second.message.text()
    second.undo()
    assert second.review.strokes == ()


def test_a_scan_that_is_read_elsewhere_cannot_be_judged_here(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot, reviews: Path
) -> None:
    panel = make_panel(scan)
    panel.table.select(ids(panel)[:1])
    panel.judge(Verdict.REAL)
    path, header = panel.desk.case.journal.path, panel.desk.case.journal.header
    panel.close()
    other = Journal.open(path, header)
    second = make_panel(scan)
    assert "open in another window" in second.message.text()
    second.table.select(ids(second)[:1])
    second.judge(Verdict.UNSURE)
    assert "open in another window" in second.message.text()
    assert second.review is None
    other.close()


def test_a_step_that_cannot_be_written_is_not_made(reading: ReviewPanel, reviews: Path) -> None:
    reviews.write_text("a file where the folder should be")
    reading.judge(Verdict.REAL)
    assert "cannot be kept" in reading.message.text()
    assert reading.review is None
    mask(reading)[0, 0, 0] = 1
    reading.desk.case.take_strokes()
    assert mask(reading)[0, 0, 0] == 0


def test_what_did_not_reach_the_disk_is_told_in_the_dock(
    reading: ReviewPanel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pulled(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    press(reading, qtbot, Qt.Key.Key_R)
    assert reading.desk.case.journal.synced()
    monkeypatch.setattr(os, "fsync", pulled)
    press(reading, qtbot, Qt.Key.Key_R)
    assert len(reading.review.verdicts) == 2
    qtbot.waitUntil(lambda: "may not be on the disk" in reading.message.text(), timeout=10_000)
    assert reading.out.kept.text() == "the last step may not be on the disk"


# The dock


def test_the_dock_is_small_and_has_words_for_everything(panel: ReviewPanel) -> None:
    assert panel.minimumSizeHint().width() <= 320
    assert panel.minimumSizeHint().height() <= 700
    controls = [
        child
        for kind in (QPushButton, QComboBox, QLineEdit, QTableView)
        for child in panel.findChildren(kind)
        if child.isVisible()
    ]
    assert len(controls) >= 18
    for control in controls:
        assert control.toolTip(), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_without_a_result_it_says_what_to_do(make_panel: MakePanel, scan: Scan) -> None:
    panel = make_panel(scan, detected=False)
    assert "Press Detect" in panel.count.text()
    assert not panel.judge_.isEnabled()
    panel.take("draw")
    assert "no mask to correct yet" in panel.message.text()


def test_the_scan_can_be_closed(reading: ReviewPanel) -> None:
    reading.judge(Verdict.REAL)
    journal = reading.desk.case.journal
    reading.viewer.layers.remove(reading.desk.case.layer)
    assert reading.desk.case is None
    assert reading.scan.text() == "no scan is open"
    assert reading.table.model().rowCount() == 0
    Journal.open(journal.path, journal.header).close()


# The memory


def recalled(panel: ReviewPanel, qtbot: QtBot) -> None:
    until(qtbot, lambda: panel.recalling.idle)


def verdict_cells(panel: ReviewPanel) -> dict[int, str]:
    model = panel.table.review_model
    return {one: model.index(model.row_of(one), 1).data() for one in ids(panel)}


def test_what_is_like_a_rejected_one_is_marked_here_and_in_the_next_scan(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever is rejected, everything is like it: what is marked, and how, is what is looked at here.
    monkeypatch.setattr("napari_anomaly.plugin.recalling.alike", partial(alike, limit=1e6))
    panel = make_panel(scan)
    recalled(panel, qtbot)
    assert panel.recalling.likes == {}
    first, *others = ids(panel)
    panel.table.select([first])
    panel.judge(Verdict.FALSE_POSITIVE, "vessel")
    until(qtbot, lambda: set(panel.recalling.likes) == set(others))
    cells = verdict_cells(panel)
    assert (cells[first], {cells[one] for one in others}) == ("false", {"≈ false"})
    assert panel.count.text().endswith(f"1 judged, {len(others)} ≈ false")
    assert panel.table.model().rowCount() == len(others) + 1
    panel.table.select(others[:1])
    assert panel.judge_.note.placeholderText().startswith("like one you rejected on 2")
    assert panel.judge_.note.placeholderText().endswith(": vessel")
    panel.close()
    following = phantom((20, 24, 22), lesion_mm=18.0, rng=np.random.default_rng(8))
    second = make_panel(following)
    until(qtbot, lambda: set(second.recalling.likes) == set(ids(second)))
    second.remember.setChecked(False)
    until(qtbot, lambda: second.recalling.likes == {})
    assert set(verdict_cells(second).values()) == {"-"}
    second.remember.setChecked(True)
    until(qtbot, lambda: len(second.recalling.likes) > 0)


def test_a_verdict_that_is_taken_back_is_forgotten(reading: ReviewPanel, qtbot: QtBot) -> None:
    reading.judge(Verdict.FALSE_POSITIVE)
    recalled(reading, qtbot)
    with Memory() as memory:
        assert [one.finding_id for one in memory.remembered()] == ids(reading)[:1]
    reading.undo()
    recalled(reading, qtbot)
    with Memory() as memory:
        assert memory.remembered() == []


def test_a_broken_memory_holds_up_nobody(reading: ReviewPanel, qtbot: QtBot) -> None:
    memory_path().parent.mkdir(parents=True, exist_ok=True)
    memory_path().write_text("no database, and long enough to be told from an empty one")
    reading.judge(Verdict.REAL)
    until(qtbot, lambda: "kept all the same" in reading.message.text())
    assert verdicts(reading)[0] is Verdict.REAL
