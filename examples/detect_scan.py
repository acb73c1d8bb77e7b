"""Detect anomalies in one scan and save what was found: ``python detect_scan.py SCAN FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import napari_anomaly as na
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.manifest import Manifest


def main(path: Path, folder: Path, *, detector_name: str = "brain-mri", **settings: Any) -> list[Path]:
    scan = na.read_scan(path)
    detector = checkpoint.load(detector_name)  # a bundled one, or a file

    # The detector is a generator: it yields how far it is, and returns the result. Closing it would cancel.
    work = detect(scan, detector, DetectSettings(**settings))
    detection = na.drain(work, lambda step: print(f"{step.fraction:4.0%}  {step.text}"))

    found = detection.map
    print(f"More unusual than {found.scan_score:.0%} of normal scans.")
    findings = na.find(found, found.default_threshold, min_volume_mm3=found.default_min_volume_mm3)
    for finding in findings:
        where = " ".join(f"{mm:.0f}" for mm in finding.peak_mm)
        print(f"{finding.rank}: {finding.volume_mm3:.0f} mm3, score {finding.peak:.5f}, at {where} mm (RAS+)")

    manifest = Manifest.of(scan, detection, findings).to_dict()
    return na.save_case(folder, scan, found, detection.supervoxels, findings, manifest)


if __name__ == "__main__":
    print(*main(Path(sys.argv[1]), Path(sys.argv[2])), sep="\n")
