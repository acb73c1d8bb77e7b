from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import napari
import nibabel
import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from fake_engine import fake_result
from napari_anomaly.plugin.canvas_marks import edge_letters
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.plugin.view import set_plane
from napari_anomaly.samples import open_sample
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture(scope="module")
def brain() -> Scan:
    scan = open_sample("ms-flair")
    affine = scan.geometry.affine @ np.diag([3.0, 3.0, 3.0, 1.0])
    return Scan.from_array(scan.voxels[::3, ::3, ::3].astype(np.float32), affine=affine, name="now")


@pytest.fixture
def before(brain: Scan, tmp_path: Path) -> Path:
    """The same head, 12 mm further to the left and 9 mm further up, in other numbers."""
    affine = brain.geometry.affine.copy()
    affine[:3, 3] += (-12.0, 0.0, 9.0)
    path = tmp_path / "before.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(brain.voxels) * 3 + 100, affine), path)
    return path


@pytest.fixture
def reading(
    make_napari_viewer: Callable[..., napari.Viewer],
    brain: Scan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ReviewPanel]:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    viewer = make_napari_viewer(show=False)
    # two canvases that come and go draw into each other's textures in a graphics driver that is software
    monkeypatch.setattr(napari, "Viewer", partial(napari.Viewer, show=False))
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    found = fake_result(brain)
    panel.desk.show_scan(brain, Outcome(found, prepare(found.map, found.supervoxels)))
    yield panel
    panel.close()


def opened(panel: ReviewPanel, path: Path, qtbot: QtBot) -> None:
    panel.previous_scan.open(path)
    qtbot.waitUntil(lambda: panel.previous_scan.idle, timeout=60_000)


def test_the_previous_scan_opens_beside_laid_over_this_one(
    reading: ReviewPanel, before: Path, brain: Scan, qtbot: QtBot
) -> None:
    opened(reading, before, qtbot)
    beside = reading.previous_scan.opened
    assert beside is not None
    laid = beside.second.layers[0]
    assert laid.name == "before"
    assert np.corrcoef(laid.data.reshape(-1), np.asarray(brain.voxels).reshape(-1))[0, 1] > 0.98
    assert edge_letters(beside.second) == ("A", "P", "R", "L")


def test_both_windows_move_together_until_they_are_unlinked(
    reading: ReviewPanel, before: Path, qtbot: QtBot
) -> None:
    opened(reading, before, qtbot)
    beside = reading.previous_scan.opened
    assert beside is not None
    first, second = reading.viewer, beside.second
    set_plane(first, "coronal")
    first.dims.set_current_step(1, 20)
    first.scene.camera.zoom *= 1.7
    assert second.dims.order == first.dims.order
    assert second.dims.point == first.dims.point
    assert second.scene.camera.zoom == first.scene.camera.zoom
    second.dims.set_current_step(1, 31)
    assert first.dims.point == second.dims.point
    beside.linked.click()
    first.dims.set_current_step(1, 10)
    assert first.dims.point != second.dims.point
    beside.linked.click()
    assert first.dims.point == second.dims.point


def test_a_window_that_is_closed_lets_go_and_the_next_one_opens(
    reading: ReviewPanel, before: Path, qtbot: QtBot
) -> None:
    opened(reading, before, qtbot)
    one = reading.previous_scan.opened
    assert one is not None
    one.second.close()
    reading.viewer.dims.set_current_step(0, 5)
    opened(reading, before, qtbot)
    assert reading.previous_scan.opened is not one


def test_a_file_that_is_no_scan_is_said(reading: ReviewPanel, tmp_path: Path, qtbot: QtBot) -> None:
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"nothing")
    opened(reading, path, qtbot)
    assert reading.previous_scan.opened is None
    qtbot.waitUntil(lambda: "broken" in reading.message.text(), timeout=5000)
