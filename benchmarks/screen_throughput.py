"""How a screening scales with its workers; writes docs/results/screen-throughput.md.

    python benchmarks/screen_throughput.py [SCANS]

Looks at copies of the bundled multiple-sclerosis scan, with one worker and with as many as there are processors; every
worker has one thread, so that the ratio says what the workers cost, not what threads gain. What the machine itself
allows is measured in the same workers: sums in the cache of a processor, and copies of memory that no cache holds.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from napari_anomaly.cli.detecting import FindingSettings
from napari_anomaly.cli.looking import Looking, look, share_processors
from napari_anomaly.cli.workers import client_of
from napari_anomaly.detector.checkpoint import DEFAULT
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.samples import sample_path

OUT = Path(__file__).parents[1] / "docs" / "results" / "screen-throughput.md"


@dataclass(frozen=True)
class Figures:
    """Seconds of one number of workers."""

    start: float
    scans: float
    processor: float
    sums: float
    copies: float


def main() -> None:
    """Write the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    most = os.cpu_count() or 2
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        source = sample_path("ms-flair")
        scans = [Path(folder) / f"scan{number}.nii.gz" for number in range(count)]
        for scan in scans:
            shutil.copy(source, scan)
        looking = Looking(DEFAULT, DetectSettings(), FindingSettings(), Path(folder) / "results")
        found = {workers: measure(looking, scans, workers, most) for workers in (1, most)}
    OUT.write_text(report(found, count, most))
    print(OUT.read_text())


def report(found: dict[int, Figures], count: int, most: int) -> str:
    """Put the figures into tables."""
    one, several = found[1], found[most]
    lines = [
        "# Screening with several workers\n",
        f"{count} copies of the bundled multiple-sclerosis scan; every worker has one thread of {most}, so that the",
        f"ratio says what workers cost. Made by `python benchmarks/screen_throughput.py {count}`.\n",
        "| workers | scans | seconds | scans a minute | share of linear | with the start of the workers |",
        "|---|---|---|---|---|---|",
    ]
    for workers, figures in found.items():
        linear = one.scans / figures.scans / workers
        whole = (one.scans + one.start) / (figures.scans + figures.start) / workers
        lines.append(
            f"| {workers} | {count} | {figures.scans:.0f} | {60 * count / figures.scans:.1f} | {linear:.2f} "
            f"| {whole:.2f} ({figures.start:.0f} s to start) |"
        )
    sums, copies = one.sums / several.sums, one.copies / several.copies
    work = several.processor / one.processor
    lines += [
        "",
        "The start lasts until every worker has loaded the detector and has looked at one scan.",
        "",
        f"What the machine allows, {most} processes against one, each doing as much (1 is all):",
        "",
        "| | share of linear |",
        "|---|---|",
        f"| sums of numbers in the cache | {sums:.2f} |",
        f"| copies of memory, 64 MB at a time | {copies:.2f} |",
        "",
        f"Seconds of processor for one scan: {one.processor / count:.1f} with one worker, "
        f"{several.processor / count:.1f} with {most} ({work:.2f} times).",
        "",
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f}. "
        "Other programs that run meanwhile lower every share.",
    ]
    return "\n".join(lines) + "\n"


def measure(looking: Looking, scans: list[Path], workers: int, most: int) -> Figures:
    """Time workers of one thread, after one scan each to warm up."""
    with ExitStack() as closing:
        began = time.perf_counter()
        client = closing.enter_context(client_of(workers, None, closing))
        client.run(share_processors, most)
        names = list(client.nthreads())
        client.gather(
            [client.submit(look, looking, scans[0], -1, workers=[name], pure=False) for name in names]
        )
        start = time.perf_counter() - began
        before = sum(client.run(time.process_time).values())
        began = time.perf_counter()
        outcomes = client.gather([client.submit(look, looking, scan, -1, pure=False) for scan in scans])
        taken = time.perf_counter() - began
        processor = sum(client.run(time.process_time).values()) - before
        sums = max(client.run(sum_numbers).values())
        copies = max(client.run(copy_memory).values())
    bad = [outcome.reason for outcome in outcomes if outcome.reason]
    if bad:
        raise SystemExit(bad[0])
    return Figures(start, taken, processor, sums, copies)


def sum_numbers() -> float:
    """Seconds for a fixed amount of arithmetic on few numbers."""
    import time

    import numpy as np

    numbers = np.ones(1 << 13)
    began = time.perf_counter()
    for _ in range(200_000):
        np.add(numbers, 1.0, out=numbers)
    return time.perf_counter() - began


def copy_memory() -> float:
    """Seconds for a fixed amount of memory."""
    import time

    import numpy as np

    source, target = np.ones(1 << 23), np.empty(1 << 23)
    began = time.perf_counter()
    for _ in range(60):
        np.copyto(target, source)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
