"""What the reader splits stays apart, what is merged stays together, whatever the threshold."""

import numpy as np
import pytest

from napari_anomaly.findings import Edits, find
from napari_anomaly.grouping import divide, grouped_sizes, number_regions
from phantoms import a_map


def two_balls(*, bridge: float = 0.0) -> np.ndarray:
    """Two balls of radius 4 whose centres are 12 voxels apart, with a bridge of a score between."""
    places = np.indices((13, 13, 26))
    score = np.zeros((13, 13, 26), dtype=np.float32)
    score[5:8, 5:8, 6:19] = bridge
    for centre, top in (((6, 6, 6), 0.99), ((6, 6, 18), 0.98)):
        apart = np.linalg.norm(places - np.reshape(centre, (3, 1, 1, 1)), axis=0)
        score = np.maximum(score, np.where(apart <= 4.2, top - 0.01 * apart, 0)).astype(np.float32)
    return score


SCORE = two_balls(bridge=0.91)


def parts_at(parts: np.ndarray) -> tuple[int, int]:
    return int(parts[6, 6, 6]), int(parts[6, 6, 18])


def test_touching_voxels_are_one_region_without_numbers() -> None:
    labels = number_regions(SCORE > 0.9, None, SCORE)
    assert labels.max() == 1
    assert number_regions(SCORE > 0.93, None, SCORE).max() == 2
    nothing = np.zeros(SCORE.shape, np.uint16)
    assert np.array_equal(number_regions(SCORE > 0.9, nothing, SCORE), labels)


def test_different_numbers_are_never_one_region() -> None:
    groups = np.zeros(SCORE.shape, np.uint16)
    groups[6, 6, 5:8], groups[6, 6, 17:20] = 3, 9
    labels = number_regions(SCORE > 0.9, groups, SCORE)
    assert sorted(np.unique(labels)) == [0, 1, 2]
    assert labels[6, 6, 6] != labels[6, 6, 18]
    assert np.array_equal(labels > 0, SCORE > 0.9)
    # Every voxel of a ball is with the peak of that ball.
    assert len(np.unique(labels[SCORE > 0.94][np.nonzero(SCORE > 0.94)[2] < 12])) == 1


def test_equal_numbers_are_one_region_far_apart() -> None:
    groups = np.zeros(SCORE.shape, np.uint16)
    groups[6, 6, 6] = groups[6, 6, 18] = 2
    labels = number_regions(SCORE > 0.93, groups, SCORE)
    assert labels.max() == 1
    assert np.array_equal(labels > 0, SCORE > 0.93)


def test_numbers_below_the_threshold_do_nothing() -> None:
    groups = np.zeros(SCORE.shape, np.uint16)
    groups[0, 0, 0] = groups[6, 6, 12] = 5
    labels = number_regions(SCORE > 0.93, groups, SCORE)
    assert sorted(np.unique(labels)) == [0, 1, 2]


def test_merged_regions_count_together() -> None:
    labels = number_regions(SCORE > 0.93, None, SCORE)
    counts = np.bincount(labels.reshape(-1))[1:]
    groups = np.zeros(SCORE.shape, np.uint16)
    assert np.array_equal(grouped_sizes(labels, counts, groups), counts)
    groups[6, 6, 6] = groups[6, 6, 18] = 7
    assert grouped_sizes(labels, counts, groups).tolist() == [counts.sum()] * 2


def test_the_smallest_finding_counts_what_was_merged_together() -> None:
    anomaly_map = a_map(SCORE)
    groups = np.zeros(SCORE.shape, np.uint16)
    groups[6, 6, 6] = groups[6, 6, 18] = 1
    edits = Edits(np.zeros(SCORE.shape, np.int8), groups)
    sizes = [one.voxels for one in find(anomaly_map, 0.93)]
    limit = max(sizes) + 1.0
    assert len(find(anomaly_map, 0.93, min_volume_mm3=limit)) == 0
    (merged,) = find(anomaly_map, 0.93, min_volume_mm3=limit, edits=edits)
    assert merged.voxels == sum(sizes)
    assert len(find(anomaly_map, 0.93, min_volume_mm3=sum(sizes) + 1.0, edits=edits)) == 0


def test_scores_tell_two_peaks() -> None:
    parts = divide(SCORE, SCORE > 0.9)
    assert parts.max() == 2
    assert parts_at(parts) in ((1, 2), (2, 1))
    assert np.array_equal(parts > 0, SCORE > 0.9)
    counts = np.bincount(parts.reshape(-1))[1:]
    assert counts[0] >= counts[1] > 0.4 * counts.sum()


def test_a_waist_tells_two_parts_of_one_score() -> None:
    inside = SCORE > 0.9
    parts = divide(np.full(SCORE.shape, 0.99, np.float32), inside)
    assert parts.max() == 2
    assert parts_at(parts) in ((1, 2), (2, 1))


def test_one_ball_of_one_peak_stays_whole() -> None:
    inside = (SCORE > 0.93) & (np.arange(26) < 12)
    assert divide(SCORE, inside).max() == 1
    assert divide(np.ones((1, 1, 1), np.float32), np.ones((1, 1, 1), bool)).tolist() == [[[1]]]


def test_regions_that_do_not_touch_come_apart() -> None:
    parts = divide(SCORE, SCORE > 0.93)
    assert parts.max() == 2
    assert parts_at(parts) in ((1, 2), (2, 1))


def test_no_piece_is_lost_however_small() -> None:
    inside = SCORE > 0.93
    inside[0, 0, 0] = True
    parts = divide(SCORE, inside)
    assert np.array_equal(parts > 0, inside)
    assert parts[0, 0, 0] == parts.max() == 3


@pytest.mark.parametrize("seed", range(5))
def test_noise_makes_no_parts(seed: int) -> None:
    noisy = SCORE + np.random.default_rng(seed).normal(0, 0.003, SCORE.shape).astype(np.float32)
    assert divide(noisy, SCORE > 0.9).max() == 2


def test_supervoxels_go_to_one_part_as_a_whole() -> None:
    inside = SCORE > 0.9
    index = np.indices(SCORE.shape) // 3
    ids = np.ravel_multi_index(tuple(index), (5, 5, 9)) + 1
    ids[:, 0] = 0
    parts = divide(SCORE, inside, ids)
    assert parts.max() == 2
    for number in np.unique(ids[inside & (ids > 0)]):
        assert len(np.unique(parts[inside & (ids == number)])) == 1
    assert not np.array_equal(parts, divide(SCORE, inside))
