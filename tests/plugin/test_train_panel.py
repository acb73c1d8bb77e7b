"""The dock of the training in a real window."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_anomaly.plugin import train_panel
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.train_panel import TrainPanel
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.training.settings import TrainSettings
from tiny_detector import write_tiny_detector

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def panel(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, tmp_path: Path
) -> Iterator[TrainPanel]:
    viewer = make_napari_viewer(show=True)
    _, made = viewer.window.add_plugin_dock_widget("napari-anomaly", "Train")
    assert isinstance(made, TrainPanel)
    made.form["out"].value = tmp_path / "mine.safetensors"
    yield made
    made.jobs.close()
    qtbot.waitUntil(lambda: made.jobs.idle, timeout=20_000)


@pytest.fixture
def normals(tmp_path: Path) -> Path:
    folder = tmp_path / "normals"
    folder.mkdir()
    for seed in range(3):
        voxels = np.random.default_rng(seed).normal(100, 10, (24, 24, 24)).astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{seed}.nii.gz")
    (folder / "torn.nii.gz").write_bytes(b"none")
    return folder


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[TrainSettings]:
    """Train as fast as a test must: steps go on until 40 are done, over a stop too."""
    asked: list[TrainSettings] = []
    done = tmp_path / "steps"

    def training(settings: TrainSettings) -> Steps[Path]:
        asked.append(settings)
        Image.new("RGB", (90, 48), "white").save(settings.out.with_suffix(".png"))
        while (step := len(done.read_bytes()) if done.exists() else 0) < 40:
            done.write_bytes(b"." * (step + 1))
            yield Progress(step + 1, 40, f"Step {step + 1}: loss 1.0")
            import time

            time.sleep(0.05)
        return write_tiny_detector(settings.out)

    monkeypatch.setattr(train_panel, "training", training)
    return asked


def press(qtbot: QtBot, button: object) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_folder_is_checked_before_anybody_trains(panel: TrainPanel, normals: Path, qtbot: QtBot) -> None:
    panel.form["normals"].value = normals
    press(qtbot, panel.check)
    qtbot.waitUntil(lambda: "can be used" in panel.message.text(), timeout=20_000)
    said = panel.message.text().replace("\u200b", "")
    assert "3 of 4 files can be used: 3 as T1." in said
    assert "torn.nii.gz: cannot be read" in said
    assert panel.start.isEnabled()


def test_without_a_folder_it_says_what_is_needed(panel: TrainPanel, qtbot: QtBot) -> None:
    for button in (panel.check, panel.start):
        panel.message.clear_text()
        press(qtbot, button)
        assert panel.message.text() == "Choose a folder with normal scans first."
    assert not panel.jobs.running


def test_train_stop_go_on_and_use(
    panel: TrainPanel, normals: Path, trainer: list[TrainSettings], qtbot: QtBot
) -> None:
    panel.form["normals"].value = normals
    panel.form["region"].value = "body"
    panel.form["minutes"].value = 5.0
    press(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.bar.value() >= 3, timeout=20_000)
    assert not panel.start.isEnabled()
    assert panel.status.text().startswith("Step ")
    assert panel.curve.pixmap() is not None
    assert not panel.use.isVisible()
    press(qtbot, panel.stop)
    assert "go on where it was" in panel.message.text()
    qtbot.waitUntil(lambda: panel.jobs.idle, timeout=20_000)
    stopped_at = panel.bar.value()

    press(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.use.isVisible(), timeout=20_000)
    assert [(one.region, one.minutes, one.normals) for one in trainer] == [("body", 5.0, (normals,))] * 2
    assert 3 <= stopped_at < 40
    press(qtbot, panel.use)
    _, detect = panel._window.add_plugin_dock_widget("napari-anomaly", "Detect")
    assert isinstance(detect, DetectPanel)
    assert detect.run.chosen_detector == panel.made


def test_an_error_is_said_and_the_form_is_free_again(panel: TrainPanel, tmp_path: Path, qtbot: QtBot) -> None:
    (tmp_path / "empty").mkdir()
    panel.form["normals"].value = tmp_path / "empty"
    press(qtbot, panel.start)
    qtbot.waitUntil(lambda: "No normal scans were found" in panel.message.text(), timeout=60_000)
    assert panel.start.isEnabled()
    assert not panel.stop.isEnabled()
