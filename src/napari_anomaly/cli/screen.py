"""``napari-anomaly screen``: a folder of scans in, a worklist out, ranked by how unusual they are."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_anomaly.cli.batch import complain
from napari_anomaly.cli.detecting import Detecting, add_detecting
from napari_anomaly.cli.looking import Looking, Outcome
from napari_anomaly.cli.workers import look_at_all
from napari_anomaly.errors import ScanError
from napari_anomaly.worklist import Row, Worklist, scans_in


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "screen",
        help="look through a folder of scans, and rank them in a worklist",
        description="Look through folders of scans, and rank them in a worklist for the dock Worklist. A scan "
        "that cannot be read is a row with its reason. Stop it at any time: the same words go on where it was.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder with scans, or a scan")
    parser.add_argument(
        "--worklist",
        type=Path,
        required=True,
        metavar="FILE",
        help="the list, an SQLite file; made if needed",
    )
    parser.add_argument("--retry", action="store_true", help="try scans again that have failed before")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="scans at once, in processes of their own (%(default)s)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do it, such as tcp://host:8786"
    )
    add_detecting(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Screen all scans; return whether none has failed."""
    worklist = Worklist(options.worklist)
    try:
        found = [scan for folder in options.folders for scan in scans_in(folder)]
        worklist.add(found)
        detecting = Detecting.of(options)
        results = (options.worklist.with_suffix("") / "detections").absolute()
        looking = Looking(options.detector, detecting.settings, detecting.finding, results)
        noting = _Noting(worklist, detecting.detector.sha256)
        waiting = worklist.to_screen(detecting.detector.sha256, retry=options.retry)
        known = len(worklist.rows())
        print(f"{options.worklist}: {known} scans, {len(waiting)} to look at", flush=True)
        failed = 0
        done = look_at_all(looking, waiting, workers=options.workers, scheduler=options.scheduler)
        for number, (row, outcome) in enumerate(done, 1):
            failed += not noting.one(row, outcome, f"{number} of {len(waiting)}")
    finally:
        worklist.close()
    return failed == 0


@dataclass(frozen=True, slots=True)
class _Noting:
    worklist: Worklist
    sha256: str

    def one(self, row: Row, outcome: Outcome, title: str) -> bool:
        """Put one outcome on the list; return whether there is a result."""
        if outcome.detection is None:
            self.worklist.failed(row, self.sha256, outcome.reason)
            complain(str(row.path), ScanError(outcome.reason))
            return False
        self.worklist.ready(
            row,
            self.sha256,
            name=outcome.name,
            detection=outcome.detection,
            scan_score=outcome.scan_score,
            findings=outcome.findings,
            volume_ml=outcome.volume_ml,
        )
        print(f"{title}: {outcome.name}: {outcome.findings} findings, {outcome.volume_ml:.1f} ml", flush=True)
        return True
