"""Drive the real window through a reading, with keys and clicks, and save a picture of every step.

Run it where there is a screen, or on a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/pictures/make_reading_pictures.py

The first run screens the two bundled patients with the bundled detector into a worklist, which takes a minute
or two; ``--worklist FILE`` takes one that is there, and then no detector and no torch is needed.
"""

import argparse
import base64
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import nibabel
import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy.spatial.transform import Rotation
from vispy.gloo.glir import GlirProgram

from napari_anomaly.anomaly import from_decades
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.worklist_panel import WorklistPanel
from napari_anomaly.report import report_html
from napari_anomaly.samples import sample_path

HERE = Path(__file__).parent
SIZE = (1400, 900)
SCANS = ("ms-flair", "stroke-t2")

# Mesa's software renderers crash when a program is deleted whose shaders equal a live one's.
GlirProgram.delete = lambda self: None


def main() -> None:
    """Make all pictures."""
    options = options_of(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        worklist = options.worklist or screened(Path(folder))
        Reading(options.out, worklist).go()


def options_of(text: str) -> argparse.Namespace:
    """Read the words of the command line; the folder for the pictures is there afterwards."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worklist", type=Path, help="a worklist that is there")
    parser.add_argument("-o", "--out", type=Path, default=HERE, help="folder for the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def screened(folder: Path) -> Path:
    """Screen the bundled scans into a worklist."""
    scans = [str(sample_path(name)) for name in SCANS]
    worklist = folder / "worklist.sqlite"
    words = ["-m", "napari_anomaly.cli", "screen", *scans, "--worklist", str(worklist)]
    code = "import sys; from napari_anomaly.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, *words[2:]], check=True)
    return worklist


class Reading:
    """A reader at the window."""

    def __init__(self, out: Path, worklist: Path) -> None:
        self.out = out
        self.viewer = napari.Viewer(title="napari-anomaly")
        self.viewer.window.resize(*SIZE)
        _, self.list = self.viewer.window.add_plugin_dock_widget("napari-anomaly", "Worklist")
        _, self.panel = self.viewer.window.add_plugin_dock_widget("napari-anomaly", "Findings", tabify=True)
        self.worklist = worklist

    def go(self) -> None:
        """Read."""
        panel, worklist = self.panel, self.list
        if not isinstance(panel, ReviewPanel) or not isinstance(worklist, WorklistPanel):
            raise SystemExit("The manifest does not offer the docks of the reader.")
        worklist.open_list(self.worklist)
        self.until(lambda: worklist.is_ready, 120)
        worklist.next.click()
        self.settle()
        self.enough()
        raise_dock(worklist)
        self.shoot("reading-1-worklist")
        raise_dock(panel)
        panel.mode.click()
        self.key(Qt.Key.Key_Return)
        self.shoot("reading-2-findings")
        self.key(Qt.Key.Key_R)
        self.key(Qt.Key.Key_U)
        self.key(Qt.Key.Key_F)
        self.shoot("reading-3-reason", dock=True)
        QTest.keyClick(panel.judge_.reasons, Qt.Key.Key_V)
        QTest.keyClicks(panel.judge_.note, "beside the left ventricle")
        QTest.keyClick(panel.judge_.note, Qt.Key.Key_Return)
        panel.table.setFocus()
        self.key(Qt.Key.Key_R)
        # back to what was judged false
        panel.table.select(panel.table.order()[2:3])
        self.key(Qt.Key.Key_Return)
        self.key(Qt.Key.Key_G)
        self.key(Qt.Key.Key_M)
        self.key(Qt.Key.Key_H)
        # What is chosen is outlined in yellow, over its ghost.
        panel.table.select([])
        self.shoot("reading-4-ghosts")
        panel.table.select(panel.table.order()[:1])
        self.key(Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
        self.wait(0.5)
        panel.sheet.grab().save(str(self.out / "reading-5-keys.png"))
        panel.sheet.hide()
        self.key(Qt.Key.Key_2)
        self.key(Qt.Key.Key_Return)
        self.shoot("reading-6-coronal")
        self.key(Qt.Key.Key_1)
        self.key(Qt.Key.Key_D)
        case = panel.desk.case
        z, y, x = panel.findings.items[0].peak_index
        case.layers.mask.brush_size = 9
        for step in range(14):
            case.layers.mask.paint((z, y + step, x + step), 1)
        self.settle()
        self.shoot("reading-7-drawn")
        self.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        self.key(Qt.Key.Key_Escape)
        self.settle()
        self.previous()
        self.report()
        self.until(lambda: worklist.is_ready, 120)
        began = time.monotonic()
        self.key(Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
        self.settle()
        print(f"the next scan was there after {time.monotonic() - began:.2f} s")
        self.viewer.close()

    def enough(self) -> None:
        """Lower the threshold, as the slider in the dock Detect would, until there is something to read."""
        case = self.panel.desk.case
        decades = 3.0
        while len(self.panel.findings) < 6 and decades > 0.5:
            decades -= 0.25
            case.session.threshold = from_decades(decades)
            self.panel.desk.count()
            self.settle()

    def previous(self) -> None:
        """Open a previous scan beside: this one, as it would be had the head lain elsewhere in the scanner."""
        panel, scan = self.panel, self.panel.desk.case.scan
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz", (5, -4, 7), degrees=True).as_matrix()
        turn[:3, 3] = (12, -8, 15)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{scan.name}-2024.nii.gz"
            nibabel.save(nibabel.Nifti1Image(np.asarray(scan.voxels), turn @ scan.geometry.affine), path)
            panel.previous_scan.open(path)
            self.until(lambda: panel.previous_scan.opened is not None, 300)
        second = panel.previous_scan.opened.second
        second.window.resize(*SIZE)
        panel.table.select(panel.table.order()[:1])
        self.key(Qt.Key.Key_Return)
        self.wait(2.0)
        both = [
            viewer.screenshot(canvas_only=False, flash=False)[..., :3] for viewer in (self.viewer, second)
        ]
        height = min(len(picture) for picture in both)
        picture = Image.fromarray(np.concatenate([picture[:height] for picture in both], axis=1))
        picture.resize((picture.width * 6 // 10, picture.height * 6 // 10)).save(
            self.out / "reading-9-previous.png"
        )
        panel.previous_scan.close_window()

    def report(self) -> None:
        """Write the report, and keep its first key images as a picture."""
        path = self.out / "reading-report.html"
        path.unlink(missing_ok=True)
        self.panel.out.write_reading(report_html, path)
        self.until(path.exists, 120)
        page = path.read_text(encoding="utf-8")
        path.unlink()
        pictures = re.findall(r"base64,([^\"]+)\"", page)
        for place, name in enumerate(("axial", "coronal", "sagittal")):
            (self.out / f"reading-8-{name}.png").write_bytes(base64.b64decode(pictures[place]))

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key while the keyboard is on the canvas."""
        QTest.keyClick(self.panel.window().centralWidget(), key, modifier)
        self.wait(0.1)

    def shoot(self, name: str, *, dock: bool = False) -> None:
        """Save a picture of the window, or of the screen's dock with a menu that is open over it."""
        self.wait(0.6)
        path = str(self.out / f"{name}.png")
        if dock:
            window = self.panel.window()
            screen = window.screen()
            screen.grabWindow(0, window.x(), window.y(), window.width(), window.height()).save(path)
        else:
            self.viewer.screenshot(path, canvas_only=False, flash=False)

    def settle(self) -> None:
        """Wait for scan and findings."""
        desk = self.panel.desk
        self.wait(0.3)
        self.until(
            lambda: (
                desk.case is not None
                and desk.case.shown is not None
                and desk.case.session.has_findings
                and not desk.counts.running
                and not self.list.opening.running
            ),
            120,
        )

    def wait(self, seconds: float) -> None:
        """Let the window live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Let the window live until something is done, and end the run where it never is."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise SystemExit("The window did not get there in time; no picture was made of it.")
            self.wait(0.02)


def raise_dock(dock: ReviewPanel | WorklistPanel) -> None:
    """Bring a dock to the front of its tabs."""
    parent = dock.parentWidget()
    while parent is not None and not hasattr(parent, "setFloating"):
        parent = parent.parentWidget()
    if parent is not None:
        parent.raise_()


if __name__ == "__main__":
    main()
