"""Networks whose answers are known: bright is unusual to the first, and nobody agrees with the joint one."""

import torch
from torch import Tensor, nn

from napari_anomaly.anomaly import FalseFindings
from napari_anomaly.detector.calibration import ANY, DECADES, Calibration
from napari_anomaly.detector.checkpoint import Card, Detector
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.networks.volume import VolumeFeatures, VolumeNetwork

USUAL = 1.2
"""Normalised intensity that scores 0."""


class BrightPlane(nn.Module):
    """Scores a pixel by its own brightness."""

    inputs, widths = 12, (1,)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        logit = 8 * (slices[:, 2:3] - USUAL)
        return logit, logit.new_zeros(logit.shape[0], 1, logit.shape[2] // 2, logit.shape[3] // 2), []


class BrightVolume(nn.Module):
    """Scores a voxel by its own brightness, at 3 mm."""

    inputs, widths = 8, (1,)

    def forward(self, volume: Tensor) -> VolumeFeatures:
        features = volume.new_zeros(volume.shape[0], 1, *(side // 2 for side in volume.shape[2:]))
        return VolumeFeatures(8 * (volume[:, :1] - USUAL), features, [volume])


class BrightNetwork(JointNetwork):
    """The 2D and the 3D network find what is bright, the joint one what is dark.

    It takes every scan for FLAIR. Its first `failures` calls run out of memory.
    """

    def __init__(self, failures: int = 0) -> None:
        super().__init__((2, 2, 2, 2), (2, 2, 2, 2))
        self.plane = BrightPlane()
        self.volume = BrightVolume()
        self.failures = [None] * failures

    def overall(self, volume: Tensor, seen: VolumeFeatures) -> Tensor:
        brightest = seen.levels[0][:, 0].amax((1, 2, 3))
        others = brightest.new_tensor([0.0, 0.0, 9.0, 0.0]).expand(brightest.shape[0], -1)
        return torch.cat((brightest[:, None], others), dim=1)

    def fuse(self, plane_logit: Tensor, plane_features: Tensor, context: Tensor) -> Tensor:
        if self.failures:
            self.failures.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return -plane_logit

    def __deepcopy__(self, memo: object) -> "BrightNetwork":
        # what moves to another device still counts its failures here
        return self


class Outline(VolumeNetwork):
    """A brain extraction that takes the whole silhouette for the brain."""

    def __init__(self) -> None:
        super().__init__(2, 1, (2, 2, 2, 2))

    def forward(self, volume: Tensor) -> VolumeFeatures:
        return VolumeFeatures(20 * (volume[:, 1:] - 0.5), volume, [])


class Nothing(Outline):
    """A brain extraction that finds no brain."""

    def forward(self, volume: Tensor) -> VolumeFeatures:
        return VolumeFeatures(torch.full_like(volume[:, 1:], -20.0), volume, [])


def calibration() -> Calibration:
    """Score 0 is usual, and every decade is half a step of the raw score."""
    decades = tuple(place for place in DECADES if place <= 5)
    return Calibration(
        raw=tuple(place / 2 for place in decades),
        decades=decades,
        scan_raw=(0.0, 1.0, 2.0),
        default_threshold=0.99,
        default_min_volume_mm3=20.0,
        false_findings=FalseFindings((0.9, 0.99), (0.0, 100.0), ((9.0, 5.0), (3.0, 1.0))),
        normals=3,
    )


def card(**changes) -> Card:
    """Describe a detector with the smallest networks."""
    words = {
        "name": "bright",
        "version": "1.0",
        "modality": "anything",
        "region": "body",
        "plane_widths": (2, 2, 2, 2),
        "volume_widths": (2, 2, 2, 2),
        "extraction_widths": None,
        "best": "plane",
        "smoothing_mm": 0.0,
        "calibrations": {way: {ANY: calibration()} for way in ("joint", "plane", "volume", "mean")},
        "provenance": {"steps": 3},
    }
    return Card(**{**words, **changes})


def bright_detector(*, failures: int = 0, extraction: nn.Module | None = None, **changes) -> Detector:
    """Give a detector that finds what is bright in the silhouette, or in what `extraction` takes for the brain."""
    return Detector(card(**changes), "0" * 64, BrightNetwork(failures).eval(), extraction)
