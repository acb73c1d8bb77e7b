import pytest
import torch

from napari_anomaly.pretask import blending

SIDES = (9, 11, 13)
ONE, NONE = torch.ones(SIDES), torch.zeros(SIDES)


@pytest.fixture
def patch():
    return torch.rand(SIDES, generator=torch.Generator().manual_seed(0))


def test_smooth_is_the_mean_of_the_neighbours_that_exist(patch):
    smooth = blending.smooth(patch, 3)
    assert smooth[4, 5, 6] == pytest.approx(float(patch[3:6, 4:7, 5:8].mean()), abs=1e-6)
    assert smooth[0, 0, 0] == pytest.approx(float(patch[:2, :2, :2].mean()), abs=1e-6)
    assert torch.allclose(blending.smooth(ONE, 5), ONE)


def test_smooth_leaves_what_is_smaller_than_its_width(patch):
    assert blending.smooth(patch, 1) is patch
    assert blending.smooth(patch, 11) is patch
    assert not torch.equal(blending.smooth(patch, 9), patch)


WAYS = {
    "shift": lambda patch, alpha: blending.shift(patch, alpha, 0.4, torch.full(SIDES, 0.3)),
    "replace": lambda patch, alpha: blending.replace(patch, alpha, 0.4, torch.full(SIDES, 0.3)),
    "rim": lambda patch, alpha: blending.rim(patch, alpha, 2.0, -1.0),
    "transplant": lambda patch, alpha: blending.transplant(patch, alpha, patch.flip(0)),
    "blur": lambda patch, alpha: blending.blur(patch, alpha, 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_painting_is_pure_and_only_where_the_anomaly_is(patch, way):
    before, alpha = patch.clone(), NONE.clone()
    alpha[2:5] = 1
    after = WAYS[way](patch, alpha)
    assert torch.equal(patch, before)
    assert torch.allclose(after[5:], patch[5:])
    assert not torch.allclose(after[2:5], patch[2:5], atol=1e-2)
    assert torch.allclose(WAYS[way](patch, NONE), patch)


def test_a_shift_adds_and_its_texture_varies_it_within_limits(patch):
    assert torch.allclose(blending.shift(patch, 0.5 * ONE, 0.4), patch + 0.2)
    for texture, factor in ((0.3, 1.3), (-5.0, 0.2), (5.0, 2.0)):
        shifted = blending.shift(patch, ONE, 0.4, torch.full(SIDES, texture))
        assert torch.allclose(shifted, patch + 0.4 * factor, atol=1e-6)


def test_a_replacement_hides_what_was_there(patch):
    assert torch.allclose(blending.replace(patch, ONE, 0.7), 0.7 * ONE)
    assert torch.allclose(blending.replace(patch, ONE, 0.7, patch), patch + 0.7)
    assert torch.allclose(blending.replace(patch, 0.5 * ONE, 0.7), 0.5 * patch + 0.35)


def test_a_rim_has_a_wall_and_a_core(patch):
    assert torch.allclose(blending.rim(patch, ONE, 2.0, -1.0), -ONE)
    assert torch.allclose(blending.rim(patch, 0.6 * ONE, 2.0, -1.0), 0.4 * patch + 1.2)


def test_a_transplant_is_the_foreign_patch(patch):
    assert torch.equal(blending.transplant(patch, ONE, patch.flip(1)), patch.flip(1))


def test_blur_takes_detail(patch):
    assert blending.blur(patch, ONE, 3).std() < 0.3 * patch.std()


def dot_after(strength, at=(4, 5, 8)):
    patch = torch.zeros(SIDES)
    patch[at] = 1
    moved = blending.displace(patch, (4.0, 5.0, 6.0), 6.0, strength)
    return float((moved * torch.arange(SIDES[2])).sum() / moved.sum())


def test_tissue_is_pushed_away_or_drawn_in():
    assert dot_after(0.5) > 8.3
    assert dot_after(-0.5) < 7.7
    assert dot_after(0.0) == pytest.approx(8.0, abs=1e-4)


def test_a_push_ends_at_its_radius_and_moves_no_constant(patch):
    before = patch.clone()
    moved = blending.displace(patch, (4.0, 5.0, 3.0), 3.0, 0.5)
    assert torch.equal(patch, before)
    assert torch.allclose(moved[..., 7:], patch[..., 7:], atol=1e-5)
    assert not torch.allclose(moved[..., :7], patch[..., :7], atol=1e-2)
    assert torch.allclose(blending.displace(ONE, (4.0, 5.0, 6.0), 6.0, 0.5), ONE)
