"""A click into a missed finding takes in all of it, and nothing of what surrounds it."""

import numpy as np
import pytest

from napari_anomaly.anomaly import Supervoxels
from napari_anomaly.geometry import Geometry
from napari_anomaly.growth import REACH_MM, grown
from napari_anomaly.proxy import superpixel_image
from phantoms import blocks

SHAPE = (24, 24, 24)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[8:16, 8:16, 4:16] = True


def proxy(noise: float, seed: int = 0, *, contrast: float = 40.0, side: int = 4) -> Supervoxels:
    voxels = np.where(INSIDE, 80.0 + contrast, 80.0) + np.random.default_rng(seed).normal(0, noise, SHAPE)
    cubes = blocks(SHAPE, side)
    return Supervoxels(cubes.ids, superpixel_image(voxels, cubes.ids), cubes.geometry)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("contrast", [40.0, -40.0])
def test_it_takes_in_all_that_stands_out(seed: int, contrast: float) -> None:
    flat = grown(proxy(8.0, seed, contrast=contrast), (9, 9, 9))
    assert np.array_equal(flat, np.flatnonzero(INSIDE))


def test_any_of_its_supervoxels_does() -> None:
    supervoxels = proxy(4.0)
    for index in ((8, 8, 4), (15, 15, 15), (11, 12, 13)):
        assert np.array_equal(grown(supervoxels, index), np.flatnonzero(INSIDE))


def test_a_second_one_that_does_not_touch_stays_out() -> None:
    supervoxels = proxy(4.0)
    image = supervoxels.image.copy()
    image[20:, 20:, 20:] = 120.0
    flat = grown(Supervoxels(supervoxels.ids, image, supervoxels.geometry), (9, 9, 9))
    assert np.array_equal(flat, np.flatnonzero(INSIDE))


def test_where_nothing_stands_out_it_is_that_one() -> None:
    supervoxels = proxy(0.0, contrast=0.0)
    flat = grown(supervoxels, (9, 9, 9))
    assert np.array_equal(flat, np.flatnonzero(supervoxels.ids == supervoxels.ids[9, 9, 9]))


def test_outside_of_all_supervoxels_there_is_nothing() -> None:
    supervoxels = proxy(4.0)
    ids = supervoxels.ids.copy()
    ids[9, 9, 9] = 0
    assert grown(Supervoxels(ids, supervoxels.image, supervoxels.geometry), (9, 9, 9)).size == 0


def test_it_ends_at_its_reach() -> None:
    shape = (4, 4, 200)
    geometry = Geometry.from_spacing(shape, (1.0, 1.0, 1.0))
    cubes = blocks(shape, 4, geometry)
    image = np.where(np.arange(200) < 190, 100.0, 20.0) * np.ones(shape)
    flat = grown(Supervoxels(cubes.ids, image.astype(np.float32), geometry), (2, 2, 2))
    places = np.unravel_index(flat, shape)[2]
    assert places.max() <= 2 + REACH_MM
