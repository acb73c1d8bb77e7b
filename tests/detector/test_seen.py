import pytest
import torch

from napari_anomaly.detector.seen import as_seen, even_out
from napari_anomaly.intensities import HEADROOM, normalise
from napari_anomaly.networks.bias_field import ZERO
from round_head import SIDES, axes_of, head, round_atlas

FINE = tuple(3 * side for side in SIDES)


@pytest.fixture(scope="module")
def atlas():
    return round_atlas()


@pytest.fixture(scope="module")
def mask():
    return head(FINE) < 1


@pytest.fixture(scope="module")
def uneven(mask):
    """White matter within grey, brighter on one side, with a hole of exact zeros and fluid that outshines it."""
    z, y, x = torch.meshgrid(*axes_of(FINE), indexing="ij")
    noise = torch.randn(FINE, generator=torch.Generator().manual_seed(0))
    image = torch.where(head(FINE) < 0.6, 0.9, 0.5) + 0.02 * noise
    image[30:36, 38:44, 30:36] = 2.6
    image = (image - ZERO) * torch.exp(0.25 * x - 0.2 * y + 0.1 * z) + ZERO
    image[36:44, 20:26, 30:44] = 0
    return normalise(image, mask)


def slope(image, mask):
    """How much brighter white matter is at the left end than in the middle."""
    white = mask & (head(FINE) < 0.5) & (image != 0) & (image < 1.3)
    x = torch.meshgrid(*axes_of(FINE), indexing="ij")[2]
    values, places = image[white], x[white]
    return abs(float(torch.cov(torch.stack((values, places)))[0, 1] / places.var()))


def test_a_gain_is_taken_out_and_the_rest_is_kept(uneven, mask, atlas):
    even = even_out(uneven, mask, atlas)
    assert slope(uneven, mask) > 0.2
    assert slope(even, mask) < 0.4 * slope(uneven, mask)
    assert bool(((even == 0) == (uneven == 0))[~mask].all())
    assert bool((even[36:44, 20:26, 30:44] == 0).all())
    bright = even[31:35, 39:43, 31:35]
    assert float(bright.min()) > 1.2


def test_what_is_seen_follows_what_was_learned(uneven, mask, atlas):
    assert torch.equal(as_seen(uneven, mask, atlas, even=False, ceiling=False), uneven)
    assert float(as_seen(uneven, mask, atlas, even=False).max()) < 1 + HEADROOM + 1e-6
    assert torch.equal(as_seen(uneven, mask, atlas, ceiling=False), even_out(uneven, mask, atlas))
    both = as_seen(uneven, mask, atlas)
    assert float(both.max()) < 1 + HEADROOM + 1e-6
    assert slope(both, mask) < 0.4 * slope(uneven, mask)


def test_without_an_atlas_nothing_is_evened_out(uneven, mask, atlas):
    assert torch.equal(even_out(uneven, mask, torch.zeros_like(atlas)), uneven)
    assert torch.equal(as_seen(uneven, mask, None, ceiling=False), uneven)
