import pytest
import torch

from napari_anomaly.networks.joint import ATLAS_SHAPE, TISSUE_CHANNELS
from napari_anomaly.networks.tissue import fit_tissues, plane_maps, volume_maps
from round_head import SIDES, axes_of, head, round_atlas

FINE = tuple(3 * side for side in SIDES)


@pytest.fixture(scope="module")
def atlas():
    return round_atlas()


def scan(sides, white, grey, *, lesion=None):
    distance = head(sides)
    generator = torch.Generator().manual_seed(0)
    image = torch.where(distance < 0.6, white, grey) + 0.03 * torch.randn(sides, generator=generator)
    spot = tuple(slice(int(side * 0.45), int(side * 0.55)) for side in sides)
    if lesion is not None:
        image[spot] = lesion
    return image * (distance < 1), (distance < 1).float(), spot


@pytest.mark.parametrize(("white", "grey"), [(0.9, 0.5), (0.2, 0.4)])
def test_tissues_are_found_in_any_contrast(atlas, white, grey):
    image, share, _ = scan(SIDES, white, grey)
    model = fit_tissues(atlas, image, share, axes_of(SIDES))
    assert model.mean[0] == pytest.approx(white, abs=0.05)
    assert model.mean[1] == pytest.approx(grey, abs=0.05)
    assert model.prior.sum(0) == pytest.approx(torch.ones(SIDES), abs=1e-5)


@pytest.mark.parametrize(
    ("white", "grey", "lesion", "sign"), [(0.9, 0.5, 0.3, -1), (0.2, 0.4, 0.8, 1), (0.5, 0.7, 1.2, 1)]
)
def test_a_lesion_is_untypical_and_brighter_or_darker_in_any_contrast(atlas, white, grey, lesion, sign):
    image, share, spot = scan(SIDES, white, grey, lesion=lesion)
    model = fit_tissues(atlas, image, share, axes_of(SIDES))
    untypical, excess = volume_maps(model, image)[0, :2]
    normal = share > 0
    normal[spot] = False
    assert untypical[spot].mean() > untypical[normal].quantile(0.95)
    assert sign * excess[spot].mean() > 0.3
    assert abs(float(excess[normal].mean())) < 0.1
    # the same voxel in a scan without it is typical
    healthy = volume_maps(model, scan(SIDES, white, grey)[0])[0, 0]
    assert healthy[spot].mean() < untypical[spot].mean() - 0.3


@pytest.mark.parametrize(("white", "grey"), [(0.9, 0.5), (0.2, 0.4)])
def test_what_a_voxel_looks_like_is_the_same_in_any_contrast(atlas, white, grey):
    # a lesion of white matter that looks like grey matter
    image, share, spot = scan(SIDES, white, grey, lesion=grey)
    model = fit_tissues(atlas, image, share, axes_of(SIDES))
    maps = volume_maps(model, image)[0]
    looks, expected = maps[2:5], maps[5:8]
    assert expected.sum(0)[share > 0] == pytest.approx(torch.ones(int(share.sum())), abs=1e-5)
    assert (looks >= 0).all()
    assert (looks.sum(0) <= 1 + 1e-5).all()
    assert expected[:, *spot].mean((1, 2, 3)).argmax() == 0
    inner = (head(SIDES) < 0.45) & (share > 0)
    inner[spot] = False
    assert looks[0][inner].mean() > 0.8
    # an atlas that is sure of white matter doubts what it sees
    assert looks[0][spot].mean() < 0.75 * looks[0][inner].mean()
    assert looks[1][head(SIDES) > 0.75][share[head(SIDES) > 0.75] > 0].mean() > 0.8


def test_fluid_is_as_bright_in_the_ventricles_as_outside():
    distance = head(ATLAS_SHAPE[1:])
    atlas = torch.zeros(ATLAS_SHAPE)
    atlas[3] = torch.sigmoid(20 * (0.4 - distance))
    atlas[0] = torch.sigmoid(20 * (distance - 0.4)) * torch.sigmoid(20 * (0.75 - distance))
    atlas[4] = torch.sigmoid(20 * (distance - 0.75)) * (distance < 1)
    image, share, _ = scan(SIDES, 0.6, 0.1)
    # small ventricles, beside an atlas of large ones
    image = torch.where(head(SIDES) < 0.2, 0.1, image) * (share > 0)
    image = torch.where((head(SIDES) > 0.6) & (head(SIDES) < 0.75), 0.6, image)
    model = fit_tissues(atlas, image, share, axes_of(SIDES))
    assert model.mean[3] == model.mean[4] == pytest.approx(0.1, abs=0.06)
    assert model.spread[3] == model.spread[4]
    assert model.mean[0] == pytest.approx(0.6, abs=0.05)


def test_slices_of_the_fine_grid_say_the_same_as_the_coarse_volume(atlas):
    coarse, share, _ = scan(SIDES, 0.9, 0.5, lesion=0.3)
    fine, _, spot = scan(FINE, 0.9, 0.5, lesion=0.3)
    model = fit_tissues(atlas, coarse, share, axes_of(SIDES))
    positions = torch.tensor([10, FINE[0] // 2])
    maps = plane_maps(model, fine, positions)
    assert maps.shape == (2, TISSUE_CHANNELS, *FINE[1:])
    assert maps[1, 0][spot[1:]].mean() == pytest.approx(
        float(volume_maps(model, coarse)[0, 0, SIDES[0] // 2, SIDES[1] // 2, SIDES[2] // 2]), abs=0.1
    )
    assert (maps[:, :, 0, 0] == 0).all()


def test_without_an_atlas_nothing_is_said():
    image, share, _ = scan(SIDES, 0.9, 0.5)
    assert fit_tissues(torch.zeros(ATLAS_SHAPE), image, share, axes_of(SIDES)) is None
    assert not volume_maps(None, image).any()
    assert volume_maps(None, image).shape == (1, TISSUE_CHANNELS, *SIDES)
    assert plane_maps(None, image, torch.tensor([3])).shape == (1, TISSUE_CHANNELS, *SIDES[1:])


def test_an_empty_scan_has_no_tissues(atlas):
    nothing = torch.zeros(SIDES)
    assert fit_tissues(atlas, nothing, nothing, axes_of(SIDES)) is None
