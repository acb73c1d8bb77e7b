"""A scripted reader at a real window, on a machine without PyTorch: reads a worklist by keys and clicks to its end.

    python reader.py WORKLIST REPORTS

Tells on stdout, one JSON object a line, what its window shows: after it has opened a scan, and after each act. Whoever
kills it may start it again: it goes on with what it finds.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MISSING = ("torch", "openvino", "torchvision")


class NotInstalled:
    """Makes imports fail as they do where a package is not installed."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())

import napari  # noqa: E402 (what is missing must be missing first)
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402
from vispy.gloo.glir import GlirProgram  # noqa: E402

from napari_anomaly.report import report_html  # noqa: E402

# Mesa's software renderers crash when a program is deleted whose shaders equal a live one's.
GlirProgram.delete = lambda self: None

LEFT, NONE, SHIFT = (
    Qt.MouseButton.LeftButton,
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
WAIT_S = 300
# The verdict on the finding of a rank, by key; F asks why, V is a vessel.
KEYS = {0: Qt.Key.Key_R, 1: Qt.Key.Key_U, 2: Qt.Key.Key_F}


def main() -> None:
    """Read the list to its end."""
    worklist, reports = Path(sys.argv[1]), Path(sys.argv[2])
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1200, 800)
    _, findings = viewer.window.add_plugin_dock_widget("napari-anomaly", "Findings")
    _, scans = viewer.window.add_plugin_dock_widget("napari-anomaly", "Worklist")
    reader = Reader(viewer, findings, scans, reports)
    scans.open_list(worklist)
    QTest.mouseClick(scans.next, LEFT)
    QTest.mouseClick(findings.mode, LEFT)
    while reader.settled():
        reader.read()
        reader.key(Qt.Key.Key_N, SHIFT)
    if "torch" in sys.modules:
        raise SystemExit("something has imported torch")
    tell(done=True)


class Reader:
    """What the hands do."""

    def __init__(self, viewer: Any, findings: Any, scans: Any, reports: Path) -> None:
        self.viewer, self.findings, self.scans, self.reports = viewer, findings, scans, reports
        self.before = ""

    def settled(self) -> bool:
        """Wait for the next scan; return whether there is one."""
        desk = self.findings.desk

        def there() -> bool:
            case = desk.case
            shown = case is not None and case.shown is not None and case.session.has_findings
            return shown and case.scan.name != self.before and not desk.counts.running

        until(lambda: there() or "Every scan of this list is read" in self.scans.message.text())
        if not there():
            return False
        self.before = desk.case.scan.name
        self.tell()
        return True

    def read(self) -> None:
        """Draw a line, judge what is not judged, and save the report."""
        panel = self.findings
        if panel.review is None or not panel.review.strokes:
            self.draw()
        if panel.table.order():
            # a click chooses the first row, space goes to the first that is left
            model = panel.table.model()
            QTest.mouseClick(
                panel.table.viewport(), LEFT, NONE, panel.table.visualRect(model.index(0, 0)).center()
            )
        while self.left():
            if panel.table.ids()[0] not in self.left():
                self.key(Qt.Key.Key_Space)
            self.judge(panel.findings.by_id(panel.table.ids()[0]).rank)
        self.report()

    def left(self) -> list[int]:
        """Give the findings that have no verdict."""
        review = self.findings.review
        return [one for one in self.findings.table.order() if review is None or review.verdict(one) is None]

    def judge(self, rank: int) -> None:
        """Press the key of a verdict, and F's reason."""
        self.key(KEYS[rank % 3])
        if rank % 3 == 2:
            until(lambda: QApplication.activePopupWidget() is not None)
            QTest.keyClick(QApplication.activePopupWidget(), Qt.Key.Key_V)
            wait(0.02)
        self.tell()

    def draw(self) -> None:
        """Draw a line into the mask, in a corner where nothing was found: a finding that was missed."""
        self.key(Qt.Key.Key_D)
        layer = self.findings.desk.case.layers.mask
        layer.brush_size = 1
        layer.paint((0, 0, 0), 1)
        layer.paint((0, 0, 1), 1)
        self.key(Qt.Key.Key_Escape)
        until(lambda: not self.findings.desk.counts.running and self.findings.desk.case.session.has_findings)
        self.tell()

    def report(self) -> None:
        """Save the report, as the menu of Export does once a file is chosen."""
        path = self.reports / f"{self.before}.html"
        self.findings.out.write_reading(report_html, path)
        until(lambda: self.findings.out.idle and path.exists())

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = NONE) -> None:
        """Press a key while the keyboard is on the canvas."""
        QTest.keyClick(self.viewer.window._qt_window.centralWidget(), key, modifier)
        wait(0.02)

    def tell(self) -> None:
        """Say what the window shows now."""
        model, review = self.findings.table.review_model, self.findings.review
        rows = range(model.rowCount())
        said = {str(model.finding(row).id): model.verdict(row) for row in rows}
        tell(
            scan=self.before,
            verdicts={key: verdict.value for key, verdict in said.items() if verdict is not None},
            findings=len(said),
            drawn=sum(run.length for run in review.strokes) if review is not None else 0,
        )


def tell(**what: Any) -> None:
    """Say something to whoever has started this."""
    os.write(1, json.dumps(what).encode() + b"\n")


def wait(seconds: float) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() >= end:
            return
        time.sleep(0.002)


def until(done: Callable[[], bool]) -> None:
    """Let the window live until something is done."""
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            raise SystemExit("the window did not get there in time")
        wait(0.02)


if __name__ == "__main__":
    main()
