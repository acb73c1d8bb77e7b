"""``napari-anomaly screen``: a folder of scans in, a worklist out, ranked by how unusual they are."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_anomaly import io
from napari_anomaly.cli.batch import EXPECTED, complain
from napari_anomaly.cli.detecting import Detecting, add_detecting
from napari_anomaly.errors import ScanError
from napari_anomaly.io.detections import save_detection
from napari_anomaly.scan import Scan
from napari_anomaly.worklist import Row, Worklist

_OURS = ("_anomaly", "_mask", "_proxy", "_confirmed", "_verdicts")
_IMAGES = (".nii", ".nii.gz", ".tif", ".tiff", ".hdr")


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
    add_detecting(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Screen all scans; return whether none has failed."""
    worklist = Worklist(options.worklist)
    try:
        found = [scan for folder in options.folders for scan in scans_in(folder)]
        worklist.add(found)
        detecting = Detecting.of(options)
        screening = _Screening(worklist, detecting, options.worklist.with_suffix("") / "detections")
        waiting = worklist.to_screen(detecting.detector.sha256, retry=options.retry)
        known = len(worklist.rows())
        print(f"{options.worklist}: {known} scans, {len(waiting)} to look at", flush=True)
        failed = 0
        for number, row in enumerate(waiting, 1):
            failed += not screening.one(row, f"{number} of {len(waiting)}")
    finally:
        worklist.close()
    return failed == 0


def scans_in(folder: Path) -> Iterator[tuple[Path, int]]:
    """Give the scans in a folder and below it: file or folder, and the DICOM series, or -1.

    Results of this program are left out. What turns out to be no scan becomes a row with its reason.

    Raises
    ------
    ScanError
        If there is no such folder.
    """
    if not folder.exists():
        raise ScanError(f"{folder} is not there. Name a folder with scans.")
    if folder.is_file():
        yield folder, -1
        return
    if io.looks_like_dicom(folder):
        try:
            count = len(io.series_in(folder))
        except EXPECTED:
            count = 1
        yield from ((folder, series if count > 1 else -1) for series in range(max(1, count)))
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from scans_in(path)
        elif path.name.lower().endswith(_IMAGES) and not io.name_of(path).lower().endswith(_OURS):
            yield path, -1


@dataclass(frozen=True, slots=True)
class _Screening:
    worklist: Worklist
    detecting: Detecting
    results: Path

    def one(self, row: Row, title: str) -> bool:
        """Look at one scan; whatever is wrong with it becomes its row."""
        sha = self.detecting.detector.sha256
        try:
            scan = _read(row)
            detection, findings = self.detecting.run(scan)
            target = self.results / f"{scan.name}-{scan.sha256[:12]}-{sha[:8]}.zip"
            target.parent.mkdir(parents=True, exist_ok=True)
            save_detection(target, scan, detection.map, detection.supervoxels, detection.notes)
            volume = sum(finding.volume_mm3 for finding in findings) / 1000
            self.worklist.ready(
                row,
                sha,
                name=scan.name,
                detection=target,
                scan_score=detection.map.scan_score,
                findings=len(findings),
                volume_ml=volume,
            )
        except EXPECTED as error:
            self.worklist.failed(row, sha, " ".join(str(error).split()) or type(error).__name__)
            complain(str(row.path), error)
            return False
        print(f"{title}: {scan.name}: {len(findings)} findings, {volume:.1f} ml", flush=True)
        return True


def _read(row: Row) -> Scan:
    scan = io.read_scan(row.path, series=row.series if row.series >= 0 else None)
    if scan.voxels.dtype.kind in "iu" and int(scan.voxels.max()) <= 1:
        raise ScanError(f"{row.path.name} holds a mask, and a scan is needed. Take it out of the folder.")
    return scan
