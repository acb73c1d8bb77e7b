from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pytest
from napari.viewer import current_viewer
from PIL import Image
from pytestqt.qtbot import QtBot

from fake_engine import FakeEngine
from napari_anomaly.errors import AnomalyError, DetectorError, ScanError
from napari_anomaly.io import write_like
from napari_anomaly.plugin import launch
from napari_anomaly.plugin.contributions import open_file
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def engine(
    make_napari_viewer: Callable[..., napari.Viewer], monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> FakeEngine:
    """Let the window be one that the tests clean up, with a detector that needs no networks."""
    engine = FakeEngine(0.2)
    viewer = make_napari_viewer(show=True)

    def dock(viewer: napari.Viewer) -> DetectPanel:
        panel = DetectPanel(viewer, engine)
        viewer.window.add_dock_widget(panel, name="Detect")
        return panel

    # The loop of the application, once ended, would take no further test.
    monkeypatch.setattr(
        napari, "run", lambda: qtbot.waitUntil(lambda: current_viewer() is None, timeout=60_000)
    )
    monkeypatch.setattr(napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(launch, "dock", dock)
    return engine


@pytest.fixture
def file(scan: Scan, tmp_path: Path) -> Path:
    path = tmp_path / "head.nii.gz"
    write_like(scan.voxels, scan, path, kind="image")
    return path


def test_the_whole_job_ends_in_a_picture(engine: FakeEngine, file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "shot.png"
    launch.open_and_detect(file, screenshot=picture)
    assert engine.finished == 1
    with Image.open(picture) as shot:
        pixels = np.asarray(shot.convert("RGB"))
    assert pixels.shape[0] >= 600
    # The colours of the map, which no grey scan and no grey window has.
    assert ((pixels[..., 0].astype(int) - pixels[..., 2]) > 60).sum() > 20


def test_a_failed_detection_is_an_error(engine: FakeEngine, file: Path, tmp_path: Path) -> None:
    engine.error = DetectorError("The detector is broken.")
    with pytest.raises(AnomalyError, match="The detector is broken"):
        launch.open_and_detect(file, screenshot=tmp_path / "shot.png")
    assert not (tmp_path / "shot.png").exists()


def test_what_is_no_scan_opens_no_window(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="is not there"):
        launch.open_and_detect(tmp_path / "missing.nii.gz")


def test_a_mask_is_no_scan(
    make_napari_viewer: Callable[..., napari.Viewer], scan: Scan, tmp_path: Path
) -> None:
    path = tmp_path / "head_mask.nii.gz"
    write_like(scan.voxels > 100, scan, path, kind="mask")
    with pytest.raises(ScanError, match="holds a mask"):
        launch.show(make_napari_viewer(), open_file(path))
