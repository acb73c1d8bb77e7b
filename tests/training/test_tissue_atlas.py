import pytest
import torch

from napari_anomaly.networks.joint import ATLAS_SHAPE
from napari_anomaly.training.normals import Subject
from napari_anomaly.training.tissue_atlas import TISSUES, build_atlas
from small_subjects import real_subject

SIDES = (60, 72, 66)


def label_subject(reach=1.0):
    """Ventricles (class 3) in white matter (1) in cortex (2); the left half of the cortex is the brainstem (11)."""
    grid = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in SIDES), indexing="ij")
    distance = sum(axis**2 for axis in grid).sqrt() / reach
    classes = torch.zeros(SIDES, dtype=torch.uint8)
    for limit, index in ((0.9, 2), (0.6, 1), (0.2, 3)):
        classes[distance < limit] = index
    classes[(classes == 2) & (grid[2] > 0)] = 11
    return Subject("head", "labels", classes, classes > 0)


def test_tissues_lie_where_the_label_maps_have_them():
    atlas = build_atlas([label_subject(), real_subject("t1")])
    assert atlas.shape == ATLAS_SHAPE
    middle = tuple(side // 2 for side in ATLAS_SHAPE[1:])
    assert atlas[3][middle] > 0.8
    assert atlas[0][middle[0], middle[1], int(0.72 * ATLAS_SHAPE[3])] > 0.8
    assert atlas.sum(0).max() < 1.01
    assert len(TISSUES) == ATLAS_SHAPE[0]


def test_it_is_the_same_on_both_sides_and_for_heads_of_any_size():
    atlas = build_atlas([label_subject()])
    assert torch.allclose(atlas, atlas.flip(-1), atol=1e-5)
    # half of the rim is cortex and half brainstem, mirrored: each counts half
    edge = atlas[:, ATLAS_SHAPE[1] // 2, ATLAS_SHAPE[2] // 2, int(0.92 * ATLAS_SHAPE[3])]
    assert float(edge[1]) == pytest.approx(float(edge[5]), abs=1e-5)
    smaller = build_atlas([label_subject(reach=0.8)])
    assert (smaller - atlas).abs().mean() < 0.05


def test_without_label_maps_there_is_none():
    assert build_atlas([real_subject("t1")]) is None
