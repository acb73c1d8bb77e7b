"""How a screening scales with its workers; writes docs/results/screen-throughput.md.

    python benchmarks/screen_throughput.py [SCANS]

Looks at copies of the bundled multiple-sclerosis scan, with one worker and with as many as there are processors; every
worker has one thread, so that the ratio says what the workers cost, not what threads gain.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from napari_anomaly.cli.detecting import FindingSettings
from napari_anomaly.cli.looking import Looking, look, share_processors
from napari_anomaly.cli.workers import client_of
from napari_anomaly.detector.checkpoint import DEFAULT
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.samples import sample_path

OUT = Path(__file__).parents[1] / "docs" / "results" / "screen-throughput.md"


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
        seconds = {workers: measure(looking, scans, workers, most) for workers in (1, most)}
    lines = [
        "# Screening with several workers\n",
        f"{count} copies of the bundled multiple-sclerosis scan; every worker has one thread of {most}, so that the",
        "ratio says what workers cost. Made by `python benchmarks/screen_throughput.py`.\n",
        "| workers | scans | seconds | scans a minute | share of linear |",
        "|---|---|---|---|---|",
    ]
    for workers, taken in seconds.items():
        linear = seconds[1] / taken / workers
        lines.append(f"| {workers} | {count} | {taken:.0f} | {60 * count / taken:.1f} | {linear:.2f} |")
    OUT.write_text("\n".join(lines) + "\n")
    print(OUT.read_text())


def measure(looking: Looking, scans: list[Path], workers: int, most: int) -> float:
    """Seconds that workers of one thread need for all scans, after one scan each to warm up."""
    with ExitStack() as closing:
        client = closing.enter_context(client_of(workers, None, closing))
        client.run(share_processors, most)
        names = list(client.scheduler_info()["workers"])
        client.gather(
            [client.submit(look, looking, scans[0], -1, workers=[name], pure=False) for name in names]
        )
        began = time.perf_counter()
        outcomes = client.gather([client.submit(look, looking, scan, -1, pure=False) for scan in scans])
        taken = time.perf_counter() - began
    bad = [outcome.reason for outcome in outcomes if outcome.reason]
    if bad:
        raise SystemExit(bad[0])
    return taken


if __name__ == "__main__":
    main()
