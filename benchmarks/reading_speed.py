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

from napari_anomaly import recall
from napari_anomaly.io import write_like
from napari_anomaly.io.detections import save_detection
from napari_anomaly.journal import Journal, journal_path
from napari_anomaly.plugin.case import header_of
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.plugin.worklist_panel import WorklistPanel
from napari_anomaly.review import Change, Entry, Verdict, paint_of
from napari_anomaly.scan import Scan
from napari_anomaly.worklist import Worklist

OUT = Path(__file__).parents[1] / "docs" / "results" / "reading-speed.md"
SIDE = 256
FINDINGS = 200
STEPS = 60
READ = 100
MANY = 5000
SCANS = 1000

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
        os.environ[recall.VARIABLE] = f"{folder}/memory.sqlite"
        figures, read_s = measure()
        once = [*many_findings(), *worklist(Path(folder)), *journal(Path(folder))]
    OUT.write_text(report(figures, read_s, once), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def measure() -> tuple[dict[str, list[float]], float]:
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
    read_s = reading(panel, press)
    panel.close()
    viewer.close()
    return figures, read_s


def reading(panel: ReviewPanel, press: Callable[[Qt.Key], Callable[[], None]]) -> float:
    """Seconds of a scripted reader for 100 findings, one key each, every third false with its reason."""
    panel.table.select(panel.table.order()[:1])
    began = time.perf_counter()
    for number in range(READ):
        press((Qt.Key.Key_R, Qt.Key.Key_U, Qt.Key.Key_F)[number % 3])()
        if number % 3 == 2:
            QTest.keyClick(panel.judge_.reasons, Qt.Key.Key_V)
        panel.viewer.screenshot(canvas_only=True, flash=False)
    return time.perf_counter() - began


def many_findings() -> list[tuple[str, list[float]]]:
    """A table of 5,000 findings: filled, sorted, filtered, gone through."""
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1400, 900)
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    panel.desk.show_scan(*balls(SIDE, range(6, 250, 14), [2], most=MANY))
    until(lambda: panel.desk.case.shown is not None and panel.desk.case.session.has_findings)
    panel.mode.click()
    wait(1.0)
    findings, source = panel.desk.case.shown, panel.desk.case.scan.source
    assert len(findings) == MANY, len(findings)
    canvas, table = panel.window().centralWidget(), panel.table
    orders = (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder)
    acts = {
        "fill it": (10, lambda n: table.set_findings(findings, source)),
        "sort it by volume": (10, lambda n: table.sortByColumn(4, orders[n % 2])),
        "filter it by verdict": (10, lambda n: table.show_only(("unjudged", "all")[n % 2])),
        "N: next finding": (STEPS, lambda n: QTest.keyClick(canvas, Qt.Key.Key_N)),
        "R: verdict, kept, and next finding": (STEPS, lambda n: QTest.keyClick(canvas, Qt.Key.Key_R)),
    }
    done = []
    for name, (count, act) in acts.items():
        times = [timed(viewer, lambda n=n, act=act: act(n)) for n in range(count)]
        done.append((f"table of {MANY:,} findings: {name}", times))
    panel.close()
    viewer.close()
    return done


def worklist(folder: Path) -> list[tuple[str, list[float]]]:
    """A worklist of 1,000 scans is opened, and one scan after the other, each read ahead."""
    scan, outcome = balls(SIDE, range(20, 240, 36), range(3, 9), most=FINDINGS)
    file, count = folder / "list.sqlite", 5
    fill(file, folder, scan, outcome, count)
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1400, 900)
    panel, dock = ReviewPanel(viewer), WorklistPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    viewer.window.add_dock_widget(dock, name="Worklist", tabify=False)
    panel.mode.click()
    wait(1.0)
    opened = [timed_alone(lambda: dock.open_list(file)) for _ in range(5)]
    canvas = panel.window().centralWidget()
    following = []
    for number in range(count):
        until(lambda: dock.is_ready)
        wait(0.5)
        began = time.perf_counter()
        QTest.keyClick(canvas, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
        until(lambda: panel.desk.case is not None and panel.desk.case.shown is not None)
        viewer.screenshot(canvas_only=True, flash=False)
        if number:
            # the first one makes the layers, which the others find there
            following.append(1000 * (time.perf_counter() - began))
        else:
            first = [1000 * (time.perf_counter() - began)]
        panel.judge(Verdict.REAL)
    panel.close()
    dock.close()
    viewer.close()
    return [
        (f"worklist of {SCANS:,} scans: open it", opened),
        ("first scan of the worklist, read ahead, on screen with its findings", first),
        ("Shift+N: next scan of the worklist, read ahead, on screen with its findings", following),
    ]


def fill(file: Path, folder: Path, scan: Scan, outcome: Outcome, real: int) -> None:
    listed = Worklist(file)
    for number in range(real):
        write_like(scan.voxels, scan, folder / f"scan{number}.nii", kind="image")
        save_detection(
            folder / f"scan{number}.zip",
            again(folder, number),
            outcome.result.map,
            outcome.result.supervoxels,
        )
    listed.add((folder / f"scan{number}.nii", -1) for number in range(SCANS))
    for row in listed.rows():
        number = int(row.path.stem.removeprefix("scan"))
        detection = folder / f"scan{min(number, real - 1)}.zip"
        figures = {"scan_score": 1 - number / SCANS, "findings": 3, "volume_ml": 1.0}
        listed.ready(row, "0" * 64, name=row.path.stem, detection=detection, **figures)
    listed.close()


def again(folder: Path, number: int) -> Scan:
    from napari_anomaly.io import read_scan

    return read_scan(folder / f"scan{number}.nii")


def journal(folder: Path) -> list[tuple[str, list[float]]]:
    """A stroke of 100 voxels into the journal: until the system has it, and until the disk has it."""
    scan, outcome = balls(32, [16], [3])
    header = header_of(scan, outcome.result.map)
    kept = Journal.open(journal_path(folder, header), header)
    handed, synced = [], []
    for place in range(200):
        paint = paint_of(np.arange(100 * place, 100 * place + 100), np.ones(100, dtype=np.int8))
        entry = Entry(do="change", change=Change(paint=paint))
        began = time.perf_counter()
        kept.record(entry)
        handed.append(1000 * (time.perf_counter() - began))
        kept.synced()
        synced.append(1000 * (time.perf_counter() - began))
    kept.close()
    return [
        ("journal: a stroke of 100 voxels, handed to the system", handed),
        ("journal: the same, on the disk itself", synced),
    ]


def timed_alone(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    QApplication.processEvents()
    return 1000 * (time.perf_counter() - began)


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


AIMS = {"Shift+N": "500"}


def line(name: str, values: list[float]) -> str:
    figures = (digits(statistics.median(values)), digits(float(np.percentile(values, 95))))
    return f"| {name} | {' | '.join(figures)} | {AIMS.get(name[:7], '')} |"


def digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def report(figures: dict[str, list[float]], read_s: float, once: list[tuple[str, list[float]]]) -> str:
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
            f"Aim: the next finding within 100 ms (p95). Scripted reading of {READ} findings, one key each, a third of "
            "them false",
            f"with a reason, every step drawn: {read_s:.1f} s, {60 * READ / read_s:.0f} verdicts a minute.",
            "",
            "| | median, ms | p95, ms | aim, ms |",
            "|---|---|---|---|",
            *(line(name, values) for name, values in once),
            "",
            f"{platform.machine()}, {os.cpu_count()} cores shared with other work (load {load}), "
            f"Python {platform.python_version()}.",
            TRIED,
        ]
    )


if __name__ == "__main__":
    main()
