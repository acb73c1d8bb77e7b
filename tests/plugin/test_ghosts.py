"""Ghosts are outlines with gaps, on the slices that are looked at."""

import numpy as np
import pytest

from napari_anomaly.plugin.ghosts import dashed

PLACES = np.indices((17, 17, 17)) - 8
BALL = np.linalg.norm(PLACES, axis=0) <= 6.5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_slice_has_an_outline_with_gaps(axis: int) -> None:
    ghost = np.moveaxis(dashed(BALL, axis), axis, 0)
    whole = np.moveaxis(BALL, axis, 0)
    middle, inside = ghost[8], whole[8]
    assert not (ghost & ~whole).any()
    assert np.count_nonzero(inside) > 20
    # Nothing within the outline, and about half of the outline itself.
    assert not middle[5:12, 5:12].any()
    round_it = np.count_nonzero(inside) - np.count_nonzero(
        inside[1:-1, 1:-1] & inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2]
    )
    assert 0.3 * round_it < np.count_nonzero(middle) < 0.7 * round_it


def test_a_tiny_ghost_has_no_gaps() -> None:
    tiny = np.zeros((5, 5, 5), bool)
    tiny[2, 1:4, 1:4] = True
    assert np.count_nonzero(dashed(tiny, 0)) == 8


def test_in_3d_it_is_the_surface() -> None:
    shell = dashed(BALL, None)
    assert not shell[6:11, 6:11, 6:11].any()
    assert shell[2, 8, 8]
    assert not (shell & ~BALL).any()
