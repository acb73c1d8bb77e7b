"""The manifest of a detection: what was done to which scan, with what, and how long it took.

It lies beside the results, names no patient, and is enough to do the same again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from napari_anomaly.detector.detect import Detection
from napari_anomaly.errors import ScanError
from napari_anomaly.findings import Findings
from napari_anomaly.scan import Scan

_LIBRARIES = ("napari-anomaly", "numpy", "scipy", "SimpleITK", "torch", "openvino")


class ScanRecord(BaseModel):
    """Which scan it was; lengths along z, y and x, spacing in `unit`."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    format: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    unit: str
    modality: str | None = None


class Manifest(BaseModel):
    """What a detection leaves on record; `seconds` has one entry for each stage."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    scan: ScanRecord
    scan_score: float
    findings: int
    findings_mm3: float
    detector: str
    detector_sha256: str
    map_sha256: str
    settings: Mapping[str, Any]
    device: str
    engine: str
    contrast: str = ""
    """What the detector took the scan for: it chose the normal scans that the scores are calibrated on."""
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, scan: Scan, detection: Detection, findings: Findings) -> Manifest:
        """Describe a finished detection.

        Parameters
        ----------
        scan
            What was looked at.
        detection
            What the detector returned.
        findings
            What the threshold made of it.
        """
        return cls(
            scan=ScanRecord(
                name=scan.name,
                sha256=scan.sha256,
                format=scan.source.format,
                shape=scan.geometry.shape,
                spacing=scan.geometry.spacing,
                unit=scan.geometry.unit,
                modality=scan.modality,
            ),
            scan_score=detection.map.scan_score,
            findings=len(findings),
            findings_mm3=sum(finding.volume_mm3 for finding in findings),
            detector=detection.map.detector,
            detector_sha256=detection.map.detector_sha256,
            map_sha256=detection.map.sha256,
            settings={
                **detection.settings.model_dump(mode="json"),
                "threshold": findings.threshold,
                "min_volume_mm3": findings.min_volume_mm3,
                "hysteresis": findings.hysteresis,
                "snap": findings.snapped,
            },
            device=detection.device,
            engine=detection.engine,
            contrast=detection.contrast,
            notes=tuple(dict.fromkeys((*scan.notes, *detection.notes))),
            seconds=detection.seconds,
            versions=versions(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return self.model_dump(mode="json")


def versions() -> dict[str, str]:
    """List the versions of Python, of this package and of the libraries that bear on a result."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def refuse_other_scan(folder: Path, scan: Scan) -> None:
    """Make sure that results in a folder are not replaced by those of another scan with the same name.

    Raises
    ------
    ScanError
        If results of another scan are there; results of the very same scan may be made anew.
    """
    try:
        written = json.loads((folder / f"{scan.name}_manifest.json").read_text(encoding="utf-8"))
        before = written["scan"]["sha256"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError):
        before = "unknown"
    if before != scan.sha256:
        raise ScanError(
            f"{folder} holds the results of another scan that is also called {scan.name}. "
            "Choose another folder, or allow to overwrite them."
        )
