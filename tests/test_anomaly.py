import numpy as np
import pytest

from napari_anomaly.anomaly import FalseFindings, Supervoxels, from_decades, to_decades
from napari_anomaly.errors import GridMismatch
from napari_anomaly.geometry import Geometry
from phantoms import a_map, blocks

TABLE = FalseFindings((0.9, 0.99, 0.999), (0.0, 100.0), ((20.0, 10.0), (8.0, 2.0), (1.0, 0.0)))


@pytest.mark.parametrize(
    ("score", "decades"), [(0.0, 0.0), (0.9, 1.0), (0.999, 3.0), (1.0, 5.0), (0.9999999, 5.0)]
)
def test_decades(score: float, decades: float) -> None:
    assert float(to_decades(score)) == pytest.approx(decades, abs=1e-9)
    assert float(to_decades(np.float32(score))) == pytest.approx(decades, abs=1e-3)


def test_decades_of_nothing_are_plus_zero() -> None:
    assert not np.signbit(to_decades(np.zeros(3, dtype=np.float32))).any()
    assert to_decades(np.zeros(3, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(("decades", "score"), [(0.0, 0.0), (3.0, 0.999), (-1.0, 0.0), (9.0, 0.99999)])
def test_from_decades(decades: float, score: float) -> None:
    assert from_decades(decades) == pytest.approx(score)


@pytest.mark.parametrize(
    ("threshold", "volume", "expected"),
    [
        (0.9, 0.0, 20.0),
        (0.99, 100.0, 2.0),
        (0.99, 50.0, 5.0),
        (1 - 10**-1.5, 0.0, 14.0),
        (1 - 10**-2.5, 25.0, (6.5 + 0.75) / 2),
        (0.1, 0.0, 20.0),
        (1.0, 0.0, 1.0),
        (0.9, 1e6, 10.0),
        (0.9, -5.0, 20.0),
    ],
)
def test_expected_false_findings(threshold: float, volume: float, expected: float) -> None:
    assert TABLE.expected(threshold, volume) == pytest.approx(expected)


def test_a_table_of_one_number() -> None:
    assert FalseFindings((0.9,), (0.0,), ((3.0,),)).expected(0.5, 77.0) == 3.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (0.0,), ()), "thresholds must be"),
        (((0.9, 0.8), (0.0,), ((1.0,), (1.0,))), "thresholds must be"),
        (((0.9,), (1.0, 1.0), ((1.0, 1.0),)), "volumes_mm3 must be"),
        (((0.9,), (0.0,), ((1.0, 2.0),)), "1 rows of 1"),
        (((0.9,), (0.0,), ()), "got 0 rows"),
    ],
)
def test_refuses_a_table_that_does_not_fit(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FalseFindings(*arguments)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_refuses_scores_that_are_not_calibrated(value: float) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        a_map(np.full((2, 2, 2), value))


def test_refuses_arrays_on_another_grid() -> None:
    geometry = Geometry.from_spacing((2, 2, 3), (1, 1, 1))
    with pytest.raises(GridMismatch, match="score has shape"):
        a_map(np.zeros((2, 2, 2)), geometry=geometry)
    with pytest.raises(GridMismatch, match="raw score has shape"):
        a_map(np.zeros((2, 2, 3)), raw=np.zeros((2, 2, 2), dtype=np.float32), geometry=geometry)
    ids = np.zeros((2, 2, 2), dtype=np.uint16)
    with pytest.raises(GridMismatch, match="supervoxel ids has shape"):
        Supervoxels(ids, ids.astype(np.float32), geometry)


def test_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        a_map(np.zeros((2, 2, 2))).score[0, 0, 0] = 1


def test_the_fingerprint_follows_the_scores() -> None:
    score = np.zeros((2, 2, 2))
    same, other = a_map(score), score.copy()
    other[0, 1, 1] = 0.5
    assert a_map(score).sha256 == same.sha256
    assert a_map(other).sha256 != same.sha256


def test_mean_decades_of_supervoxels() -> None:
    score = np.zeros((2, 2, 4), dtype=np.float32)
    score[..., :2] = 0.9
    score[0, 0, 0] = 0.999
    supervoxels = blocks((2, 2, 4), 2)
    np.testing.assert_allclose(
        a_map(score).supervoxel_decades(supervoxels), [0, (7 * 1 + 3) / 8, 0], atol=1e-6
    )


def test_mean_decades_are_kept_for_the_same_supervoxels_only() -> None:
    anomaly_map = a_map(np.full((2, 2, 4), 0.9))
    first, second = blocks((2, 2, 4), 2), blocks((2, 2, 4), 1)
    assert anomaly_map.supervoxel_decades(first) is anomaly_map.supervoxel_decades(first)
    assert anomaly_map.supervoxel_decades(second).size == 17


def test_refuses_supervoxels_of_another_grid() -> None:
    with pytest.raises(GridMismatch, match="supervoxels have shape"):
        a_map(np.zeros((2, 2, 2))).supervoxel_decades(blocks((2, 2, 4), 2))
