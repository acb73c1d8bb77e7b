from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from napari_anomaly import findings
from napari_anomaly.anomaly import Supervoxels, to_decades
from napari_anomaly.errors import GridMismatch
from napari_anomaly.findings import Edits, find
from napari_anomaly.geometry import Geometry
from phantoms import a_map, blocks, oriented, rotation

NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=3) if any(step)]


def flooded(mask: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """Find connected regions the slow way: one flood from every voxel that is left."""
    left = {tuple(int(n) for n in place) for place in np.argwhere(mask)}
    regions = []
    while left:
        border = [min(left)]
        left.discard(border[0])
        region = []
        while border:
            place = border.pop()
            region.append(place)
            for step in NEIGHBOURS:
                near = tuple(a + b for a, b in zip(place, step, strict=True))
                if near in left:
                    left.discard(near)
                    border.append(near)
        regions.append(sorted(region))
    return regions


def longest(region: list[tuple[int, int, int]], geometry: Geometry) -> float:
    """Measure the longest extent the slow way: all pairs of voxels."""
    index = np.array(region)
    mm = geometry.index_to_mm(index)
    apart = np.linalg.norm(mm[:, None] - mm[None], axis=-1)
    steps = np.abs(index[:, None] - index[None]).max(axis=-1)
    farthest = apart >= apart.max() * (1 - 1e-9)
    return max((apart * (1 + 1 / np.maximum(steps, 1)))[farthest].max(), *geometry.spacing)


def speckle(seed: int, shape: tuple[int, int, int] = (9, 10, 11)) -> tuple[np.ndarray, np.ndarray]:
    """Random scores with many ties, and raw scores."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(shape), 1).astype(np.float32)
    return score, np.round(rng.random(shape), 2).astype(np.float32)


def test_a_finding_is_as_stable_as_the_share_of_it_that_both_looks_find() -> None:
    score = np.zeros((6, 6, 12), dtype=np.float32)
    score[1:3, 1:3, 1:6] = 0.999
    score[1:3, 1:3, 3:6] = 0.995
    score[4:, 4:, 8:] = 0.9999
    least = to_decades(score).astype(np.float16)
    least[1:3, 1:3, 3:5] = 2.0
    least[4:, 4:, 8:] = 0.0
    seen = replace(a_map(score), least=least)
    # 0.5 decades below .999 is .9968: only what reaches that in both looks counts
    assert [one.stability for one in find(seen, 0.999, hysteresis=0.0)] == [0.0, 1.0]
    assert [one.stability for one in find(seen, 0.999, hysteresis=0.75)] == [0.0, pytest.approx(0.6)]
    assert [one.stability for one in find(a_map(score), 0.999)] == [None, None]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("threshold", "smallest"), [(0.7, 0.0), (0.9, 0.0), (0.9, 8.0), (1.0, 0.0)])
def test_every_number_is_that_of_the_slow_reference(seed: int, threshold: float, smallest: float) -> None:
    score, raw = speckle(seed)
    geometry = Geometry(score.shape, oriented((2, 1, 0), (1, -1, -1), turn=rotation(5, -8, 11)))
    found = find(a_map(score, raw=raw, geometry=geometry), threshold, min_volume_mm3=smallest)
    expected = {}
    for region in flooded(score >= np.float32(threshold)):
        if len(region) * geometry.voxel_volume >= smallest:
            best = max(region, key=lambda p: (score[p], raw[p], tuple(-n for n in p)))
            expected[int(np.ravel_multi_index(best, score.shape))] = (best, region)
    assert {finding.id for finding in found} == set(expected)
    assert len(found) > (1 if threshold > 0.8 else 0)
    for finding in found:
        best, region = expected[finding.id]
        centre = np.mean(region, axis=0)
        assert finding.peak_index == best
        assert finding.peak == pytest.approx(float(score[best]))
        assert finding.mean == pytest.approx(np.mean([score[p] for p in region]), rel=1e-6)
        assert finding.voxels == len(region)
        assert finding.volume_mm3 == pytest.approx(len(region) * 0.7 * 1.3 * 2.5)
        assert finding.centroid_index == pytest.approx(centre)
        assert finding.peak_mm == pytest.approx(geometry.index_to_mm(np.array(best)))
        assert finding.centroid_mm == pytest.approx(geometry.index_to_mm(centre))
        assert finding.diameter_mm == pytest.approx(longest(region, geometry))
        assert sorted(map(tuple, np.argwhere(found.labels == finding.rank).tolist())) == region
    order = [(-f.peak, -float(raw[f.peak_index]), -f.voxels, f.id) for f in found]
    assert order == sorted(order)
    assert [finding.rank for finding in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("shape", ["ball", "sheet", "line", "shell", "dust"])
@pytest.mark.parametrize("limits", [(32, 1000, 1 << 20), (2, 10, 1000)], ids=["as set", "all steps"])
def test_the_longest_extent_of_large_regions(shape: str, limits, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in zip(("_SMALL", "_MANY", "_PAIRS_AT_ONCE"), limits, strict=True):
        monkeypatch.setattr(findings, name, limit)
    index = np.moveaxis(np.indices((21, 23, 25)), 0, -1)
    apart = np.linalg.norm(index - (10, 11, 12), axis=-1)
    mask = {
        "ball": apart < 9.3,
        "sheet": (index[..., 0] == 4) & (apart < 11),
        "line": (index[..., 1] == 3) & (index[..., 2] == 5),
        "shell": (apart < 8) & (apart > 6.5),
        "dust": np.random.default_rng(0).random(apart.shape) > 0.93,
    }[shape]
    geometry = Geometry(mask.shape, oriented((1, 0, 2), (1, 1, -1), turn=rotation(20, 3, 7)))
    found = find(a_map(mask.astype(np.float32), geometry=geometry), 0.5)
    regions = {len(region): region for region in flooded(mask)}
    largest = max(found, key=lambda finding: finding.voxels)
    # All pairs of a thousand voxels are enough: one inside of the region ends no longest line.
    padded = np.pad(mask, 1)
    faces = [step for step in NEIGHBOURS if np.abs(step).sum() == 1]
    outer = [p for p in regions[largest.voxels] if not all(padded[tuple(np.add(p, s) + 1)] for s in faces)]
    assert largest.diameter_mm == pytest.approx(longest(outer, geometry))


@pytest.mark.parametrize(("length", "expected"), [(1, 3.0), (2, 6.0), (5, 15.0), (40, 120.0)])
def test_a_row_is_as_long_as_its_voxels_together(length: int, expected: float) -> None:
    score = np.zeros((3, 3, 42))
    score[1, 1, 1 : 1 + length] = 1
    geometry = Geometry.from_spacing(score.shape, (1, 2, 3))
    assert find(a_map(score, geometry=geometry), 0.5).items[0].diameter_mm == pytest.approx(expected)


def test_a_cube_is_as_long_as_its_diagonal() -> None:
    score = np.zeros((8, 8, 8))
    score[1:7, 1:7, 1:7] = 1
    assert find(a_map(score), 0.5).items[0].diameter_mm == pytest.approx(6 * np.sqrt(3))


def test_connection_is_by_corner_too() -> None:
    score = np.zeros((4, 4, 4))
    score[1, 1, 1] = score[2, 2, 2] = 1
    assert len(find(a_map(score), 0.5)) == 1
    score[2, 2, 2], score[3, 3, 3] = 0, 1
    assert len(find(a_map(score), 0.5)) == 2


def test_an_id_survives_every_move_of_the_threshold() -> None:
    score, raw = speckle(7)
    anomaly_map = a_map(score, raw=raw)
    before: set[int] = set()
    for threshold in (1.0, 0.9, 0.8, 0.7, 0.6):
        found = find(anomaly_map, threshold)
        covered = set(np.flatnonzero(found.labels).tolist())
        # Those whose id is gone have merged into one with a higher peak.
        assert before <= covered
        ids = {finding.id for finding in found}
        for gone in before - ids:
            rank = int(found.labels.reshape(-1)[gone])
            assert found.items[rank - 1].id in ids
        before = ids


def test_the_raw_score_decides_between_equals() -> None:
    score = np.zeros((3, 3, 9), dtype=np.float32)
    score[1, 1, 1:4] = score[1, 1, 6:8] = 1.0
    raw = np.zeros_like(score)
    raw[1, 1, 2], raw[1, 1, 7] = 5.0, 6.0
    found = find(a_map(score, raw=raw), 0.9)
    assert [finding.peak_index for finding in found] == [(1, 1, 7), (1, 1, 2)]
    without = find(a_map(score), 0.9)
    assert [finding.peak_index for finding in without] == [(1, 1, 1), (1, 1, 6)]


def test_a_half_precision_raw_score_serves() -> None:
    score = np.ones((1, 1, 3), dtype=np.float32)
    raw = np.array([[[0.5, 0.75, 0.25]]], dtype=np.float16)
    assert find(a_map(score, raw=raw), 0.5).items[0].id == 1


def test_zero_is_never_a_finding() -> None:
    score = np.zeros((3, 3, 3))
    assert len(find(a_map(score), 0.0)) == 0
    score[1, 1, 1] = 0.001
    found = find(a_map(score), 0.0)
    assert (len(found), found.mask.sum()) == (1, 1)


def test_nothing_found_is_an_empty_mask() -> None:
    found = find(a_map(np.full((3, 4, 5), 0.2)), 0.9)
    assert (len(found), list(found)) == (0, [])
    assert found.mask.shape == (3, 4, 5)
    assert not found.mask.any()


def test_the_threshold_itself_is_inside() -> None:
    score = np.full((2, 2, 2), np.float32(0.995))
    assert find(a_map(score), 0.995).mask.all()
    assert not find(a_map(score), 0.9951).mask.any()


@pytest.mark.parametrize("value", [0.9, 0.995, 0.999, 0.3, 0.99999])
def test_a_supervoxel_of_one_score_is_in_at_that_score(value: float) -> None:
    score = np.full((4, 4, 4), np.float32(value))
    supervoxels = blocks((4, 4, 4), 2)
    assert find(a_map(score), value, supervoxels=supervoxels).mask.all()
    assert not find(a_map(score), value + 1e-4 * (1 - value) + 1e-6, supervoxels=supervoxels).mask.any()


def test_snapping_is_by_the_mean_in_decades() -> None:
    rng = np.random.default_rng(3)
    score = (1 - 10 ** -rng.uniform(0, 4, (8, 8, 8))).astype(np.float32)
    supervoxels = blocks((8, 8, 8), 2)
    anomaly_map = a_map(score)
    found = find(anomaly_map, 0.99, supervoxels=supervoxels)
    expected = np.zeros(score.shape, dtype=bool)
    for number in range(1, int(supervoxels.ids.max()) + 1):
        inside = supervoxels.ids == number
        expected[inside] = to_decades(score[inside].astype(float)).mean() >= 2
    np.testing.assert_array_equal(found.mask, expected)
    assert 0 < expected.sum() < expected.size
    assert found.snapped
    plain = find(anomaly_map, 0.99)
    assert not plain.snapped
    assert (plain.mask != found.mask).any()


def test_a_voxel_of_no_supervoxel_goes_by_its_own_score() -> None:
    score = np.full((4, 4, 4), 0.1, dtype=np.float32)
    score[0, 0, 0] = score[3, 3, 3] = 0.999
    supervoxels = blocks((4, 4, 4), 2)
    ids = supervoxels.ids.copy()
    ids[0, 0, 0] = 0
    loose = type(supervoxels)(ids, supervoxels.image, supervoxels.geometry)
    mask = find(a_map(score), 0.99, supervoxels=loose).mask
    assert mask[0, 0, 0] == 1
    assert mask.sum() == 1


def test_a_finding_extends_from_what_reaches_the_threshold_to_what_nearly_does() -> None:
    score = np.zeros((3, 3, 12), dtype=np.float32)
    score[1, 1, 1:6] = 0.995
    score[1, 1, 3] = 0.9995
    score[1, 1, 8:11] = 0.995  # nearly, and touched by nothing that does
    scan = a_map(score)
    assert find(scan, 0.999).items[0].voxels == 1
    extended = find(scan, 0.999, hysteresis=1.0)
    assert [finding.voxels for finding in extended] == [5]
    assert extended.hysteresis == 1.0
    assert extended.items[0].id == find(scan, 0.999).items[0].id
    assert find(scan, 0.999, hysteresis=0.2).items[0].voxels == 1
    assert [f.voxels for f in find(scan, 0.999, hysteresis=1.0, min_volume_mm3=4.0)] == [5]
    proposed = replace(scan, hysteresis=1.0)
    assert [finding.voxels for finding in find(proposed, 0.999)] == [5]
    assert find(proposed, 0.999, hysteresis=0.0).items[0].voxels == 1
    assert find(proposed, 0.9999).items == ()


def test_supervoxels_extend_too() -> None:
    score = np.zeros((2, 2, 8), dtype=np.float32)
    score[..., :2], score[..., 2:4], score[..., 6:] = 0.9995, 0.995, 0.995
    ids = np.repeat(np.arange(1, 5, dtype=np.uint16), 2)[None, None].repeat(2, 0).repeat(2, 1)
    scan = a_map(score)
    regions = Supervoxels(ids, np.zeros(ids.shape, np.float32), scan.geometry)
    found = find(scan, 0.999, supervoxels=regions, hysteresis=1.0)
    assert [finding.voxels for finding in found] == [16]


@pytest.mark.parametrize("hysteresis", [-0.1, float("nan")])
def test_refuses_an_extent_that_is_none(hysteresis: float) -> None:
    with pytest.raises(ValueError, match="hysteresis"):
        find(a_map(np.zeros((2, 2, 2), np.float32)), 0.5, hysteresis=hysteresis)


def test_edits_add_and_erase_whatever_the_threshold() -> None:
    score = np.zeros((5, 5, 5), dtype=np.float32)
    score[1, 1, 1:4] = 0.95
    strokes = np.zeros(score.shape, dtype=np.int8)
    strokes[1, 1, 2], strokes[4, 4, 4] = -1, 1
    found = find(a_map(score), 0.9, edits=Edits(strokes))
    assert {tuple(p) for p in np.argwhere(found.mask).tolist()} == {(1, 1, 1), (1, 1, 3), (4, 4, 4)}
    assert found.items[-1].peak == 0.0
    with pytest.raises(GridMismatch, match="corrections have shape"):
        find(a_map(score), 0.9, edits=Edits(strokes[:4]))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_refuses_a_threshold_that_is_no_score(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        find(a_map(np.zeros((2, 2, 2))), threshold)


def test_many_findings_need_wider_labels() -> None:
    score = np.zeros((82, 82, 82), dtype=np.float32)
    score[::2, ::2, ::2] = 0.9
    found = find(a_map(score), 0.5)
    assert len(found) == 41**3
    assert found.labels.dtype == np.uint32
    assert found.labels.max() == 41**3


def test_labels_are_small_and_read_only() -> None:
    found = find(a_map(np.ones((2, 2, 2))), 0.5)
    assert found.labels.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        found.labels[0, 0, 0] = 3


def test_by_id() -> None:
    score = np.zeros((3, 3, 3))
    score[1, 1, 1] = 1
    found = find(a_map(score), 0.5)
    assert found.by_id(13) == found.items[0]
    assert found.by_id(0) is None
