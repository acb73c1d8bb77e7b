"""Anatomy within a detection: for brains whose left is known, and where it is asked for."""

from dataclasses import replace

import pytest

from napari_anomaly.anatomy import STRUCTURES
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.findings import find
from napari_anomaly.geometry import Geometry
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom
from tiny_detector import write_tiny_detector

CPU = DetectSettings(device="cpu", engine="torch")


@pytest.fixture(scope="module")
def of_brains(tmp_path_factory):
    detector = checkpoint.load(write_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny.safetensors"))
    return replace(detector, card=detector.card.model_copy(update={"region": "brain"}))


@pytest.fixture(scope="module")
def scan():
    return phantom((24, 40, 36), field_mm=150.0, lesion_mm=9.0)


def test_findings_of_a_brain_say_where_they_lie(of_brains, scan):
    detection = drain(detect(scan, of_brains, CPU))
    assert detection.anatomy is detection.map.anatomy is not None
    assert detection.anatomy.labels.shape == scan.geometry.shape
    assert 0 < detection.anatomy.labels.max() < len(STRUCTURES)
    assert detection.seconds["anatomy"] > 0
    findings = find(detection.map, 0.5)
    assert len(findings) > 0
    assert all(finding.where for finding in findings)


def test_it_can_be_switched_off(of_brains, scan):
    detection = drain(detect(scan, of_brains, CPU.model_copy(update={"anatomy": False})))
    assert detection.anatomy is None
    assert "anatomy" not in detection.seconds
    assert {finding.where for finding in find(detection.map, 0.5)} == {""}


def test_no_side_is_claimed_where_none_is_known(of_brains, scan):
    stack = replace(scan, source=replace(scan.source, format="tiff"))
    assert drain(detect(stack, of_brains, CPU)).anatomy is None
    geometry = Geometry(scan.geometry.shape, scan.geometry.affine, unit="voxel")
    assert drain(detect(replace(scan, geometry=geometry), of_brains, CPU)).anatomy is None


def test_another_region_has_no_anatomy(of_brains, scan):
    other = replace(of_brains, card=of_brains.card.model_copy(update={"region": "body"}))
    assert drain(detect(scan, other, CPU)).anatomy is None
