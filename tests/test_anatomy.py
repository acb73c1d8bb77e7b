import numpy as np
import pytest

from napari_anomaly.anatomy import MIRRORED, STRUCTURES, Anatomy, borders, in_words, label_of
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import GridMismatch
from napari_anomaly.findings import find
from napari_anomaly.geometry import Geometry


def held(**voxels):
    """Count voxels by structure: ``left_thalamus=3``."""
    counts = np.zeros(len(STRUCTURES))
    for words, count in voxels.items():
        side, _, name = words.partition("_")
        if side in ("left", "right"):
            counts[label_of(name.replace("_", " "), side)] = count
        else:
            counts[label_of(words.replace("_", " "))] = count
    return counts


def test_every_structure_has_its_own_label_and_name():
    names = [str(structure) for structure in STRUCTURES]
    assert len(set(names)) == len(names) < 255
    assert label_of("outside the brain") == 0
    for label, structure in enumerate(STRUCTURES):
        assert label_of(structure.name, structure.side) == label
    with pytest.raises(KeyError, match="femur"):
        label_of("femur")


def test_the_mirror_swaps_sides_and_nothing_else():
    for label, structure in enumerate(STRUCTURES):
        other = STRUCTURES[MIRRORED[label]]
        assert MIRRORED[MIRRORED[label]] == label
        assert other.name == structure.name
        assert {structure.side, other.side} in ({"left", "right"}, {""})


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (held(left_thalamus=5), "left thalamus"),
        (held(brainstem=5), "brainstem"),
        (held(outside_the_brain=9, right_putamen=1), "right putamen"),
        (held(outside_the_brain=9), "outside the brain"),
        (held(right_frontal_white_matter=6, right_parietal_white_matter=4), "right frontal and parietal white matter"),
        (held(left_temporal_cortex=6, left_temporal_white_matter=4), "left temporal cortex and white matter"),
        (held(left_temporal_cortex=6, left_insula=5), "left temporal cortex and insula"),
        (held(left_corpus_callosum=5, right_corpus_callosum=4), "corpus callosum on both sides"),
        (held(left_caudate=8, right_caudate=1), "left caudate"),
        (held(brainstem=8, right_thalamus=4), "right thalamus and brainstem"),
        (held(left_insula=5, right_insula=4, right_putamen=4), "insula on both sides and right putamen"),
        (held(brainstem=8, right_thalamus=1), "brainstem"),
        (held(left_fluid_around_the_brain=6, left_frontal_cortex=4), "left frontal cortex and fluid around the brain"),
        (held(left_fluid_around_the_brain=4, left_frontal_cortex=6), "left frontal cortex"),
    ],
)  # fmt: skip
def test_words(counts, words):
    assert in_words(counts) == words


def test_a_region_that_is_everywhere_is_mostly_somewhere():
    everywhere = held(**{f"left_{s.name.replace(' ', '_')}": 1 for s in STRUCTURES if s.side == "left"})
    assert in_words(everywhere).startswith("mostly left ")
    assert in_words(np.zeros(len(STRUCTURES))) == "outside the brain"


def test_what_white_matter_lies_next_to():
    white = held(left_frontal_white_matter=5)
    assert (
        in_words(white, ventricle=0.5, cortex=0.5)
        == "left frontal white matter, next to the lateral ventricle"
    )
    assert in_words(white, cortex=0.5) == "left frontal white matter, next to the cortex"
    assert in_words(white, ventricle=0.05, cortex=0.05) == "left frontal white matter"
    assert in_words(held(left_thalamus=5), ventricle=0.5, cortex=0.5) == "left thalamus"


def test_borders_reach_as_far_as_they_say():
    labels = np.zeros((3, 3, 20), np.uint8)
    labels[:, :, 0] = label_of("lateral ventricle", "left")
    labels[:, :, 19] = label_of("frontal cortex", "right")
    near = borders(labels, 1.5)
    assert np.flatnonzero(near[1, 1] & 1).tolist() == [0, 1, 2]
    assert np.flatnonzero(near[1, 1] & 2).tolist() == [18, 19]
    assert not borders(np.zeros((2, 2, 2), np.uint8), 1.5).any()


def an_anatomy(spacing=1.0):
    labels = np.zeros((4, 4, 8), np.uint8)
    labels[..., :4] = label_of("thalamus", "right")
    labels[..., 4:] = label_of("frontal white matter", "left")
    near = np.zeros_like(labels)
    near[..., 4:] = 2
    return Anatomy(labels, near, Geometry.from_spacing(labels.shape, (spacing,) * 3))


def test_several_regions_are_told_apart():
    flat = np.array([0, 1, 6, 7, 3, 4])
    owner = np.array([0, 0, 1, 1, 2, 2])
    assert an_anatomy().where(flat, owner, 3) == [
        "right thalamus",
        "left frontal white matter, next to the cortex",
        "left frontal white matter and right thalamus",
    ]
    assert an_anatomy().where(flat[:0], owner[:0], 0) == []


def test_a_large_region_reaches_the_cortex_anyway():
    flat, owner = np.array([6, 7]), np.array([0, 0])
    assert an_anatomy(spacing=20.0).where(flat, owner, 1) == ["left frontal white matter"]


def test_another_grid_is_refused():
    geometry = Geometry.from_spacing((2, 2, 2), (1.0, 1.0, 1.0))
    with pytest.raises(GridMismatch, match=r"shape \(2, 2, 3\)"):
        Anatomy(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8), geometry)


def test_labels_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        an_anatomy().labels[0, 0, 0] = 1


def test_findings_say_where_they_lie():
    anatomy = an_anatomy()
    score = np.zeros(anatomy.labels.shape, np.float32)
    score[0, 0, 0], score[3, 3, 6:] = 0.95, 0.99
    known = AnomalyMap(score, anatomy.geometry, 0.5, "test", "0" * 64, 0.9, 0.0, anatomy=anatomy)
    assert [finding.where for finding in find(known, 0.9)] == [
        "left frontal white matter, next to the cortex",
        "right thalamus",
    ]
    unknown = AnomalyMap(score, anatomy.geometry, 0.5, "test", "0" * 64, 0.9, 0.0)
    assert [finding.where for finding in find(unknown, 0.9)] == ["", ""]


def test_anatomy_of_another_scan_is_refused():
    score = np.zeros((2, 2, 2), np.float32)
    geometry = Geometry.from_spacing((2, 2, 2), (1.0, 1.0, 1.0))
    with pytest.raises(GridMismatch, match=r"anatomy has shape \(4, 4, 8\)"):
        AnomalyMap(score, geometry, 0.5, "test", "0" * 64, 0.9, 0.0, anatomy=an_anatomy())
