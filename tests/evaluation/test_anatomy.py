import numpy as np
import pytest

from napari_anomaly.evaluation.anatomy import overlaps


def cube(start, side=4):
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[tuple(slice(at, at + side) for at in start)] = 1
    return labels


def test_the_same_labels_agree():
    found = overlaps(cube((2, 2, 2)), cube((2, 2, 2)), {"one": [1]}, spacing_mm=3.0)
    assert found["one"].dice == 1.0
    assert found["one"].apart_mm == 0.0


def test_a_shift_costs_overlap_and_is_measured_in_mm():
    found = overlaps(cube((2, 2, 2)), cube((2, 2, 4)), {"one": [1]}, spacing_mm=3.0)
    assert found["one"].dice == pytest.approx(0.5)
    assert found["one"].apart_mm == pytest.approx(6.0)


def test_what_the_truth_lacks_is_not_measured_and_what_was_missed_is():
    nothing = np.zeros((12, 12, 12), np.uint8)
    assert overlaps(cube((2, 2, 2)), nothing, {"one": [1]}, spacing_mm=1.0) == {}
    missed = overlaps(nothing, cube((2, 2, 2)), {"one": [1]}, spacing_mm=1.0)["one"]
    assert missed.dice == 0.0
    assert missed.apart_mm is None


def test_a_region_may_be_made_of_labels():
    truth = cube((2, 2, 2))
    truth[2, 2, 2] = 7
    found = overlaps(cube((2, 2, 2)), truth, {"both": [1, 7], "one": [1]}, spacing_mm=1.0)
    assert found["both"].dice == 1.0
    assert found["one"].dice < 1.0
