"""How fast the window answers; writes docs/results/gui-speed.md.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/gui_speed.py [--only slider|loop]

With --only, one part is measured, and the rest of the page stays as it is. Each part, and each way in which jobs can
share the processors with the window, runs in a process of its own: priorities of threads cannot be taken back.

On a virtual screen the graphics are computed by the CPU, so each figure stands beside that of a plain redraw
of the same window; on a machine with a graphics card the redraw all but vanishes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter, zoom
from vispy.gloo.glir import GlirProgram

from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.plugin import jobs
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.display import step_of
from napari_anomaly.plugin.engine import Device, Request, TheDetector
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.samples import open_sample
from napari_anomaly.scan import Scan

OUT = Path(__file__).parents[1] / "docs" / "results" / "gui-speed.md"
SIDE = 256
SCROLL_MS = 40
BEAT_MS = 5
SLIDER, LOOP = f"The slider, {SIDE}^3", "The event loop, 182 x 218 x 182"
ROUNDS = 1
REST_S = 1.0
SECONDS = "seconds of a detection"
ALONE, FIRST, DETECTION = "scrolling alone", "first detection (loads the detector)", "detection"

AS_IT_IS, WITHOUT = "as it is", "without what was tried"

TRIED = (
    "",
    "## What was tried",
    "",
    "All of this is in the rows *as it is*; `--compare` measures it without, too. Before any of it, this benchmark "
    "gave 122.2 ms with a detection (median 80.2) where scrolling alone gave 70.9 (median 54.9).",
    "",
    "- A detection from the window takes one processor less than there are (`leave_a_processor` in "
    "`detector/engine.py`): its threads wait for the slowest of them at every step, and that was the one that shared a "
    "processor with the drawing.",
    "- Threads of a job give way to the window (priority 5 in place of 0, on Linux; `plugin/jobs.py`): the renderer "
    "and the networks want the same processors. The networks' threads inherit it.",
    "- While a job runs, threads take turns every 1 ms in place of 5 (`sys.setswitchinterval`, in `plugin/jobs.py`): "
    "every call of the graphics library lets Python go, and the window then waits for its turn.",
    "",
    "All rows show the scan alone: a map over it is one more layer to slice, with a detection or without.",
)

# Mesa's software renderers crash when a program is deleted whose shaders equal a live one's.
GlirProgram.delete = lambda self: None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A map that is made up."""

    map: AnomalyMap
    supervoxels: Supervoxels


