"""A detector and its settings as the command line gives them, ready for any number of scans."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.flags import add_flags, settings_from
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.checkpoint import Detector
from napari_anomaly.detector.detect import Detection, detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.findings import Findings, find
from napari_anomaly.scan import Scan


class FindingSettings(BaseModel):
    """What becomes a finding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(
        default=None, ge=0, le=1, description="calibrated score, 0 to 1; the detector's own if left out"
    )
    min_volume: float | None = Field(
        default=None, ge=0, description="smallest finding in mm3; the detector's own if left out"
    )
    hysteresis: float | None = Field(
        default=None,
        ge=0,
        description="decades below the threshold down to which a finding extends; the detector's own if left out",
    )
    snap: bool = Field(default=False, description="let findings follow the borders of supervoxels")

    def findings(self, detection: Detection) -> Findings:
        """Find in a detection what these settings ask for."""
        found = detection.map
        return find(
            found,
            found.default_threshold if self.threshold is None else self.threshold,
            min_volume_mm3=found.default_min_volume_mm3 if self.min_volume is None else self.min_volume,
            supervoxels=detection.supervoxels if self.snap else None,
            hysteresis=self.hysteresis,
        )


def add_detecting(parser: argparse.ArgumentParser) -> None:
    """Add the words that choose a detector and its settings."""
    parser.add_argument(
        "--detector", default=checkpoint.DEFAULT, metavar="NAME|FILE", help="bundled, or a file (%(default)s)"
    )
    add_flags(parser, FindingSettings)
    add_flags(parser, DetectSettings)


@dataclass(frozen=True, slots=True, eq=False)
class Detecting:
    """What turns scans into findings."""

    detector: Detector
    settings: DetectSettings
    finding: FindingSettings

    @classmethod
    def of(cls, options: argparse.Namespace) -> Detecting:
        """Load what was asked for.

        Raises
        ------
        AnomalyError
            If there is no such detector, or a setting is out of its bounds.
        """
        given = vars(options)
        settings, finding = settings_from(given, DetectSettings), settings_from(given, FindingSettings)
        return cls(checkpoint.load(options.detector), settings, finding)

    def run(self, scan: Scan) -> tuple[Detection, Findings]:
        """Detect anomalies in one scan, with a bar."""
        detection = with_bar(detect(scan, self.detector, self.settings), scan.name)
        return detection, self.finding.findings(detection)

    def about(self) -> dict[str, Any]:
        """Describe detector and settings, for a report."""
        return {
            "evaluated": f"{self.detector.name} {self.detector.version}",
            "detector_sha256": self.detector.sha256,
            "settings": self.settings.model_dump(mode="json") | self.finding.model_dump(mode="json"),
        }
