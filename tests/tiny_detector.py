"""A detector with small networks that learned nothing, for tests that need a real one and no sensible answer."""

from pathlib import Path

import numpy as np
import torch

from napari_anomaly.anomaly import FalseFindings
from napari_anomaly.detector.calibration import ANY, DECADES, Calibration
from napari_anomaly.detector.checkpoint import Card, save
from napari_anomaly.networks.joint import JointNetwork

WIDTHS = (8, 8, 16, 16)


def write_tiny_detector(path: Path) -> Path:
    """Write the same detector at every call; it looks at the whole silhouette."""
    torch.manual_seed(0)
    decades = tuple(place for place in DECADES if place <= 4)
    calibration = Calibration(
        raw=tuple(np.linspace(-1.0, 1.0, len(decades)).tolist()),
        decades=decades,
        scan_raw=(0.0, 0.5, 1.0),
        default_threshold=0.99,
        default_min_volume_mm3=20.0,
        false_findings=FalseFindings((0.9, 0.99), (0.0, 100.0), ((9.0, 5.0), (3.0, 1.0))),
        normals=3,
    )
    card = Card(
        name="tiny",
        version="0.0",
        modality="anything",
        region="body",
        plane_widths=WIDTHS,
        volume_widths=WIDTHS,
        extraction_widths=None,
        best="joint",
        smoothing_mm=1.0,
        calibrations={way: {ANY: calibration} for way in ("joint", "plane", "volume", "mean")},
        provenance={},
    )
    save(path, card, JointNetwork(WIDTHS, WIDTHS).eval(), None)
    return path
