"""How fast a reading goes; writes docs/results/reading-speed.md.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/reading_speed.py

On a virtual screen the graphics are computed by the CPU, so each figure stands beside that of a plain redraw
of the same window in the same run.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from balls import balls
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from vispy.gloo.glir import GlirProgram

from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.review import Verdict

OUT = Path(__file__).parents[1] / "docs" / "results" / "reading-speed.md"
SIDE = 256
FINDINGS = 200
STEPS = 60

TRIED = """
## What was tried

Profiled in the window (`cProfile`, time of the window's own thread). Until then, choosing a finding set its outlines
visible that were visible, and their width to what it was: napari takes both for changes, puts the whole scene together
anew and links five shader programs at the next draw. The outlines were also drawn on the slice before, and then again
on the new one. Now each is done only where something changes, and outlines and mask are drawn once, at the end of a
step. Time of the window's thread from the key to the drawn canvas, median of 25 steps in milliseconds, on a machine
that was busy with other work:

| step | before | now |
|---|---|---|
| plain redraw | 25 | 33 |
| N: next finding | 157 | 77 |
| R: verdict, kept, and next finding | 249 | 79 |
| false positive out of the mask, and next | 353 | 73 |

More than a plain redraw, that is 132 and 44 for N, 224 and 46 for R. What is left is mostly napari's: three layers are
sliced anew, and the sliders follow. A verdict now draws its own row of the table anew in place of all rows; that was
not measured by itself.
"""

# Mesa's software renderers crash when a program is deleted whose shaders equal a live one's.
GlirProgram.delete = lambda self: None


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        figures = measure()
    OUT.write_text(report(figures), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def measure() -> dict[str, list[float]]:
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1400, 900)
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    panel.desk.show_scan(*balls(SIDE, range(20, 240, 36), range(3, 9), most=FINDINGS))
    until(lambda: panel.desk.case.shown is not None and panel.desk.case.session.has_findings)
    panel.mode.click()
    wait(1.0)
    canvas = panel.window().centralWidget()

    def press(key: Qt.Key) -> Callable[[], None]:
        return lambda: QTest.keyClick(canvas, key)

    figures = {"plain redraw": [timed(viewer, lambda: None) for _ in range(STEPS)]}
    figures["N: next finding"] = [timed(viewer, press(Qt.Key.Key_N)) for _ in range(STEPS)]
    panel.table.select(panel.table.order()[:1])
    figures["R: verdict, kept, and next finding"] = [timed(viewer, press(Qt.Key.Key_R)) for _ in range(STEPS)]
    figures["false positive out of the mask, and next"] = [
        timed(viewer, lambda: panel.judge(Verdict.FALSE_POSITIVE, "vessel")) for _ in range(STEPS)
    ]
    figures["undo"] = [timed(viewer, panel.undo) for _ in range(STEPS)]
    figures["a stroke of 100 voxels into the review"] = [stroke(panel, place) for place in range(20)]
    panel.close()
    viewer.close()
    return figures


def stroke(panel: ReviewPanel, place: int) -> float:
    case = panel.desk.case
    case.layers.mask.data[5 + place, 5, 5:105] = 1
    began = time.perf_counter()
    case.take_strokes()
    taken = time.perf_counter() - began
    until(lambda: case.session.has_findings and not panel.desk.counts.running)
    return 1000 * taken


def timed(viewer: napari.Viewer, act: Callable[[], object]) -> float:
    """Give the milliseconds from an act until the canvas is drawn anew."""
    began = time.perf_counter()
    act()
    viewer.layers[0].refresh()
    viewer.screenshot(canvas_only=True, flash=False)
    return 1000 * (time.perf_counter() - began)


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not done():
        if time.monotonic() > end:
            raise SystemExit("The window did not get there in time.")
        wait(0.02)


def report(figures: dict[str, list[float]]) -> str:
    plain = statistics.median(figures["plain redraw"])
    rows = [
        f"| {name} | {statistics.median(values):.0f} | {np.percentile(values, 95):.0f} "
        f"| {statistics.median(values) - plain:.0f} |"
        for name, values in figures.items()
    ]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return "\n".join(
        [
            "# How fast a reading goes",
            "",
            "`benchmarks/reading_speed.py`: a scan of 256 x 256 x 256 voxels with 200 findings, from the key to "
            "the drawn",
            "canvas, in milliseconds. On a virtual screen the CPU draws; the last column leaves a plain redraw "
            "out.",
            "",
            "| step | median | p95 | more than a plain redraw |",
            "|---|---|---|---|",
            *rows,
            "",
            f"{platform.machine()}, {os.cpu_count()} cores shared with other work (load {load}), "
            f"Python {platform.python_version()}.",
            TRIED,
        ]
    )


if __name__ == "__main__":
    main()
