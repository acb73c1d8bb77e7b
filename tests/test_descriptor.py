"""Two findings of one kind are near each other, whatever the scanner did to the numbers."""

import numpy as np
import pytest
from pydantic import ValidationError

from napari_anomaly.anatomy import STRUCTURES, Anatomy
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.descriptor import SCALES, Describer, Descriptor, distances
from napari_anomaly.findings import find
from napari_anomaly.scan import Scan
from phantoms import SHA

SHAPE = (24, 28, 26)
PLACES = np.indices(SHAPE)


def a_scan(*balls: tuple[tuple[int, int, int], float, float], seed: int = 0, gain: float = 1.0):
    """Make a head with balls in it, each at a place, of a radius and of an intensity, and describe them."""
    rng = np.random.default_rng(seed)
    head = np.linalg.norm((PLACES - np.reshape((12, 14, 13), (3, 1, 1, 1))) / 11.0, axis=0) <= 1.0
    voxels = np.where(head, 100 + rng.normal(0, 4, SHAPE), 0)
    score = np.where(head, 0.3, 0)
    for centre, radius, value in balls:
        ball = np.linalg.norm(PLACES - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius
        voxels[ball] = value + rng.normal(0, 4, SHAPE)[ball]
        score[ball] = 0.995
    scan = Scan.from_array((gain * voxels + 7 * (gain != 1.0)).astype(np.float32))
    raw = score.astype(np.float32)
    found = AnomalyMap(score.astype(np.float32), scan.geometry, 0.5, "d", SHA, 0.9, 0.0, None, raw)
    findings = find(found, 0.9)
    describer = Describer(scan, found)
    return [describer.describe(findings, one) for one in sorted(findings, key=lambda one: one.id)]


BRIGHT = ((8, 14, 8), 2.2, 180.0)
MIRRORED = ((8, 14, 18), 2.2, 180.0)
DARK = ((8, 14, 8), 2.2, 30.0)
LARGE = ((8, 14, 8), 5.2, 180.0)
ELSEWHERE = ((17, 20, 16), 2.2, 180.0)


def test_the_same_in_another_noise_and_gain_is_near() -> None:
    (one,) = a_scan(BRIGHT)
    for seed, gain in ((1, 1.0), (2, 3.5), (3, 0.1)):
        (other,) = a_scan(BRIGHT, seed=seed, gain=gain)
        assert distances(one, [other])[0] < 0.5


def test_left_and_right_are_alike() -> None:
    (one,), (other,) = a_scan(BRIGHT), a_scan(MIRRORED, seed=1)
    assert distances(one, [other])[0] < 0.5


@pytest.mark.parametrize("other", [DARK, LARGE, ELSEWHERE])
def test_what_looks_different_is_farther(other: tuple) -> None:
    (one,), (near,), (far,) = a_scan(BRIGHT), a_scan(BRIGHT, seed=1), a_scan(other, seed=1)
    close, apart = distances(one, [near, far])
    assert apart > 1.0 > 2 * close


def test_another_contrast_is_never_like() -> None:
    (one,) = a_scan(BRIGHT)
    flair, t1 = (one.model_copy(update={"contrast": name}) for name in ("flair", "t1"))
    assert distances(flair, [flair, t1]).tolist() == [0.0, np.inf]
    assert distances(flair, [one]).tolist() == [0.0]


def test_words_of_anatomy_count_without_their_sides() -> None:
    (one,) = a_scan(BRIGHT)
    here, there = (one.model_copy(update={"anatomy": (name,)}) for name in ("frontal", "cerebellar"))
    same, other = distances(here, [here, there])
    assert same == 0.0
    assert other > 0.4
    assert distances(here, [one]).tolist() == [0.0]


def test_an_embedding_counts_where_both_have_one() -> None:
    (one,) = a_scan(BRIGHT)
    this, same, other = (
        one.model_copy(update={"embedding": vector}) for vector in ((1.0, 0.0), (2.0, 0.0), (0.0, 1.0))
    )
    near, far, unknown = distances(this, [same, other, one])
    assert (near, unknown) == (0.0, 0.0)
    assert far > 1.0


def test_anatomy_comes_from_the_map() -> None:
    scan = Scan.from_array(np.ones((8, 8, 8), np.float32))
    labels = np.full(
        (8, 8, 8), next(n for n, s in enumerate(STRUCTURES) if str(s) == "left thalamus"), np.uint8
    )
    score = np.full((8, 8, 8), 0.5, np.float32)
    score[3:5, 3:5, 3:5] = 0.99
    anatomy = Anatomy(labels, np.zeros((8, 8, 8), np.uint8), scan.geometry)
    found = AnomalyMap(score, scan.geometry, 0.5, "d", SHA, 0.9, 0.0, anatomy=anatomy)
    findings = find(found, 0.9)
    described = Describer(scan, found).describe(findings, findings.items[0])
    assert described.anatomy == ("thalamus",)
    assert np.isfinite(described.numbers).all()


def test_it_crosses_files_and_nothing_else_is_taken_for_it() -> None:
    (one,) = a_scan(BRIGHT)
    assert Descriptor.model_validate_json(one.model_dump_json()) == one
    assert len(one.numbers) == len(SCALES)
    with pytest.raises(ValidationError, match="at least 13 items"):
        Descriptor(numbers=one.numbers[:-1])


def test_without_others_there_is_no_distance() -> None:
    (one,) = a_scan(BRIGHT)
    assert distances(one, []).size == 0