class NoDetector:
    """Gives a map that is made up, for what depends on its size alone."""

    def names(self) -> tuple[str, ...]:
        """Give one name."""
        return ("made up",)

    def devices(self) -> tuple[Device, ...]:
        """Give the CPU."""
        return (Device("auto", "automatic"), Device("cpu", "CPU"))

    def detect(self, request: Request) -> Steps[Made]:
        """Make up a map."""
        yield Progress(0, 1, "making up a map")
        scan = request.scan
        noise = gaussian_filter(
            np.random.default_rng(0).normal(size=scan.geometry.shape).astype(np.float32), 3
        )
        edges = np.linspace(noise.min(), noise.max(), 4096)
        lower = np.cumsum(np.histogram(noise, edges)[0]) / noise.size
        score = np.interp(noise, edges[1:], lower).astype(np.float32)
        blocks = np.indices(score.shape) // 10
        ids = (np.ravel_multi_index(tuple(blocks), [n // 10 + 1 for n in score.shape]) + 1).astype(np.uint16)
        found = AnomalyMap(np.clip(score, 0, 0.99999), scan.geometry, 0.9, "made up", "0" * 64, 0.995, 30.0)
        return Made(found, Supervoxels(ids, scan.voxels.astype(np.float32), scan.geometry))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detector", type=Path, help="a detector file in place of the bundled one")
    parser.add_argument("--ticks", type=int, default=40)
    parser.add_argument(
        "--only", choices=("slider", "loop"), help="one part, and the rest of the page stays as it is"
    )
    parser.add_argument(
        "--compare", action="store_true", help="the event loop without what was tried, too; slow"
    )
    parser.add_argument("--measure", choices=("slider", AS_IT_IS, WITHOUT), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options)), flush=True)
        # software renderers may crash where a program ends
        os._exit(0)
    parts = kept()
    if options.only != "loop":
        parts[SLIDER] = slider_part(apart("slider", options))
    if options.only != "slider":
        ways = (AS_IT_IS, WITHOUT) if options.compare else (AS_IT_IS,)
        parts[LOOP] = loop_part({way: apart(way, options) for way in ways})
    lines = [line for title, part in parts.items() for line in ("", f"## {title}", "", *part)]
    OUT.write_text("\n".join([*head(), *lines, *TRIED]) + "\n", encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def kept() -> dict[str, list[str]]:
    """Give the parts of the page as they are."""
    page = OUT.read_text(encoding="utf-8")
    sections = dict(section.split("\n", 1) for section in page.split("\n## ")[1:])
    return {title: sections[title].strip().splitlines() for title in (SLIDER, LOOP)}


def apart(what: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Measure in a fresh process."""
    words = [sys.executable, __file__, "--measure", what, "--ticks", str(options.ticks)]
    words += ["--detector", str(options.detector)] if options.detector else []
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    for name, values in figures.items():
        print(f"{what}, {name}: {np.percentile(values, [50, 95, 100]).round(1)}", file=sys.stderr)
    return figures


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    if options.measure == "slider":
        return measure_slider(options.ticks)
    if options.measure == WITHOUT:
        from napari_anomaly.detector import engine

        jobs.SWITCH_S, jobs.NICE = sys.getswitchinterval(), 0
        engine.leave_a_processor = lambda: None
    return measure_loop(options.detector)


def window(scan: Scan, engine: object) -> tuple[napari.Viewer, DetectPanel]:
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1400, 900)
    data, keywords, _ = scan_layer(scan)
    viewer.add_image(data, **keywords)
    panel = DetectPanel(viewer, engine)
    viewer.window.add_dock_widget(panel, name="Detect")
    settle(0.5)
    return viewer, panel


# The slider


def measure_slider(ticks: int) -> dict[str, list[float]]:
    head = open_sample("ms-flair").voxels.astype(np.float32)
    voxels = zoom(head, [SIDE / n for n in head.shape], order=1)
    viewer, panel = window(Scan.from_array(voxels, name="cube"), NoDetector())
    panel.detect()
    until(lambda: panel.case.session.map is not None and panel.case.session.has_findings)
    settle(1.0)
    figures: dict[str, list[float]] = {}
    for plane in ("axial", "3d"):
        panel.show_.planes[plane].click()
        settle(2.0)
        count = ticks if plane == "axial" else ticks // 4
        figures[f"{plane} redraw"] = [timed(lambda: redraw(viewer)) for _ in range(count)]
        moves = [drag(panel, place) for place in range(count)]
        figures[f"{plane} tick"] = [ours for ours, _ in moves]
        figures[f"{plane} tick with draw"] = [ours + drawn for ours, drawn in moves]
    panel.show_.planes["axial"].click()
    settle(2.0)
    figures["release"] = [release(panel, 0.99 + 0.0009 * place) for place in range(10)]
    panel.threshold.snap.click()
    until(lambda: panel.case.session.has_findings)
    figures["release, snapped"] = [release(panel, 0.9 + 0.009 * place) for place in range(10)]
    viewer.close()
    return figures


def drag(panel: DetectPanel, place: int) -> tuple[float, float]:
    """Move the slider by one step, as a hand does; give milliseconds of our code, and of the draw after it."""
    began = time.perf_counter()
    panel.threshold.set_step(step_of(0.995) + 1 + place % 60)
    moved = time.perf_counter()
    QApplication.processEvents()
    return 1e3 * (moved - began), 1e3 * (time.perf_counter() - moved)


def redraw(viewer: napari.Viewer) -> None:
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.zoom *= 1.0001
    QApplication.processEvents()


def release(panel: DetectPanel, threshold: float) -> float:
    """Let go of the slider; give milliseconds until mask, count and table are there, drawn."""
    panel.threshold.set_step(step_of(threshold))
    QApplication.processEvents()
    began = time.perf_counter()
    panel.threshold.slider.sliderReleased.emit()
    while panel.counts.running or not panel.case.session.has_findings:
        QApplication.processEvents()
    QApplication.processEvents()
    return 1e3 * (time.perf_counter() - began)


# The event loop


def measure_loop(detector: Path | None) -> dict[str, list[float]]:
    sample = open_sample("ms-flair")
    target = (182, 218, 182)
    spare = [max(0, n - m) for n, m in zip(target, sample.voxels.shape, strict=True)]
    voxels = np.pad(sample.voxels, [(n // 2, n - n // 2) for n in spare])
    viewer, panel = window(Scan.from_array(voxels, name="head"), TheDetector())
    if detector is not None:
        panel.run.choose_detector(detector)
    until(lambda: panel.run.device.count() > 1)
    figures: dict[str, list[float]] = {
        ALONE: [],
        FIRST: delays(viewer, panel, until_detected=True),
        DETECTION: [],
    }
    for _ in range(ROUNDS):
        began = time.perf_counter()
        figures[DETECTION] += delays(viewer, panel, until_detected=True)
        figures.setdefault(SECONDS, []).append(time.perf_counter() - began - REST_S)
        figures[ALONE] += delays(viewer, panel, seconds=5.0)
    if panel.case.session.map is None:
        raise SystemExit(panel.message.text() or "The detection did not end with a map.")
    viewer.close()
    return figures


def delays(
    viewer: napari.Viewer, panel: DetectPanel, *, seconds: float = 0.0, until_detected: bool = False
) -> list[float]:
    """Scroll, and give by how many milliseconds each turn of the event loop came late; the scan alone is shown."""
    for role in ("map", "mask"):
        panel.case.layers.set_visible(role, False)
    settle(REST_S)
    late: list[float] = []
    last = time.perf_counter()

    def beat() -> None:
        nonlocal last
        now = time.perf_counter()
        late.append(max(0.0, 1e3 * (now - last) - BEAT_MS))
        last = now

    def scroll() -> None:
        depth = viewer.dims.range[0]
        place = viewer.dims.point[0] + depth.step
        viewer.dims.set_point(0, place if place < depth.stop else depth.start)

    timers = [QTimer(), QTimer()]
    for timer, interval, action in zip(timers, (BEAT_MS, SCROLL_MS), (beat, scroll), strict=True):
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(action)
        timer.start(interval)
    if until_detected:
        panel.detect()
        until(lambda: not panel.jobs.running)
    else:
        settle(seconds)
    for timer in timers:
        timer.stop()
    return late[1:]


# Words


def head() -> list[str]:
    return [
        "# Speed of the window",
        "",
        '`xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/gui_speed.py` makes this page; '
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        "graphics computed by the CPU. Milliseconds.",
    ]


def slider_part(slider: dict[str, list[float]]) -> list[str]:
    lines = [
        "One tick is all that our code does when the slider moves. The draw after it is the renderer's, so it "
        "stands beside a plain redraw of the same window.",
        "",
        "| what | median | worst |",
        "|---|---|---|",
    ]
    names = {
        "axial tick": "one tick in 2D (aim: 16)",
        "axial tick with draw": "the same with its draw",
        "axial redraw": "a plain redraw in 2D",
        "3d tick": "one tick in 3D",
        "3d tick with draw": "the same with its draw",
        "3d redraw": "a plain redraw in 3D",
        "release": "mask, count and table after release (aim: 300)",
        "release, snapped": "the same, snapped to superpixels",
    }
    for key, text in names.items():
        values = slider[key]
        lines.append(f"| {text} | {statistics.median(values):.1f} | {max(values):.1f} |")
    return lines


def loop_part(ways: dict[str, dict[str, list[float]]]) -> list[str]:
    lines = [
        f"By how much a turn of the event loop came late while the user scrolls a slice every {SCROLL_MS} ms: "
        "alone, and while a detection runs on the CPU beside it (aim: 95 % within 50). The last column stands beside "
        "scrolling alone in the same process; each group of rows is a process of its own, one after the other.",
        "",
        "| | turns | median | 95 % within | worst | 95 %, times alone |",
        "|---|---|---|---|---|---|",
    ]
    for way, loop in ways.items():
        alone = float(np.percentile(loop[ALONE], 95))
        seconds = statistics.median(loop.pop(SECONDS))
        lines.append(f"| **{way}**; a detection takes {seconds:.1f} s | | | | | |")
        for text, values in loop.items():
            within = float(np.percentile(values, 95))
            lines.append(
                f"| {text} | {len(values)} | {statistics.median(values):.1f} | {within:.1f} | {max(values):.0f} | "
                f"{within / alone:.2f} |"
            )
    return lines


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - began)


def settle(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def until(done: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit("The window did not get there in time.")
        QApplication.processEvents()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
