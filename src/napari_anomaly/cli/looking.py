"""Looking at one scan of a worklist, in this process or on a worker: plain data in, plain data out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from napari_anomaly import io
from napari_anomaly.cli.batch import EXPECTED
from napari_anomaly.cli.detecting import Detecting, FindingSettings
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.errors import ScanError
from napari_anomaly.io.detections import save_detection
from napari_anomaly.scan import Scan


@dataclass(frozen=True, slots=True)
class Looking:
    """How the scans of a worklist are looked at; it can be sent to another process.

    Parameters
    ----------
    detector
        Name of a bundled detector, or its file; workers must see it under the same path.
    settings, finding
        As for one scan.
    results
        Folder of the detections, which workers must see under the same path.
    """

    detector: str
    settings: DetectSettings
    finding: FindingSettings
    results: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scan.

    Parameters
    ----------
    name
        What the scan calls itself; empty where it could not be read.
    detection
        File of the result; None where there is none.
    scan_score, findings, volume_ml
        As in a worklist's row.
    reason
        Why there is no result; empty where all went well.
    """

    name: str = ""
    detection: Path | None = None
    scan_score: float = 0.0
    findings: int = 0
    volume_ml: float = 0.0
    reason: str = ""


def look(looking: Looking, path: Path, series: int) -> Outcome:
    """Look at one scan; whatever is wrong with it is the outcome's reason.

    Parameters
    ----------
    looking : Looking
        How.
    path : Path
        File or folder.
    series : int
        DICOM series there, or -1.
    """
    try:
        scan = _read(path, series)
        detecting = Detecting(_detector(looking.detector), looking.settings, looking.finding)
        detection, findings = detecting.run(scan)
        target = looking.results / f"{scan.name}-{scan.sha256[:12]}-{detecting.detector.sha256[:8]}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_detection(target, scan, detection.map, detection.supervoxels, detection.notes)
    except EXPECTED as error:
        text = " ".join(str(error).split())
        return Outcome(reason=text or f"{type(error).__name__}: the memory of this machine does not suffice")
    return Outcome(
        name=scan.name,
        detection=target,
        scan_score=detection.map.scan_score,
        findings=len(findings),
        volume_ml=sum(finding.volume_mm3 for finding in findings) / 1000,
    )


def share_processors(workers: int) -> None:
    """Leave the other workers of this machine their processors."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


@lru_cache(maxsize=1)
def _detector(name: str) -> checkpoint.Detector:
    return checkpoint.load(name)


def _read(path: Path, series: int) -> Scan:
    scan = io.read_scan(path, series=series if series >= 0 else None)
    if scan.voxels.dtype.kind in "iu" and int(scan.voxels.max()) <= 1:
        raise ScanError(f"{path.name} holds a mask, and a scan is needed. Take it out of the folder.")
    return scan
