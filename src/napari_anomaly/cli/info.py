"""``napari-anomaly info``: what is here to work with."""

from __future__ import annotations

import argparse
import json
from typing import Any

from napari_anomaly import samples
from napari_anomaly.detector import checkpoint
from napari_anomaly.errors import MissingExtra
from napari_anomaly.extras import torch_needed
from napari_anomaly.manifest import versions


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser("info", help="show versions, devices, detectors and bundled scans")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Print versions, devices, detectors and bundled scans."""
    about = {"versions": versions(), **_detecting(), "bundled scans": list(samples.list_samples())}
    print(json.dumps(about, indent=2) if options.json else "\n".join(_readable(about)))
    return True


def _detecting() -> dict[str, Any]:
    """Say what can be detected with, and on what; nothing where PyTorch is not installed."""
    try:
        with torch_needed("Detecting"):
            from napari_anomaly.detector.device import choose, devices

            return {
                "devices": {device.name: device.text for device in devices()},
                "automatic device": choose("auto").text,
                "detectors": {name: _about(name) for name in checkpoint.available()},
            }
    except MissingExtra as error:
        return {"devices": {}, "automatic device": str(error), "detectors": {}}


def _about(name: str) -> dict[str, Any]:
    detector = checkpoint.load(name)
    return {
        "version": detector.version,
        "sha256": detector.sha256,
        "modality": detector.modality,
        "threshold": detector.default_threshold,
        "smallest finding, mm3": detector.default_min_volume_mm3,
    }


def _readable(about: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in about.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_readable(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {', '.join(value) if isinstance(value, list) else value}")
    return lines
