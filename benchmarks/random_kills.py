"""A scripted reading in a real window that is killed at random, again and again; writes docs/results/random-kills.md.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/random_kills.py --kills 100

In parts, one after another, where the machine is wanted meanwhile: ``--kills 20 --seed 1 --sums sums.json``, then
``--seed 1001`` with the same file, and so on.

A reader presses keys and draws. After each act it tells, through a pipe, what its window shows; before each act it
tells which finding comes next. SIGKILL comes at a random moment; the window that opens next must show the same, or the
same and the one act that was under way.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import napari
import numpy as np
from balls import balls
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from vispy.gloo.glir import GlirProgram

from napari_anomaly import recall
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.scan import Scan

OUT = Path(__file__).parents[1] / "docs" / "results" / "random-kills.md"
SIDE, STEP, RADIUS = 96, 16, 3
LONGEST_S = 3.0

# Mesa's software renderers crash when a program is deleted whose shaders equal a live one's.
GlirProgram.delete = lambda self: None


@dataclass
class Told:
    """What a reader told until it was killed."""

    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    about: dict[str, Any] | None = None
    acts: int = 0


@dataclass
class Sums:
    """What all readings together came to."""

    kills: int = 0
    acts: int = 0
    under_way: int = 0
    lost: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    """Findings whose row showed another verdict, or none, or was gone, in the window that opened next."""
    compared: int = 0
    """Kills of windows whose table had followed the last line, so that rows could be compared."""
    restarts_s: list[float] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sums", type=Path, help="what earlier parts came to; this one is added")
    options = parser.parse_args()
    rng, sums, before = random.Random(options.seed), Sums(), Told()
    if options.sums is not None and options.sums.exists():
        sums = Sums(**json.loads(options.sums.read_text(encoding="utf-8")))
    sums.seeds.append(options.seed)
    done = sums.kills
    case = balls(SIDE, range(STEP // 2, SIDE, STEP), [RADIUS])
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        os.environ[recall.VARIABLE] = f"{folder}/memory.sqlite"
        for kill in range(options.kills + 1):
            began = time.monotonic()
            told, opened = read_and_kill(case, options.seed + kill, rng.uniform(0, LONGEST_S))
            if told.first is None:
                raise SystemExit("A window did not open, or could not read its review.")
            if kill:
                sums.restarts_s.append(opened - began)
                compare(before, told.first, sums)
            sums.kills, sums.acts, before = done + kill, sums.acts + told.acts, told
            print(
                f"{sums.kills}: {told.acts} acts, lost so far: {sums.lost}, rows: {sums.rows}",
                flush=True,
            )
    if options.sums is not None:
        options.sums.write_text(json.dumps(asdict(sums)), encoding="utf-8")
    OUT.write_text(report(sums), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def read_and_kill(case: tuple[Scan, Outcome], seed: int, seconds: float) -> tuple[Told, float]:
    """Fork a reader, kill it some seconds after its window is up; give what it told, and when it was up."""
    out, into = os.pipe()
    reader = os.fork()
    if reader == 0:
        os.close(out)
        read(case, random.Random(seed), into)
        os._exit(0)
    os.close(into)
    told, opened = Told(), time.monotonic()
    with os.fdopen(out, "rb") as lines:
        for number, line in enumerate(lines):
            if number == 0:
                opened = time.monotonic()
                killer = os.fork()
                if killer == 0:
                    time.sleep(seconds)
                    os.kill(reader, signal.SIGKILL)
                    os._exit(0)
            hear(told, line)
        if told.first is not None:
            os.waitpid(killer, 0)
    os.waitpid(reader, 0)
    return told, opened


def hear(told: Told, line: bytes) -> None:
    if not line.endswith(b"\n"):
        return
    said = json.loads(line)
    if "about" in said:
        told.about = said
        return
    told.first = told.first or said
    told.acts += told.last is not None
    told.last, told.about = said, None


def compare(before: Told, now: dict[str, Any], sums: Sums) -> None:
    """Note what the window that was killed had, and the one that opened next has not."""
    shown, about = before.last, before.about
    under_way = about["about"] if about is not None else []
    differ = {what: differing(shown[what], now[what]) for what in ("verdicts", "rows")}
    arrived = now["drawn"] != shown["drawn"]
    if shown["followed"] and not arrived:
        sums.compared += 1
    else:
        # rows of a moment ago, from before the line that was drawn last, or that was under way
        differ["rows"] = set()
    if arrived:
        # what a line joins begins with a judgement of its parts; none that was there may go
        differ["verdicts"] &= shown["verdicts"].keys()
    sums.under_way += bool(differ["verdicts"] or arrived)
    for what, into in (("verdicts", sums.lost), ("rows", sums.rows)):
        found = differ[what]
        if "any" in under_way:
            found = found if len(found) > 1 else set()
        into += sorted(found - {str(key) for key in under_way})
    most = about["draws"] if about is not None else 0
    if not shown["drawn"] <= now["drawn"] <= shown["drawn"] + most and "any" not in under_way:
        sums.lost.append(f"drawn {shown['drawn']} -> {now['drawn']}")


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """Keys whose verdict is not the same in both."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


