"""The picture shows the slice of the worst finding, in colours that can be found again."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ScanError
from napari_anomaly.findings import find
from napari_anomaly.samples import phantom, phantom_lesion
from napari_anomaly.snapshot import snapshot, write_snapshot

SHAPE = (20, 24, 20)


def drawn(score, **options):
    scan = phantom(SHAPE)
    found = AnomalyMap(
        score=score.astype(np.float32),
        geometry=scan.geometry,
        scan_score=0.97,
        detector="brain-mri 1.0",
        detector_sha256="0" * 64,
        default_threshold=0.99,
        default_min_volume_mm3=0,
    )
    return snapshot(scan, found, find(found, 0.99), **options)


def count(picture, colour):
    return int((np.asarray(picture) == colour).all(axis=-1).sum())


def test_a_finding_is_coloured_and_outlined():
    score = phantom_lesion(SHAPE, lesion_mm=20) * 0.99999
    with_finding, without = drawn(score), drawn(np.zeros(SHAPE))
    assert count(with_finding, (0, 229, 255)) > 100
    assert count(without, (0, 229, 255)) == 0


def test_findings_on_other_slices_stand_side_by_side():
    score = np.zeros(SHAPE)
    score[4, 12, 10] = score[9, 12, 10] = score[14, 12, 10] = score[16, 12, 10] = 0.999
    one, three = drawn(score, slices=1), drawn(score, slices=3)
    assert three.height == one.height
    assert three.width > 2 * 300


def test_tiles_are_in_proportion_to_millimetres():
    flat = phantom(SHAPE)
    stretched = replace(flat, geometry=type(flat.geometry).from_spacing(SHAPE, (5.0, 1.0, 3.0)))
    found = AnomalyMap(np.zeros(SHAPE, np.float32), stretched.geometry, 0.5, "d", "0", 0.99, 0)
    picture = snapshot(stretched, found, find(found, 0.99))
    assert picture.height < drawn(np.zeros(SHAPE)).height  # 24 x 1 mm high and 20 x 3 mm wide


def test_a_flat_scan_can_be_drawn():
    flat = replace(phantom(SHAPE), voxels=np.full(SHAPE, 7, np.uint8))
    found = AnomalyMap(np.zeros(SHAPE, np.float32), flat.geometry, 0.5, "d", "0", 0.99, 0)
    assert snapshot(flat, found, find(found, 0.99)).width >= 640


def test_a_picture_is_written_whole(tmp_path):
    picture = drawn(np.zeros(SHAPE))
    path = write_snapshot(picture, tmp_path / "x_picture.png")
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x_picture.png"]
    with pytest.raises(ScanError, match="Nothing was written"):
        write_snapshot(picture, tmp_path / "no-such-folder" / "x.png")
