"""Drive the real window through the main job on the bundled scan, and save a picture of every step.

Run it where there is a screen, or on a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/pictures/make_pictures.py

Needs the bundled detector, or another one with ``--detector FILE``.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_anomaly.plugin.contributions import dock, sample_ms_flair
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.display import step_of
from napari_anomaly.plugin.review_place import VARIABLE

HERE = Path(__file__).parent
SIZE = (1400, 900)


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detector", type=Path, help="a detector file in place of the bundled one")
    parser.add_argument("-o", "--out", type=Path, default=HERE, help="folder for the pictures")
    options = parser.parse_args()

    def with_dock(viewer: napari.Viewer) -> DetectPanel:
        panel = dock(viewer)
        if options.detector is not None:
            panel.run.choose_detector(options.detector)
        return panel

    # A review of this scan, by whoever runs this, is no part of the job.
    with tempfile.TemporaryDirectory() as reviews:
        os.environ[VARIABLE] = reviews
        make(options.out, with_dock)


def make(out: Path, with_dock: Callable[[napari.Viewer], DetectPanel]) -> None:
    """Go through the job and save pictures.

    Parameters
    ----------
    out
        Folder for the pictures.
    with_dock
        Opens the dock in a viewer.
    """
    out.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(*SIZE)
    for data, keywords, _ in sample_ms_flair():
        viewer.add_image(data, **keywords)
    panel = with_dock(viewer)

    def shoot(name: str) -> None:
        wait(0.5)
        viewer.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)

    until(lambda: panel.run.device.count() > 1, 60)
    shoot("1-open")
    panel.detect()
    until(lambda: panel.run.bar.value() > 400 or not panel.jobs.running, 120)
    shoot("2-running")
    until(lambda: not panel.jobs.running and not panel.counts.running, 600)
    if panel.message.isVisible():
        print(panel.message.text())
    # A normal scan has no finding at the detector's own threshold; the pictures need one to go to.
    while not len(panel.case.session.findings):
        slide(panel, panel.threshold.step - 15)
    panel.table.selectRow(0)
    panel.go_to(panel.case.session.findings.items[0])
    shoot("overview")
    middle = panel.threshold.step
    worst = step_of(panel.case.session.findings.items[0].peak)
    for name, step in (("4-less-sensitive", (middle + worst) // 2), ("5-more-sensitive", middle - 25)):
        slide(panel, step)
        shoot(name)
    panel.show_.boxes["mask"].click()
    panel.threshold.snap.click()
    panel.show_.planes["coronal"].click()
    until(lambda: panel.case.session.has_findings and not panel.counts.running, 60, at_least=0.4)
    shoot("6-coronal-mask-snapped")
    panel.threshold.snap.click()
    panel.show_.planes["3d"].click()
    until(lambda: panel.case.session.has_findings and not panel.counts.running, 60, at_least=0.4)
    shoot("7-3d")
    panel.show_.planes["axial"].click()
    reopen(viewer, panel, shoot)
    panel.case.layers.set_visible("map", True)
    panel.show_.linked.click()
    panel.go_to(panel.case.session.findings.items[0])
    wait(3)
    shoot("9-linked-planes")
    panel.show_.linked.click()
    viewer.close()


def reopen(viewer: napari.Viewer, panel: DetectPanel, shoot: Callable[[str], None]) -> None:
    """Export the mask, open the file again, and show it over the scan."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ms-flair_mask.nii.gz"
        panel.export_mask(path)
        until(path.exists, 30, at_least=0.5)
        viewer.open(str(path), plugin="napari-anomaly")
        for role in ("map", "mask"):
            panel.case.layers.set_visible(role, False)
        shoot("8-mask-reopened")


def slide(panel: DetectPanel, step: int) -> None:
    """Move the slider, and wait for the mask and the table."""
    panel.threshold.set_step(step)
    until(lambda: panel.case.session.has_findings and not panel.counts.running, 60, at_least=0.4)


def wait(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def until(done: Callable[[], bool], seconds: float, *, at_least: float = 0.0) -> None:
    """Let the window live until something is done, and end the run where it never is."""
    wait(at_least)
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit("The window did not get there in time; no picture was made of it.")
        wait(0.02)


if __name__ == "__main__":
    main()
