import numpy as np
import pytest
import torch

from napari_anomaly.networks.bias_field import ZERO, log_bias
from round_head import SIDES, axes_of, head, round_atlas


@pytest.fixture(scope="module")
def atlas():
    return round_atlas()


def gain(strength):
    """More signal on one side and in front, as near the elements of a coil."""
    z, y, x = torch.meshgrid(*axes_of(SIDES), indexing="ij")
    field = strength * (0.6 * x - 0.5 * y + 0.4 * z * y + 0.3 * x**2)
    return field - field[head(SIDES) < 0.9].mean()


def scan(field, *, lesion=None, white=0.9, grey=0.5):
    distance = head(SIDES)
    image = torch.where(distance < 0.6, white, grey) + 0.02 * torch.randn(
        SIDES, generator=torch.Generator().manual_seed(0)
    )
    spot = torch.zeros(SIDES, dtype=torch.bool)
    spot[8:16, 6:14, 6:14] = True
    if lesion is not None:
        image[spot] = lesion
    seen = (image - ZERO) * torch.exp(field) + ZERO
    inside = distance < 1
    return seen * inside, inside.float(), spot


def left(found, true, share):
    inside = share > 0.9
    apart = (found - true)[inside]
    return float(apart.std() / true[inside].std())


@pytest.mark.parametrize(("white", "grey"), [(0.9, 0.5), (0.2, 0.45)])
@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_a_smooth_gain_is_told_from_tissue(atlas, strength, white, grey):
    true = gain(strength)
    image, share, _ = scan(true, white=white, grey=grey)
    found = log_bias(atlas, image, share, axes_of(SIDES))
    assert left(found, true, share) < 0.35
    assert float(found[share > 0.9].mean()) == pytest.approx(0, abs=1e-5)


def test_an_even_scan_stays_even(atlas):
    image, share, _ = scan(gain(0.0))
    found = log_bias(atlas, image, share, axes_of(SIDES))
    assert float(found[share > 0.9].std()) < 0.02


@pytest.mark.parametrize("lesion", [1.6, 0.1])
def test_a_large_lesion_does_not_pull_at_the_field(atlas, lesion):
    true = gain(0.3)
    image, share, spot = scan(true, lesion=lesion)
    found = log_bias(atlas, image, share, axes_of(SIDES))
    assert left(found, true, share) < 0.5
    # of a difference of half the brain's range or more, most is left
    own = float((found - true)[spot].mean() - (found - true)[(share > 0.9) & ~spot].mean())
    assert abs(own) < 0.1 * np.log((1.6 - ZERO) / (0.9 - ZERO))


def test_without_an_atlas_or_a_brain_nothing_is_told(atlas):
    image, share, _ = scan(gain(0.3))
    assert log_bias(torch.zeros_like(atlas), image, share, axes_of(SIDES)) is None
    assert log_bias(atlas, image, torch.zeros_like(share), axes_of(SIDES)) is None
