"""Take the pictures of the archive's dock: python docs/pictures/make_archive_picture.py.

The archive is one that the tests start on this machine, over DICOMweb; the scan is the bundled one, under names of
patients that nobody has. Search, fetch, detection, and what is sent back are real.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import keyring  # noqa: E402 (the tests' own modules are found from here on)
import napari  # noqa: E402
import numpy as np  # noqa: E402
from pydicom import dcmread  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication, QFileDialog  # noqa: E402

from archives import Held, web_archive  # noqa: E402
from dicoms import ROOT, classic, places, ramp  # noqa: E402
from napari_anomaly.plugin.archive_panel import ArchivePanel  # noqa: E402
from napari_anomaly.samples import open_sample  # noqa: E402
from rings import Ring  # noqa: E402

SERIES = (
    ("Mustermann^Erika", "20260915", "FLAIR 3D", 5),
    ("Mustermann^Erika", "20260915", "T1 MPRAGE", 4),
    ("Mustermann^Erika", "20240229", "FLAIR 3D", 5),
    ("Musterfrau^Anna", "20260912", "T2 TSE", 3),
    ("Muster^Max", "20260830", "FLAIR 3D", 6),
)


def main() -> None:
    """Search, fetch, open, and take the picture."""
    keyring.set_keyring(Ring())
    with tempfile.TemporaryDirectory() as folder, web_archive() as (address, held, _):
        os.environ.update(XDG_CONFIG_HOME=f"{folder}/config", NAPARI_ANOMALY_ARCHIVE=address)
        fill(held, Path(folder) / "held")
        viewer = napari.Viewer(title="napari-anomaly")
        viewer.window.resize(1200, 780)
        _, panel = viewer.window.add_plugin_dock_widget("napari-anomaly", "Archive")
        if not isinstance(panel, ArchivePanel):
            raise SystemExit("The manifest does not offer the dock of the archive.")
        panel.place = panel.place.changed(folder=Path(folder) / "archive")
        QTest.keyClicks(panel.form.patient, "Muster")
        QTest.keyClicks(panel.form.first, "2024-01-01")
        QTest.keyClick(panel.form.first, Qt.Key.Key_Return)
        wait(300, lambda: bool(panel.count.text()) and not panel.busy)
        if panel.count.text() != f"{len(SERIES)} series":
            raise SystemExit(f"{panel.count.text()} {panel.message.text()} {panel.status.text()}")
        flair = next(match for match in panel.table.matches.matches if match.images > 10)
        panel.table.selectRow([match.series for match in ordered(panel)].index(flair.series))
        QTest.mouseClick(panel.fetch, Qt.MouseButton.LeftButton)
        wait(600, lambda: bool(viewer.layers) and not panel.busy)
        hide(panel, folder)
        wait(3)
        viewer.screenshot(str(HERE / "archive.png"), canvas_only=False, flash=False)
        add_to_worklist(panel, Path(folder))
        detect(panel)
        send(panel, held)
        viewer.close()


def hide(panel: ArchivePanel, folder: str) -> None:
    """Take the folder of this run out of what is said: it is nobody's."""
    panel.message.note(panel.message.text().replace("\u200b", "").replace(folder, "~"))


def add_to_worklist(panel: ArchivePanel, folder: Path) -> None:
    """Put the fetched series on a worklist, and take the picture of it."""
    worklist = folder / "september.sqlite"
    QFileDialog.getSaveFileName = staticmethod(lambda *words, **named: (str(worklist), ""))
    QTest.mouseClick(panel.add, Qt.MouseButton.LeftButton)
    wait(60, lambda: worklist.exists() and not panel.busy)
    dock, waiting = panel.viewer.window.add_plugin_dock_widget("napari-anomaly", "Worklist")
    waiting.open_list(worklist)
    wait(60, lambda: bool(waiting.is_ready))
    hide(panel, str(folder))
    wait(2)
    panel.viewer.screenshot(str(HERE / "archive-worklist.png"), canvas_only=False, flash=False)
    panel.viewer.window.remove_dock_widget(dock)


def detect(panel: ArchivePanel) -> None:
    """Run the bundled detector on the open series."""
    dock, detecting = panel.viewer.window.add_plugin_dock_widget("napari-anomaly", "Detect", tabify=True)
    wait(60, lambda: detecting.run.device.count() > 1)
    detecting.detect()
    wait(600, lambda: detecting.case is not None and detecting.case.session.has_findings)
    wait(600, lambda: not detecting.jobs.running and not detecting.counts.running)
    panel.viewer.window.remove_dock_widget(dock)
    wait(1)


def send(panel: ArchivePanel, held: Held) -> None:
    """Send segmentation and report back, with the question before and what is said after."""
    before = len(held)
    QTest.mouseClick(panel.results.button, Qt.MouseButton.LeftButton)
    wait(2)
    screen = QApplication.primaryScreen()
    screen.grabWindow(0).save(str(HERE / "archive-question.png"))
    agree = next(each for each in panel.results.confirming.buttons() if each.text() == "Send")
    QTest.mouseClick(agree, Qt.MouseButton.LeftButton)
    wait(300, lambda: len(held) == before + 2 and not panel.busy)
    QTest.mouseClick(panel.form.search, Qt.MouseButton.LeftButton)
    wait(60, lambda: panel.count.text() == f"{len(SERIES) + 2} series" and not panel.busy)
    if len(held) != before + 2:
        raise SystemExit(f"{len(held) - before} files came back. {panel.message.text()}")
    wait(2)
    panel.viewer.screenshot(str(HERE / "archive-sent.png"), canvas_only=False, flash=False)


def fill(held: Held, folder: Path) -> None:
    """Put series into the archive; the first one is a head."""
    scan = open_sample("ms-flair")
    step, *spacing = scan.geometry.spacing
    head = np.rint(scan.voxels * (1000 / scan.voxels.max())).astype(np.int16)
    for number, (patient, day, description, series) in enumerate(SERIES):
        slices = head if number == 0 else ramp((6, 8, 8))
        words = {"PatientName": patient, "PatientID": f"ID{number}", "StudyDate": day, "SeriesNumber": series}
        words |= {"SeriesDescription": description, "PixelSpacing": spacing}
        words |= {"StudyInstanceUID": f"{ROOT}5.{day}", "SeriesInstanceUID": f"{ROOT}6.{number}"}
        files = classic(folder / str(number), slices, positions=places(len(slices), step=step), **words)
        held.extend(dcmread(file) for file in files)


def ordered(panel: ArchivePanel) -> list:
    """Give the series from top to bottom."""
    panel.table.selectAll()
    return panel.table.selected


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
