"""``napari-anomaly evaluate``: detections, or maps that exist, against masks of what is really there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_anomaly import io
from napari_anomaly.cli.batch import each
from napari_anomaly.cli.detecting import Detecting, FindingSettings, add_detecting
from napari_anomaly.cli.flags import add_flags, settings_from
from napari_anomaly.errors import ScanError
from napari_anomaly.evaluation.protocol import (
    CaseFigures,
    ProtocolSettings,
    Scored,
    evaluate_case,
    read_truth,
)
from napari_anomaly.evaluation.report import EvaluationReport
from napari_anomaly.io.atomic import together
from napari_anomaly.manifest import versions
from napari_anomaly.scan import Scan


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "evaluate",
        help="compare detections with masks",
        usage="napari-anomaly evaluate SCAN MASK [SCAN MASK ...] [options]",
        description="Detect anomalies in scans and compare them with masks of what is really there. "
        "The mask of a normal scan is empty.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a scan, its mask, and so on")
    parser.add_argument(
        "--maps", nargs="+", type=Path, metavar="MAP", help="evaluate these, one for each pair"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures into a file")
    add_detecting(parser)
    add_flags(parser, ProtocolSettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Evaluate all pairs, print the table and write the JSON; return whether all of it was done."""
    pairs, given = _pairs(options.files, options.maps), vars(options)
    protocol, finding = settings_from(given, ProtocolSettings), settings_from(given, FindingSettings)
    if options.maps and (finding.hysteresis is not None or finding.snap):
        raise ScanError(
            "--hysteresis or --snap was given with --maps; they need a detector's own map and supervoxels. "
            "Leave them out, or leave out --maps."
        )
    detecting = None if options.maps else Detecting.of(options)
    cases: list[CaseFigures] = []

    def one(pair: _Pair) -> None:
        scan = io.read_scan(pair.path)
        truth = read_truth(io.read_scan(pair.mask), scan)
        scored, seconds = pair.scored(scan, detecting, finding)
        cases.append(evaluate_case(scan, truth, scored, settings=protocol, seconds=seconds))

    complete = each(pairs, one)
    if cases:
        about = detecting.about() if detecting else {"evaluated": "stored maps"}
        report = EvaluationReport.of(cases, protocol=protocol, versions=versions(), **about)
        print(report.table())
        if options.json:
            with together() as stage:
                stage(options.json).write_text(report.to_json(), encoding="utf-8")
    return complete


@dataclass(frozen=True, slots=True)
class _Pair:
    """A scan, its mask and, where one exists already, its map."""

    path: Path
    mask: Path
    stored: Path | None

    @property
    def label(self) -> str:
        return f"{self.path} with {self.mask}"

    def scored(
        self, scan: Scan, detecting: Detecting | None, finding: FindingSettings
    ) -> tuple[Scored, float | None]:
        """Detect, or read the map; give the scores and the seconds that it took."""
        if detecting is not None:
            detection, findings = detecting.run(scan)
            return Scored.of_detection(detection.map, findings), sum(detection.seconds.values())
        stored = io.read_scan(self.stored or self.path)
        read_truth(stored, scan)  # a map must lie on the scan's grid as a mask must
        least = finding.min_volume or 0.0
        return Scored.of_map(stored, threshold=finding.threshold, min_volume_mm3=least), None


def _pairs(files: list[Path], maps: list[Path] | None) -> list[_Pair]:
    if len(files) % 2:
        raise ScanError(f"{len(files)} files were given; pairs of a scan and its mask are needed.")
    if maps and len(maps) != len(files) // 2:
        raise ScanError(f"{len(maps)} maps were given for {len(files) // 2} pairs; one for each is needed.")
    stored: Sequence[Path | None] = maps or [None] * (len(files) // 2)
    return [_Pair(*three) for three in zip(files[::2], files[1::2], stored, strict=True)]
