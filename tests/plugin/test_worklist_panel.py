"""The worklist in a real window, together with the reading dock."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QTableView

from fake_engine import fake_result
from napari_anomaly.io import read_scan, write_like
from napari_anomaly.io.detections import save_detection
from napari_anomaly.journal import reader_name
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.worklist_panel import WorklistPanel
from napari_anomaly.review import Verdict
from napari_anomaly.samples import phantom
from napari_anomaly.worklist import Worklist

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a list of two scans of different shapes and one that has failed."""
    worklist = Worklist(tmp_path / "list.sqlite")
    shapes = {"one": (20, 24, 22), "two": (16, 20, 18)}
    for name, shape in shapes.items():
        made = phantom(shape, lesion_mm=25.0, rng=np.random.default_rng(1))
        write_like(made.voxels, made, tmp_path / f"{name}.nii.gz", kind="image")
    (tmp_path / "bad.nii.gz").touch()
    worklist.add((tmp_path / f"{name}.nii.gz", -1) for name in ("one", "two", "bad"))
    for row in worklist.to_screen("0" * 64):
        if row.name == "bad.nii.gz":
            worklist.failed(row, "0" * 64, "the file is empty")
            continue
        scan = read_scan(row.path)
        result = fake_result(scan)
        save_detection(tmp_path / f"{scan.name}.zip", scan, result.map, result.supervoxels)
        worklist.ready(
            row,
            "0" * 64,
            name=scan.name,
            detection=tmp_path / f"{scan.name}.zip",
            scan_score=0.9 if scan.name == "one" else 0.99,
            findings=2,
            volume_ml=1.0,
        )
    worklist.close()
    return tmp_path / "list.sqlite"


@pytest.fixture
def docks(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, file: Path
) -> Iterator[tuple[WorklistPanel, ReviewPanel]]:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 760)
    worklist, reading = WorklistPanel(viewer), ReviewPanel(viewer)
    viewer.window.add_dock_widget(reading, name="Findings")
    viewer.window.add_dock_widget(worklist, name="Worklist")
    worklist.open_list(file)
    yield worklist, reading
    reading.close()
    worklist.close()
    until(qtbot, lambda: worklist.opening.idle and worklist.ahead.idle and worklist.desk.counts.idle)


def until(qtbot: QtBot, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(done, timeout=60_000)


def opened(docks: tuple[WorklistPanel, ReviewPanel], qtbot: QtBot, name: str) -> None:
    desk = docks[0].desk
    until(
        qtbot, lambda: desk.case is not None and desk.case.scan.name == name and desk.case.shown is not None
    )


def statuses(worklist: WorklistPanel) -> dict[str, str]:
    return {row.name: row.status for row in worklist.worklist.rows()}


def test_the_list_is_ranked_and_says_what_failed(docks: tuple[WorklistPanel, ReviewPanel]) -> None:
    model = docks[0].model
    cells = [[model.index(row, column).data() for column in range(6)] for row in range(3)]
    assert [cell[0] for cell in cells] == ["two", "one", "bad.nii.gz"]
    assert cells[0][1:4] == ["99", "2", "1.0"]
    assert cells[2][4] == "failed"
    assert "the file is empty" in model.index(2, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert docks[0].count.text() == "3 scans, 0 read, 1 failed"


def test_one_key_opens_the_next_in_the_same_layers(
    docks: tuple[WorklistPanel, ReviewPanel], qtbot: QtBot
) -> None:
    worklist, reading = docks
    until(qtbot, lambda: worklist.is_ready)
    qtbot.mouseClick(worklist.next, Qt.MouseButton.LeftButton)
    opened(docks, qtbot, "two")
    first = reading.desk.case
    layers = list(reading.viewer.layers)
    assert statuses(worklist)["two"] == "in progress"
    who, since = (worklist.model.index(0, column).data() for column in (5, 6))
    assert who == reader_name()
    assert re.fullmatch(r"\d\d:\d\d", since)
    reading.mode.click()
    reading.judge(Verdict.REAL)
    first_id = next(iter(reading.review.verdicts))
    until(qtbot, lambda: worklist.is_ready)
    canvas = reading.window().centralWidget()
    qtbot.keyClick(canvas, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    opened(docks, qtbot, "one")
    assert statuses(worklist)["two"] == "read"
    assert reading.desk.case is first
    assert [layer for layer in reading.viewer.layers if layer in layers] == layers
    assert first.layer.data.shape == (20, 24, 22)
    assert first.layers.mask.data.shape == (20, 24, 22)
    assert np.allclose(first.layers.mask.scale, first.layer.scale)
    assert reading.review is None
    assert reading.scan.text() == "one"
    # Back again: what was said is there.
    worklist.open_scan(next(row for row in worklist.worklist.rows() if row.name == "two"))
    opened(docks, qtbot, "two")
    until(qtbot, lambda: reading.review is not None)
    assert reading.review.verdict(first_id) is Verdict.REAL
    # Nothing was said of the other one.
    assert statuses(worklist)["one"] == "unread"


def test_a_scan_of_another_reader_is_left_alone(
    docks: tuple[WorklistPanel, ReviewPanel], qtbot: QtBot, file: Path
) -> None:
    other = Worklist(file)
    other.take(other.following().id, "somebody-else")
    other.close()
    worklist, _ = docks
    worklist.open_scan(worklist.worklist.rows()[0])
    assert "is being read by somebody-else" in worklist.message.text()
    worklist.open_next()
    opened(docks, qtbot, "one")
    worklist.open_next()
    assert "Every scan of this list is read" in worklist.message.text()
    assert worklist.worklist.rows()[1].reader == reader_name()


def test_what_did_not_happen_today_has_its_date(docks: tuple[WorklistPanel, ReviewPanel]) -> None:
    worklist, _ = docks
    row = replace(
        worklist.worklist.rows()[0], reader="ann", since=datetime(2026, 3, 1, 12, tzinfo=UTC).isoformat()
    )
    worklist.model.set_rows([row], None)
    assert worklist.model.index(0, 6).data() == "2026-03-01"


def test_a_list_that_is_not_there(docks: tuple[WorklistPanel, ReviewPanel], tmp_path: Path) -> None:
    docks[0].open_list(tmp_path / "none.sqlite")
    assert "is not there" in docks[0].message.text()


def test_the_dock_is_small_and_has_words_for_everything(docks: tuple[WorklistPanel, ReviewPanel]) -> None:
    worklist = docks[0]
    assert worklist.minimumSizeHint().width() <= 320
    for control in (*worklist.findChildren(QPushButton), *worklist.findChildren(QTableView)):
        assert control.toolTip(), control
