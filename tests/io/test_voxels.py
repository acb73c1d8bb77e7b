import numpy as np
import pytest

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.io.voxels import finite, native, one_volume


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("?", "u1"), (">i2", "i2"), ("<f4", "f4"), ("f2", "f4"), ("g", "f8"), (">f8", "f8"), ("u1", "u1")],
)
def test_native(dtype: str, expected: str) -> None:
    array = np.array([[[0, 1]]]).astype(dtype)
    result = native(array)
    assert result.dtype == np.dtype(expected)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, array)


def test_finite_arrays_are_passed_on_as_they_are() -> None:
    for array in (np.ones((2, 2, 2)), np.ones((2, 2, 2), dtype=np.int16)):
        assert finite(array, "x")[0] is array
        assert finite(array, "x")[1] == ()


def test_numbers_that_are_not_finite_become_the_nearest_ones() -> None:
    array = np.array([[[np.nan, np.inf, -np.inf, 2.0, -3.0]]])
    result, notes = finite(array, "x")
    np.testing.assert_array_equal(result, [[[-3.0, 2.0, -3.0, 2.0, -3.0]]])
    assert notes == (
        "3 of 5 voxels are not a finite number (NaN or infinite): "
        "shown as -3, the smallest value in the scan (infinite ones as 2, the largest).",
    )
    assert np.isnan(array[0, 0, 0])


def test_nothing_finite_is_refused() -> None:
    with pytest.raises(UnreadableScan, match="scan-1 holds not one finite number in 8 voxels"):
        finite(np.full((2, 2, 2), np.inf), "scan-1")


def test_the_volume_that_was_chosen_is_read_or_the_only_one() -> None:
    assert one_volume("x", 1, None) == 0
    assert one_volume("x", 3, 0) == 0
    assert one_volume("x", 3, 2) == 2


def test_several_volumes_and_none_chosen_are_a_question() -> None:
    with pytest.raises(
        UnreadableScan, match=r"^x holds 3 volumes; one is needed. Choose a volume from 0 to 2\.$"
    ):
        one_volume("x", 3, None)
    with pytest.raises(UnreadableScan, match=r"^x holds 3 volumes \(axes TZYX\); one is needed"):
        one_volume("x", 3, None, axes="TZYX")


@pytest.mark.parametrize("chosen", [3, -1])
def test_a_volume_that_is_not_there_is_named(chosen: int) -> None:
    with pytest.raises(
        UnreadableScan, match=rf"^x has no volume {chosen}; it holds 3. Choose a volume from 0 to 2"
    ):
        one_volume("x", 3, chosen)
