"""The dock in a real window: clicks and keys, and whatever may happen while a detection runs."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
import pytest
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFileDialog, QPushButton, QSlider, QTableView, QWidget

from fake_engine import FakeEngine
from napari_anomaly.errors import DetectorError, UnreadableDetector
from napari_anomaly.io import read_scan, write_like
from napari_anomaly.plugin.contributions import open_file
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.display import threshold_of
from napari_anomaly.plugin.layers import role_of, scan_layer
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")

MakePanel = Callable[..., DetectPanel]


@pytest.fixture
def make_panel(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> Iterator[MakePanel]:
    panels: list[DetectPanel] = []

    def make(*scans: Scan, engine: FakeEngine | None = None, show: bool = True) -> DetectPanel:
        viewer = make_napari_viewer(show=show)
        # Small, because without a graphics card every pixel takes its time.
        viewer.window.resize(760, 760)
        for each in scans:
            data, keywords, _ = scan_layer(each)
            viewer.add_image(data, **keywords)
        panel = DetectPanel(viewer, engine or FakeEngine())
        viewer.window.add_dock_widget(panel, name="Detect")
        panels.append(panel)
        return panel

    yield make
    for panel in panels:
        panel.jobs.close()
        panel.counts.close()
        until(qtbot, lambda panel=panel: panel.jobs.idle and panel.counts.idle)


@pytest.fixture
def panel(make_panel: MakePanel, scan: Scan) -> DetectPanel:
    return make_panel(scan)


@pytest.fixture
def file_scan(scan: Scan, tmp_path: Path) -> Scan:
    path = tmp_path / "head.nii.gz"
    write_like(scan.voxels, scan, path, kind="image")
    return read_scan(path)


def detect(panel: DetectPanel, qtbot: QtBot) -> None:
    with qtbot.waitCallback(timeout=60_000) as ended:
        panel.ended.connect(ended)
        qtbot.mouseClick(panel.run.detect, Qt.MouseButton.LeftButton)
    assert ended.args == [""]


def until(qtbot: QtBot, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(done, timeout=60_000)


def settle(panel: DetectPanel, qtbot: QtBot) -> None:
    panel.threshold.slider.sliderReleased.emit()
    until(qtbot, lambda: panel.case.session.has_findings)


# The main job


def test_detect_shows_layers_sentence_and_findings(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    roles = [role_of(layer) for layer in panel.viewer.layers]
    assert roles == ["scan", "proxies", "supervoxels", "map", "mask"]
    assert panel.verdict.text() == "This scan is more unusual than 97 of 100 normal scans."
    assert panel.table.findings_model.rowCount() == len(panel.case.session.findings)
    assert panel.count.text().startswith("1 finding, ")
    assert panel.threshold.threshold == 0.995
    assert panel.run.progress.text().startswith("done in ")
    assert np.array_equal(panel.case.layers.mask.data, panel.case.session.findings.labels > 0)


def test_the_detector_never_runs_in_the_windows_thread(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    class Curious(FakeEngine):
        threads: set[int] = set()  # noqa: RUF012 (one instance)

        def detect(self, request):
            self.threads.add(threading.get_ident())
            return (yield from super().detect(request))

    panel = make_panel(scan, engine=Curious())
    detect(panel, qtbot)
    assert threading.get_ident() not in Curious.threads


def test_the_window_stays_alive_while_it_runs(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(scan, engine=FakeEngine(2.0))
    panel.detect()
    turns = 0
    while panel.jobs.running and turns < 1000:
        qtbot.wait(10)
        panel.viewer.dims.set_point(0, float(turns % 20))
        turns += 1
    # A window that waits for its detector turns once; a slow software renderer still turns a few times.
    assert turns > 3


def test_progress_shows_share_and_time_left(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(scan, engine=FakeEngine(2.5))
    panel.detect()
    assert not panel.run.cancel.isHidden()
    until(qtbot, lambda: "s left" in panel.run.progress.text())
    assert 0 < panel.run.bar.value() < 1000
    panel.cancel()


def test_a_second_detection_updates_the_same_layers(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    before = list(panel.viewer.layers)
    panel.threshold.set_step(100)
    settle(panel, qtbot)
    detect(panel, qtbot)
    assert list(panel.viewer.layers) == before
    assert panel.case.session.threshold == threshold_of(100)


def test_notes_of_the_run_are_shown(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(scan, engine=FakeEngine(notes=("GPU memory was short: the CPU was used.",)))
    detect(panel, qtbot)
    assert panel.message.text() == "GPU memory was short: the CPU was used."


# Threshold and findings


def test_the_slider_is_live_and_the_mask_follows_on_release(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    mask = panel.case.layers.mask.data.copy()
    qtbot.keyClick(panel.threshold.slider, Qt.Key.Key_PageUp)
    step = panel.threshold.step
    assert tuple(panel.case.layers.map.contrast_limits) == (step - 0.5, 255)
    assert np.array_equal(panel.case.layers.mask.data, mask)
    settle(panel, qtbot)
    assert panel.case.session.threshold == threshold_of(step)
    score = panel.case.session.map.score
    assert int(panel.case.layers.mask.data.sum()) <= int((score >= np.float32(threshold_of(step))).sum())
    until(qtbot, lambda: not np.array_equal(panel.case.layers.mask.data, mask))


def test_the_mask_follows_after_a_rest(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    panel.threshold.set_step(90)
    assert panel.case.session.threshold == 0.995
    until(qtbot, lambda: panel.case.session.threshold == threshold_of(90))


def test_false_findings_follow_the_slider(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    before = panel.threshold.false_findings.text()
    assert "false findings per normal scan" in before
    panel.threshold.set_step(60)
    assert panel.threshold.false_findings.text() != before


def test_smallest_and_snap_change_the_findings(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    panel.threshold.smallest.setValue(900_000)
    until(qtbot, lambda: panel.count.text() == "no findings at these settings")
    panel.threshold.smallest.setValue(0)
    panel.threshold.snap.setChecked(True)
    until(qtbot, lambda: panel.case.session.has_findings)
    assert panel.case.session.findings.snapped
    assert panel.case.layers.map.data is not None
    snapped = panel.case.layers.map.data >= panel.threshold.step
    panel.threshold.set_step(panel.threshold.step)
    assert np.array_equal(snapped, panel.case.session.findings.labels > 0) or panel.threshold.step > 0


def test_a_click_in_the_table_goes_there(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    finding = panel.case.session.findings.items[0]
    spot = panel.table.visualRect(panel.table.findings_model.index(0, 1)).center()
    for plane in ("axial", "coronal", "sagittal"):
        qtbot.mouseClick(panel.show_.planes[plane], Qt.MouseButton.LeftButton)
        panel.viewer.dims.set_point(range(3), (0.0, 0.0, 0.0))
        qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
        assert np.allclose(panel.case.layer.world_to_data(panel.viewer.dims.point), finding.peak_index)


# What is shown


def test_boxes_and_layers_agree(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    boxes = panel.show_.boxes
    assert [boxes[role].isChecked() for role in ("map", "mask", "proxies")] == [True, False, False]
    qtbot.mouseClick(boxes["mask"], Qt.MouseButton.LeftButton, pos=boxes["mask"].rect().center() / 2)
    assert panel.case.layers.mask.visible == boxes["mask"].isChecked()
    panel.case.layers.map.visible = False
    assert not boxes["map"].isChecked()


def test_planes_and_windows(panel: DetectPanel, qtbot: QtBot) -> None:
    qtbot.mouseClick(panel.show_.planes["coronal"], Qt.MouseButton.LeftButton)
    assert panel.viewer.dims.order == (1, 0, 2)
    panel.viewer.dims.order = (2, 0, 1)
    assert panel.show_.planes["sagittal"].isChecked()
    panel.show_.window_.setCurrentIndex(1)
    panel.show_.window_.activated.emit(1)
    assert tuple(panel.case.layer.contrast_limits) == pytest.approx(panel.case.windows[1].limits)
    panel.case.layer.contrast_limits = (10.0, 20.0)
    assert panel.show_.window_.currentIndex() == -1


def test_the_status_bar_says_millimetres_of_the_patient(panel: DetectPanel) -> None:
    panel.viewer.cursor.position = panel.case.layer.data_to_world((3, 4, 5))
    panel.viewer.status = panel.case.layer.get_status(panel.viewer.cursor.position, world=True)
    place = panel.case.scan.geometry.index_to_mm(np.array([3.0, 4.0, 5.0]))
    assert panel.viewer.status["coordinates"].startswith(f"R {place[0]:.1f}  A {place[1]:.1f}")


def test_an_oblique_scan_has_a_badge(make_panel: MakePanel) -> None:
    angle = np.radians(12)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    panel = make_panel(Scan.from_array(phantom((10, 12, 10)).voxels, affine=affine, name="tilted"))
    assert panel.run.badge.text() == "oblique 12°: planes follow the scan"
    assert not panel.run.badge.isHidden()


def test_an_unknown_size_has_a_badge(make_panel: MakePanel) -> None:
    panel = make_panel(Scan.from_array(phantom((10, 12, 10)).voxels, unit="voxel", name="stack"))
    assert "unknown" in panel.run.badge.text()


# The dock


def test_the_dock_is_small_and_reachable_by_keyboard(panel: DetectPanel, qtbot: QtBot) -> None:
    detect(panel, qtbot)
    assert panel.minimumSizeHint().width() <= 320
    assert panel.maximumWidth() <= 320
    assert panel.minimumSizeHint().height() <= 700
    controls = [
        child
        for kind in (QPushButton, QComboBox, QSlider, QDoubleSpinBox, QTableView)
        for child in panel.findChildren(kind)
        if child.isVisible()
    ]
    assert len(controls) >= 13
    for control in controls:
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_every_control_has_a_tooltip(panel: DetectPanel) -> None:
    own = {
        id(value)
        for part in (panel, panel.run, panel.threshold, panel.show_, panel.export)
        for value in vars(part).values()
    }
    own |= {id(value) for group in (panel.show_.boxes, panel.show_.planes) for value in group.values()}
    for child in panel.findChildren(QWidget):
        if id(child) in own and child.focusPolicy() != Qt.FocusPolicy.NoFocus:
            assert child.toolTip(), child


# What goes wrong


def test_an_error_is_shown_in_the_dock_in_its_own_words(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    words = "The detector file is damaged. Choose another one."
    panel = make_panel(scan, engine=FakeEngine(error=UnreadableDetector(words)))
    with qtbot.waitCallback(timeout=60_000) as ended:
        panel.ended.connect(ended)
        panel.detect()
    assert panel.message.text() == words
    assert panel.message.isVisible()
    assert panel.run.detect.isEnabled()
    assert [role_of(layer) for layer in panel.viewer.layers] == ["scan"]


def test_an_error_that_should_not_happen_says_so(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(scan, engine=FakeEngine(error=ZeroDivisionError("oh")))
    panel.detect()
    until(qtbot, lambda: not panel.jobs.running)
    assert "ZeroDivisionError: oh" in panel.message.text()


def test_an_error_goes_away_with_the_next_detection(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(error=DetectorError("no"))
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, lambda: panel.message.isVisible())
    engine.error = None
    detect(panel, qtbot)
    assert not panel.message.isVisible()


def test_what_is_said_of_one_scan_is_not_said_of_the_next(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    source = replace(scan.source, details={"notes": ("The file states no voxel size.",)})
    panel = make_panel(replace(scan, source=source))
    until(qtbot, lambda: "no voxel size" in panel.message.text())
    data, keywords, _ = scan_layer(scan)
    panel.viewer.add_image(data, **keywords)
    assert panel.message.text() == ""


def test_without_scan_or_detector_the_dock_says_what_to_do(make_panel: MakePanel, scan: Scan) -> None:
    panel = make_panel()
    panel.detect()
    assert "No scan is open" in panel.message.text()
    engine = FakeEngine()
    engine.names = lambda: ()
    panel = make_panel(scan, engine=engine)
    panel.detect()
    assert "No detector came with this installation" in panel.message.text()


def test_cancel_stops_within_a_tile_and_leaves_nothing_behind(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    qtbot.keyClick(panel.run.detector, Qt.Key.Key_Escape)
    assert panel.run.progress.text() == "cancelled"
    assert panel.run.detect.isEnabled()
    engine.go.set()
    until(qtbot, lambda: panel.jobs.idle)
    assert (engine.tiles, engine.closed, engine.finished) == (3, 1, 0)
    assert [role_of(layer) for layer in panel.viewer.layers] == ["scan"]


def test_a_second_detect_begins_again(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    with qtbot.waitCallback(timeout=60_000) as ended:
        panel.ended.connect(ended)
        panel.detect()
        assert len(engine.requests) == 1
        engine.go.set()
    assert (engine.closed, engine.finished, len(engine.requests)) == (1, 1, 2)


def test_the_scan_is_removed_while_it_runs(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    panel.viewer.layers.clear()
    assert "The scan was closed" in panel.message.text()
    engine.go.set()
    until(qtbot, lambda: panel.jobs.idle)
    assert engine.finished == 0
    assert len(panel.viewer.layers) == 0
    assert not panel.run.detect.isEnabled()


def test_another_scan_is_chosen_while_it_runs(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, phantom((12, 14, 12)), engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    panel.run.scan.setCurrentIndex(0)
    assert "Another scan was chosen" in panel.message.text()
    engine.go.set()
    until(qtbot, lambda: panel.jobs.idle)
    assert engine.finished == 0
    assert panel.case.scan is scan


def test_a_scan_that_is_opened_while_it_runs_disturbs_nothing(
    make_panel: MakePanel, scan: Scan, qtbot: QtBot
) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    with qtbot.waitCallback(timeout=60_000) as ended:
        panel.ended.connect(ended)
        panel.detect()
        until(qtbot, engine.reached.is_set)
        data, keywords, _ = scan_layer(phantom((12, 14, 12)))
        panel.viewer.add_image(data, **keywords)
        engine.go.set()
    assert engine.finished == 1
    assert panel.case.scan is scan


def test_each_scan_keeps_its_own_result(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(scan, phantom((12, 14, 12)))
    detect(panel, qtbot)
    second = panel.case
    panel.run.scan.setCurrentIndex(0)
    assert not second.layers.map.visible
    assert panel.case.session.map is None
    assert not panel.threshold.isEnabled()
    panel.run.scan.setCurrentIndex(1)
    assert panel.case is second
    assert second.layers.map.visible
    assert panel.table.findings_model.rowCount() == len(second.session.findings)


def test_the_window_is_closed_while_it_runs(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    panel.viewer.close()
    engine.go.set()
    until(qtbot, lambda: panel.jobs.idle)
    assert engine.finished == 0


def test_the_dock_is_closed_while_it_runs(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    engine = FakeEngine(hold_at=3)
    panel = make_panel(scan, engine=engine)
    panel.detect()
    until(qtbot, engine.reached.is_set)
    panel.viewer.window.remove_dock_widget(panel)
    panel.close()
    engine.go.set()
    until(qtbot, lambda: panel.jobs.idle)
    assert engine.finished == 0


def test_a_foreign_layer_can_be_looked_at(make_panel: MakePanel, scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel()
    panel.viewer.add_image(np.asarray(scan.voxels), scale=(5, 4, 4), name="foreign")
    detect(panel, qtbot)
    layers = panel.case.layers
    assert np.allclose(layers.map.scale, (5, 4, 4))
    assert panel.case.scan.geometry.unit == "voxel"


def test_what_is_no_scan_is_not_offered(make_panel: MakePanel, scan: Scan) -> None:
    panel = make_panel(scan)
    panel.viewer.add_image(np.zeros((2, 3, 4, 5)), name="series")
    panel.viewer.add_image(np.zeros((4, 5, 3), dtype=np.uint8), rgb=True, name="photo")
    panel.viewer.add_labels(np.zeros((4, 5, 3), dtype=int), name="drawn")
    assert [panel.run.scan.itemText(i) for i in range(panel.run.scan.count())] == [scan.name]


def test_a_renamed_scan_is_offered_under_its_new_name(panel: DetectPanel) -> None:
    panel.case.layer.name = "patient 7"
    assert panel.run.scan.currentText() == "patient 7"


# Files


def test_the_exported_mask_overlays_to_the_voxel(
    make_panel: MakePanel, file_scan: Scan, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel(file_scan)
    detect(panel, qtbot)
    asked: list[str] = []

    def answer(parent: QWidget, title: str, default: str, kinds: str) -> tuple[str, str]:
        asked.append(default)
        return default, kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    qtbot.mouseClick(panel.export.mask_button, Qt.MouseButton.LeftButton)
    path = tmp_path / "head_mask.nii.gz"
    assert asked == [str(path)]
    until(qtbot, lambda: panel.message.text().replace("\u200b", "") == f"Saved {path}")
    data, keywords, kind = open_file(path)
    assert kind == "labels"
    labels = panel.viewer.add_labels(data, **keywords)
    mask = panel.case.layers.mask
    assert np.array_equal(labels.data, mask.data)
    assert np.allclose(labels.data_to_world((1, 2, 3)), mask.data_to_world((1, 2, 3)))


def test_the_exported_map_holds_the_scores(
    make_panel: MakePanel, file_scan: Scan, tmp_path: Path, qtbot: QtBot
) -> None:
    panel = make_panel(file_scan)
    detect(panel, qtbot)
    path = tmp_path / "out.nii.gz"
    panel.export_map(path)
    until(qtbot, lambda: panel.message.isVisible())
    assert np.array_equal(read_scan(path).voxels, panel.case.session.map.score)


def test_painted_corrections_are_exported(
    make_panel: MakePanel, file_scan: Scan, tmp_path: Path, qtbot: QtBot
) -> None:
    panel = make_panel(file_scan)
    detect(panel, qtbot)
    panel.case.layers.mask.data[0, 0, 0] = 1
    path = tmp_path / "painted.nii.gz"
    panel.export_mask(path)
    until(qtbot, lambda: panel.message.isVisible())
    assert read_scan(path).voxels[0, 0, 0] == 1


def test_a_file_that_cannot_be_written_says_so(make_panel: MakePanel, file_scan: Scan, qtbot: QtBot) -> None:
    panel = make_panel(file_scan)
    detect(panel, qtbot)
    panel.export_mask(file_scan.source.path)
    until(qtbot, lambda: panel.message.isVisible())
    assert "head" in panel.message.text()
    assert np.array_equal(read_scan(file_scan.source.path).voxels, file_scan.voxels)


def test_nothing_to_export_says_so(panel: DetectPanel) -> None:
    panel.export.ask_mask()
    assert panel.message.text() == "There is nothing to export yet. Detect first."


def test_another_volume_of_the_file(make_panel: MakePanel, tmp_path: Path, qtbot: QtBot) -> None:
    import nibabel as nib

    rng = np.random.default_rng(0)
    series = rng.normal(100, 10, (8, 9, 10, 3)).astype(np.float32)
    path = tmp_path / "series.nii.gz"
    nib.Nifti1Image(series, np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(path)
    panel = make_panel()
    data, keywords, _ = open_file(path)
    layer = panel.viewer.add_image(data, **keywords)
    assert isinstance(layer, Image)
    assert panel.run.volume.text() == "volume 1 of 3"
    detect(panel, qtbot)
    panel.run.volume.setValue(3)
    until(qtbot, lambda: panel.case.volume == 2)
    assert np.array_equal(layer.data, read_scan(path, volume=2).voxels)
    assert panel.case.session.map is None
    assert not panel.case.layers.map.visible


def test_devices_are_looked_for_in_the_background(panel: DetectPanel, qtbot: QtBot) -> None:
    assert panel.run.device.currentText() == "automatic"
    began = time.monotonic()
    until(qtbot, lambda: panel.run.device.count() == 2)
    assert panel.run.device.currentText() == "automatic: CPU, no CUDA device was found"
    assert time.monotonic() - began > 0.2
