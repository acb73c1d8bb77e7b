import numpy as np
import pytest

from napari_anomaly.training.proxies import LEVELS, make_proxy

KINDS = ("superpixels", "supervoxels", "blurred", "quantised", "edges", "image")


def scan(seed=0):
    """Two halves of different brightness with noise, in a box."""
    image = np.random.default_rng(seed).normal(0, 0.05, (6, 40, 32)).astype(np.float32)
    image[:, :, 16:] += 1
    mask = np.zeros(image.shape, bool)
    mask[1:5, 4:36, 4:28] = True
    return np.where(mask, image, 0).astype(np.float32), mask


def made(kind, side_mm=12.0):
    image, mask = scan()
    return make_proxy(kind, image, mask, side_mm), image, mask


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_is_0_outside_and_something_inside(kind):
    proxy, _, mask = made(kind)
    assert proxy.dtype == np.float32
    assert proxy.shape == mask.shape
    assert (proxy[~mask] == 0).all()
    assert proxy[mask].std() > 0
    assert np.isfinite(proxy).all()


@pytest.mark.parametrize("kind", ["superpixels", "supervoxels", "blurred"])
def test_noise_goes_and_the_halves_stay(kind):
    proxy, image, _ = made(kind)
    for half in (slice(8, 13), slice(20, 25)):
        place = (slice(2, 4), slice(10, 30), half)
        assert proxy[place].std() < 0.7 * image[place].std()
    assert abs(proxy[2, 20, 10]) < 0.1
    assert abs(proxy[2, 20, 22] - 1) < 0.1


def test_superpixels_keep_the_edge_that_a_blur_loses():
    sharp, blurred = (made(kind)[0] for kind in ("superpixels", "blurred"))
    step = [proxy[2, 10:30, 16] - proxy[2, 10:30, 15] for proxy in (sharp, blurred)]
    assert step[0].mean() > 2 * step[1].mean()


def test_superpixels_are_few_values_that_grow_with_their_side():
    counts = [len(np.unique(made("superpixels", side)[0][2])) for side in (8.0, 24.0)]
    assert counts[1] < counts[0] < 32 * 24 / 4


def test_superpixels_look_at_one_slice_and_supervoxels_at_several():
    image, mask = scan()
    other = image.copy()
    other[3] += np.where(mask[3], np.linspace(0, 2, 40)[:, None], 0).astype(np.float32)
    flat, solid = (
        [make_proxy(kind, given, mask, 12.0)[2] for given in (image, other)]
        for kind in ("superpixels", "supervoxels")
    )
    assert np.array_equal(*flat)
    assert not np.array_equal(*solid)


def test_a_quantised_image_has_its_levels():
    proxy, _, mask = made("quantised")
    assert len(np.unique(proxy[mask])) == LEVELS


def test_edges_lie_between_the_halves():
    proxy, _, _ = made("edges")
    assert proxy[2, 10:30, 15:17].mean() > 5 * proxy[2, 10:30, 8:12].mean()


def test_the_image_is_its_own_proxy():
    proxy, image, _ = made("image")
    assert np.array_equal(proxy, image)
    assert not np.array_equal(made("superpixels")[0], image)


def test_an_empty_region_gives_an_empty_proxy():
    image, mask = scan()
    assert (make_proxy("superpixels", image, np.zeros_like(mask), 12.0) == 0).all()
    assert (make_proxy("superpixels", image, mask, 12.0) != 0).any()
