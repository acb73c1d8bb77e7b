import numpy as np
import pytest
from scipy import ndimage

from napari_anomaly.proxy import superpixel_image, supervoxels

SHAPE = (24, 30, 36)
ONE_MM = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def halves():
    """Give dark and bright tissue with a slanted border between them."""
    z, y, x = np.indices(SHAPE)
    noise = np.random.default_rng(0).normal(0, 2, SHAPE)
    return (np.where(x + 0.5 * y - 0.3 * z > 24, 100, 20) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def mask():
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 3:-3, 4:-4] = True
    return inside


@pytest.fixture(scope="module")
def ids(halves, mask):
    return supervoxels(halves, mask, spacing=ONE_MM, size_mm3=125)


def test_the_image_is_the_mean_of_every_supervoxel(halves, ids):
    image = superpixel_image(halves, ids)
    slow = np.zeros(SHAPE, np.float32)
    for one in np.unique(ids[ids > 0]):
        slow[ids == one] = halves[ids == one].mean()
    assert np.allclose(image, slow, atol=1e-3)
    assert not np.allclose(superpixel_image(halves[::-1], ids), slow, atol=1)
    assert not image[ids == 0].any()


def test_ids_count_from_1_within_the_mask(ids, mask):
    assert np.array_equal(ids > 0, mask)
    assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1))


@pytest.mark.parametrize("size_mm3", [64, 512])
def test_supervoxels_have_the_size_asked_for(halves, mask, size_mm3):
    ids = supervoxels(halves, mask, spacing=ONE_MM, size_mm3=size_mm3)
    assert mask.sum() / ids.max() == pytest.approx(size_mm3, rel=0.5)


def test_size_is_in_mm_whatever_the_spacing(halves, mask):
    thick = (4.0, 1.0, 1.0)
    ids = supervoxels(halves, mask, spacing=thick, size_mm3=500)
    assert 4 * mask.sum() / ids.max() == pytest.approx(500, rel=0.6)
    extents = ndimage.find_objects(ids)
    along = [np.median([part[axis].stop - part[axis].start for part in extents]) for axis in range(3)]
    assert along[0] < 0.6 * along[1]


def test_supervoxels_follow_borders_that_cubes_cross(halves, mask, ids):
    def lost(labels):
        return np.abs(superpixel_image(halves, labels) - halves)[mask].mean()

    cubes = np.ravel_multi_index(tuple(np.indices(SHAPE) // 5), (5, 6, 8)).astype(np.uint16) + 1
    assert lost(ids) < 0.5 * lost(np.where(mask, cubes, 0).astype(np.uint16))


def test_the_same_scan_gives_the_same_supervoxels(halves, mask, ids):
    assert np.array_equal(supervoxels(halves, mask, spacing=ONE_MM, size_mm3=125), ids)
    assert np.array_equal(supervoxels(halves * 40 + 900, mask, spacing=ONE_MM, size_mm3=125), ids)
    assert not np.array_equal(supervoxels(halves[::-1], mask, spacing=ONE_MM, size_mm3=125), ids)


def test_nothing_has_no_supervoxels(halves, mask):
    ids = supervoxels(halves, np.zeros_like(mask), spacing=ONE_MM, size_mm3=125)
    assert not ids.any()
    assert not superpixel_image(halves, ids).any()


def test_a_constant_scan_and_whole_numbers_work_too(mask):
    voxels = np.full(SHAPE, 7, np.int16)
    ids = supervoxels(voxels, mask, spacing=ONE_MM, size_mm3=125)
    assert set(np.unique(superpixel_image(voxels, ids))) == {0, 7}


def test_there_are_never_more_than_fit_their_numbers():
    # 2 mm along every side would make 81,000 of them
    voxels = np.random.default_rng(0).normal(0, 1, (80, 90, 90)).astype(np.float32)
    mask = np.ones(voxels.shape, bool)
    ids = supervoxels(voxels, mask, spacing=ONE_MM, size_mm3=8, iterations=1)
    assert 20_000 < ids.max() <= 60_000
    assert ids.min() == 1
    assert mask.sum() / ids.max() < 40