# The reader


def read(case: tuple[Scan, Outcome], rng: random.Random, pipe: int) -> None:
    viewer = napari.Viewer(title="napari-anomaly")
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    panel.desk.show_scan(*case)
    until(lambda: panel.desk.case.shown is not None and panel.desk.case.session.has_findings)
    panel.mode.click()
    wait(0.3)
    canvas = panel.window().centralWidget()
    tell(pipe, shown(panel))
    while True:
        act(panel, canvas, rng, pipe)
        wait(rng.uniform(0.0, 0.08))
        tell(pipe, shown(panel))


def act(panel: ReviewPanel, canvas: Any, rng: random.Random, pipe: int) -> None:
    ids = panel.table.order()
    kind = rng.choices(["R", "U", "F", "back", "draw", "undo"], [5, 3, 4, 1, 2, 2])[0]
    if kind == "undo":
        tell(pipe, {"about": ["any"], "draws": 0})
        QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        return
    chosen = rng.choice(ids)
    if kind == "draw":
        z, y = rng.randrange(SIDE), rng.randrange(SIDE)
        tell(pipe, {"about": [], "draws": SIDE})
        panel.desk.case.layers.mask.data[z, y] = 1
        panel.desk.case.take_strokes()
        return
    panel.table.select([chosen])
    # until the table has followed a line, a verdict may go to what the line has joined
    followed = panel.desk.case.session.has_findings
    tell(pipe, {"about": [chosen] if followed else ["any"], "draws": 0})
    if kind == "back":
        QTest.keyClick(canvas, Qt.Key.Key_Backspace)
        return
    QTest.keyClick(canvas, {"R": Qt.Key.Key_R, "U": Qt.Key.Key_U, "F": Qt.Key.Key_F}[kind])
    if kind == "F":
        wait(0.02)
        # the reason that was given last
        QTest.keyClick(QApplication.activePopupWidget() or canvas, Qt.Key.Key_F)


def shown(panel: ReviewPanel) -> dict[str, Any]:
    """What the reader has said, what the table shows of it, how much is drawn, and whether the table has followed."""
    model, review = panel.table.review_model, panel.desk.case.session.review
    said = {} if review is None else {k: v.verdict for k, v in review.verdicts.items()}
    rows = {model.finding(row).id: model.verdict(row) for row in range(model.rowCount())}
    drawn = sum(run.length for run in review.strokes) if review is not None else 0
    followed = panel.desk.case.session.has_findings
    return {"verdicts": _words(said), "rows": _words(rows), "drawn": drawn, "followed": followed}


def _words(verdicts: dict[int, Any]) -> dict[str, str]:
    return {str(key): verdict.value for key, verdict in verdicts.items() if verdict is not None}


def tell(pipe: int, what: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() >= end:
            return
        time.sleep(0.002)


def until(done: Any) -> None:
    end = time.monotonic() + 120
    while not done():
        if time.monotonic() > end:
            sys.exit(1)
        wait(0.02)


def report(sums: Sums) -> str:
    parts = len(sums.seeds)
    words = f"--kills {sums.kills // parts} --seed {sums.seeds[0]}"
    if parts > 1:
        words += " --sums sums.json"
    again = f",\nand with seeds {', '.join(map(str, sums.seeds[1:]))} on the same sums" if parts > 1 else ""
    return f"""# Killed at random

A scripted reader in a real window: verdicts by key, false positives with their reason, verdicts taken back, lines drawn
into the mask, undo. SIGKILL comes at a random moment within {LONGEST_S:.0f} s, and the next window goes on. What
it holds is compared with what the killed one had held, verdict by verdict and voxel by voxel, and so are the rows of
the table, but where the window was killed while a line was drawn, or within the moment that the table needs to
follow one.

Made by `xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/random_kills.py {words}`{again}.

| | |
|---|---|
| kills | {sums.kills} |
| acts of the reader | {sums.acts} |
| windows killed in the middle of an act that was already on the disk | {sums.under_way} |
| verdicts and drawn voxels lost from the review (aim: 0) | {len(sums.lost)} |
| kills after which the rows of the table were compared | {sums.compared} |
| rows of the table that showed otherwise in the next window (aim: 0) | {len(sums.rows)} |
| from start to the window as it was, seconds, median | {np.median(sums.restarts_s):.1f} |
"""


if __name__ == "__main__":
    main()
