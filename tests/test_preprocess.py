from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from bright_detector import Nothing, Outline
from napari_anomaly.errors import BadGeometry, WrongModality
from napari_anomaly.intensities import CLIP, HEADROOM, holes, normalise, soften
from napari_anomaly.networks.plane import PLANE_CHANNELS
from napari_anomaly.networks.volume import VOLUME_CHANNELS, VolumeFeatures
from napari_anomaly.preprocess import (
    FIELD,
    MULTIPLE,
    SLICE_OFFSETS_MM,
    Prepared,
    coordinates,
    extraction_inputs,
    find_brain,
    middle_of,
    place,
    plane_inputs,
    prepare,
    resample,
    silhouette,
    silhouette_fine,
    volume_inputs,
)
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan

CPU = torch.device("cpu")


def ball(shape, radius, *, at=None, spacing=(1.0, 1.0, 1.0)):
    """Mark voxels closer than `radius` mm to the middle of the grid."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    middle = (np.array(shape) - 1) / 2 if at is None else np.array(at)
    return np.linalg.norm((index - middle) * spacing, axis=-1) < radius


def tissue(shape, radius, *, spacing=(1.0, 1.0, 1.0), at=None):
    """Give a ball of noisy tissue in air."""
    inside = ball(shape, radius, spacing=spacing, at=at)
    noise = np.random.default_rng(0).uniform(60, 100, shape)
    return np.where(inside, ndimage.gaussian_filter(noise, 0.7), 0).astype(np.float32)


class Dreamer(Outline):
    """A brain extraction that finds half a litre of brain in anything."""

    def forward(self, volume: torch.Tensor) -> VolumeFeatures:
        inside = torch.from_numpy(ball(volume.shape[2:], 18)).float()[None, None]
        return VolumeFeatures(20 * (inside - 0.5), volume, [])


# ----- there and back


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((41, 53, 47), (1.0, 1.0, 1.0)),
        ((21, 60, 31), (2.0, 1.0, 2.0)),
        ((17, 55, 43), (3.0, 1.2, 1.4)),
        ((90, 45, 33), (0.6, 1.1, 1.5)),
    ],
)
def test_a_voxel_comes_back_to_where_it_was(shape, spacing):
    # off the middle along every axis, by amounts of their own
    place_of = (shape[0] // 2 + 2, shape[1] // 2 - 5, shape[2] // 2 + 4)
    voxels = tissue(shape, 20, spacing=spacing)
    voxels[ball(shape, 3.1, spacing=spacing, at=place_of)] = 200
    prepared = prepare(Scan.from_array(voxels, spacing=spacing), None, device=CPU)
    assert prepared.shape == shape
    assert tuple(prepared.image.shape) == FIELD

    back = prepared.to_scan(prepared.image).numpy()
    assert back.shape == shape
    bright = back > 2
    assert ndimage.center_of_mass(bright) == pytest.approx(place_of, abs=0.35)
    assert np.array(ndimage.center_of_mass(bright[::-1])) != pytest.approx(place_of, abs=0.35)
    mask = prepared.to_scan(prepared.mask.float()).numpy() > 0.5
    assert mask[ball(shape, 19, spacing=spacing)].all()
    assert not mask[~ball(shape, 25, spacing=spacing)].any()


def test_a_large_region_is_seen_in_voxels_of_the_detector():
    voxels = tissue((41, 53, 47), 20)
    voxels[ball((41, 53, 47), 3.1, at=(22, 21, 27))] = 200
    scan = Scan.from_array(voxels, spacing=(3.0, 3.0, 3.0))
    prepared = prepare(scan, None, device=CPU, spacing_mm=2.5)
    assert (prepared.spacing_mm, prepared.slice_step) == (2.5, 1)
    assert prepared.canonical == (49, 64, 56)
    assert tuple(prepared.image.shape) == FIELD
    bright = prepared.to_scan(prepared.image).numpy() > 2
    assert ndimage.center_of_mass(bright) == pytest.approx((22, 21, 27), abs=0.35)
    assert prepare(scan, None, device=CPU).slice_step == 3


def test_a_scan_larger_than_any_patient_is_refused_before_it_costs_memory():
    scan = Scan.from_array(tissue((41, 53, 47), 20), spacing=(30.0, 30.0, 30.0))
    with pytest.raises(BadGeometry, match=r"30 x 30 x 30 mm large, so that it would be 123 x 159 x 141 cm"):
        prepare(scan, None, device=CPU)
    assert prepare(scan, None, device=CPU, spacing_mm=10.0).canonical == (123, 159, 141)


def test_on_its_own_grid_nothing_is_resampled():
    voxels = tissue((41, 53, 47), 20)
    prepared = prepare(Scan.from_array(voxels), None, device=CPU)
    # exact zeros between the tissue and its silhouette are background
    mask = silhouette_fine(torch.from_numpy(voxels)).numpy() & (voxels > 0)
    low, high = np.quantile(voxels[mask], (0.05, 0.95))
    wanted = np.where(mask, np.clip((voxels - low) / (high - low), *CLIP), 0)
    back = prepared.to_scan(prepared.image).numpy()
    assert np.allclose(back, wanted, atol=0.03)
    assert not np.allclose(back[::-1], wanted, atol=0.03)


def test_a_head_beyond_the_field_of_view_widens_it():
    voxels = np.zeros((180, 40, 40), np.float32)
    voxels[4:-4, 6:-6, 6:-6] = np.random.default_rng(0).uniform(60, 100, (172, 28, 28))
    prepared = prepare(Scan.from_array(voxels), None, device=CPU)
    depth = prepared.image.shape[0]
    assert depth >= 172
    assert depth % MULTIPLE == 0
    assert prepared.image.shape[1:] == FIELD[1:]
    assert prepared.to_scan(prepared.mask.float())[4:-4, 20, 20].min() > 0.5


def test_to_scan_gives_zero_beyond_the_field():
    cut = Prepared(
        image=torch.ones(4, 4, 4),
        mask=torch.ones(4, 4, 4, dtype=torch.bool),
        canonical=(10, 4, 3),
        centre=(7, 2, 1),
        shape=(10, 4, 3),
        slice_step=1,
    )
    back = cut.to_scan(torch.arange(64.0).reshape(4, 4, 4))
    assert back.shape == (10, 4, 3)
    assert not back[:5].any()
    assert not back[9:].any()
    assert torch.equal(back[5:9], torch.arange(64.0).reshape(4, 4, 4)[:, :, 1:])
    doubled = replace(cut, shape=(20, 8, 6)).to_scan(cut.image)
    assert doubled.shape == (20, 8, 6)
    assert doubled[12, 4, 3] == 1


def test_the_slices_that_are_worth_scoring_follow_the_spacing():
    steps = {
        spacing: prepare(
            Scan.from_array(tissue((16, 40, 40), 14), spacing=(spacing, 1.0, 1.0)), None, device=CPU
        ).slice_step
        for spacing in (0.8, 1.0, 2.5)
    }
    assert steps == {0.8: 1, 1.0: 1, 2.5: 2}


def test_what_is_no_number_counts_as_air():
    voxels = tissue((41, 53, 47), 20)
    spoiled = voxels.copy()
    spoiled[0, 0, :3] = (np.nan, np.inf, -np.inf)
    clean, other = (prepare(Scan.from_array(v), None, device=CPU) for v in (voxels, spoiled))
    assert other.image.isfinite().all()
    assert torch.equal(clean.image, other.image)


# ----- the right kind of scan


def head(offset=0.0, scale=1.0):
    scan = phantom((60, 72, 60), field_mm=150)
    return Scan.from_array(scan.voxels * scale + offset, affine=scan.geometry.affine, name="head")


def test_a_head_of_plausible_size_is_accepted_in_any_unit():
    plain, scaled = (prepare(scan, Outline(), device=CPU) for scan in (head(), head(0, 7)))
    assert 600 < float(plain.mask.sum()) / 1000 < 1800
    assert torch.allclose(plain.image, scaled.image, atol=1e-3)


def test_a_ct_is_refused_in_words():
    with pytest.raises(
        WrongModality, match=r"head looks like a CT: its darkest voxels are near -1000.*MR scans"
    ):
        prepare(head(-1000, 10), Outline(), device=CPU)
    assert prepare(head(-1000, 10), None, device=CPU).mask.any()


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((40, 40, 40), np.float32),
        np.full((40, 40, 40), 7, np.float32),
        np.random.default_rng(0).normal(100, 20, (40, 40, 40)).astype(np.float32),
        tissue((40, 40, 40), 15),
    ],
    ids=["empty", "constant", "noise", "an orange"],
)
def test_a_scan_without_a_brain_is_refused_in_words(voxels):
    with pytest.raises(
        WrongModality, match=r"No brain was recognised in array: \d+ ml .* 350 to 2400 ml are needed"
    ):
        prepare(Scan.from_array(voxels), Outline(), device=CPU)


def test_a_network_that_dreams_of_a_brain_is_not_asked_about_nothing():
    voxels = np.full((90, 100, 90), 7, np.float32)
    assert 400_000 < int(find_brain(torch.from_numpy(voxels), Dreamer()).sum()) < 800_000
    with pytest.raises(WrongModality, match="0 ml look like one"):
        prepare(Scan.from_array(voxels), Dreamer(), device=CPU)


@pytest.mark.parametrize("value", [0, 7])
def test_a_scan_that_shows_nothing_is_refused_for_any_region(value):
    blank = Scan.from_array(np.full((40, 40, 40), value, np.float32), name="blank")
    with pytest.raises(WrongModality, match="nothing to see in blank: it is equally bright everywhere"):
        prepare(blank, None, device=CPU)


def test_a_head_whose_brain_nobody_finds_is_refused():
    with pytest.raises(WrongModality, match="0 ml look like one"):
        prepare(head(), Nothing(), device=CPU)


# ----- the region


def test_the_silhouette_is_solid_and_whole_and_alone():
    inside = ball((50, 52, 54), 20)
    image = np.where(inside, 100.0, 0)
    image[ball((50, 52, 54), 6)] = 0
    image[2:4, 2:4, 2:4] = 100
    found = silhouette(torch.from_numpy(image.astype(np.float32))).numpy()
    assert found[25, 26, 27]
    assert not found[:5, :5, :5].any()
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.93


def test_the_fine_silhouette_agrees_with_the_plain_one():
    image = torch.from_numpy(tissue((51, 52, 55), 20))
    fine, plain = silhouette_fine(image), silhouette(image)
    assert fine.shape == image.shape
    # voxels of 2 mm hold it 2 mm wider, and it loses nothing
    assert fine[plain].float().mean() > 0.99
    assert not fine[torch.from_numpy(~ndimage.binary_dilation(plain.numpy(), iterations=4))].any()


def test_an_empty_scan_has_no_silhouette():
    assert not silhouette(torch.zeros(20, 20, 20)).any()


def test_the_middle_is_that_of_the_bounding_box():
    mask = torch.zeros(10, 20, 30, dtype=torch.bool)
    assert middle_of(mask) == (5, 10, 15)
    mask[2:4, 5:15, 7] = True
    mask[3, 19, 7] = True
    assert middle_of(mask) == (3, 12, 7)


def test_the_brain_is_looked_for_again_where_it_was_found():
    voxels = np.zeros((200, 150, 150), np.float32)
    voxels[ball(voxels.shape, 55, at=(140, 70, 80))] = 100
    found = find_brain(torch.from_numpy(voxels), Outline()).numpy()
    assert found[ball(voxels.shape, 54, at=(140, 70, 80))].all()
    assert not found[~ball(voxels.shape, 60, at=(140, 70, 80))].any()
    assert not find_brain(torch.from_numpy(voxels), Nothing()).any()


# ----- what the networks see


def test_what_shines_is_bent_towards_a_ceiling_and_keeps_its_order():
    seen = soften(torch.tensor([-0.4, 0.0, 0.7, 1.0, 1.1, 1.5, 2.5]))
    assert torch.equal(seen[:4], torch.tensor([-0.4, 0.0, 0.7, 1.0]))
    assert bool((seen.diff() >= 0).all())
    assert seen[4] == pytest.approx(1.1, abs=0.02)
    assert 1.15 < float(seen[5]) < float(seen[6]) <= 1 + HEADROOM


def test_normalised_tissue_spans_0_to_1():
    image = torch.from_numpy(tissue((50, 52, 54), 20)) * 13 + 400
    mask = torch.from_numpy(ball((50, 52, 54), 18))
    scaled = normalise(image, mask)
    low, high = np.quantile(scaled[mask], (0.05, 0.95))
    assert (low, high) == pytest.approx((0, 1), abs=0.03)
    assert not scaled[~mask].any()
    assert torch.allclose(normalise(3 * image - 50, mask), scaled, atol=1e-3)
    assert not torch.allclose(normalise(-image, mask), scaled, atol=0.1)


def test_zeros_that_brain_extraction_left_are_background():
    image = torch.from_numpy(tissue((50, 52, 54), 20)) * 13 + 400
    brain, wide = (torch.from_numpy(ball((50, 52, 54), radius)) for radius in (18, 21))
    stripped = torch.where(brain, image, torch.zeros(()))
    wanted = normalise(image, brain)
    assert torch.allclose(normalise(stripped, wide), wanted, atol=0.02)
    # without the zeros, what lies beyond the brain counts
    assert not torch.allclose(normalise(image, wide), wanted, atol=0.02)
    # normalised once more, all is as it was
    again = normalise(normalise(stripped, wide), wide)
    assert torch.allclose(again[brain], wanted[brain], atol=0.05)


def test_zeros_by_themselves_are_values_like_any_other():
    chance = torch.rand(40, 40, 40, generator=torch.Generator().manual_seed(0))
    water = torch.where(chance < 0.01, torch.zeros(()), 20 + 40 * chance)
    everywhere = torch.ones_like(water, dtype=torch.bool)
    assert not holes(water, everywhere).any()
    assert (normalise(water, everywhere)[chance < 0.01] < -0.2).all()
    water[10:13, 5:30, 5:30] = 0
    assert holes(water, everywhere)[11, 6:29, 6:29].all()
    assert holes(water, everywhere).sum() < 1.3 * 3 * 25 * 25


def test_a_few_zeros_and_most_zeros_are_tissue():
    image, chance = torch.rand(2, 30, 30, 30, generator=torch.Generator().manual_seed(0))
    image += 1
    everywhere = torch.ones_like(image, dtype=torch.bool)
    few, most = (
        normalise(torch.where(chance < share, torch.zeros(()), image), everywhere) for share in (5e-4, 0.7)
    )
    assert (few[chance < 5e-4] < -0.5).all()
    assert most[chance < 0.7].abs().max() < 1e-6
    assert most[chance >= 0.7].min() > 0.4


def test_far_intensities_are_clipped_and_nothing_stays_nothing():
    image = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(0))
    image[4, 4, 4], image[5, 5, 5] = 100, -100
    everywhere = torch.ones_like(image, dtype=torch.bool)
    scaled = normalise(image, everywhere)
    assert (float(scaled.min()), float(scaled.max())) == CLIP
    assert not normalise(image, ~everywhere).any()
    one = torch.zeros_like(everywhere)
    one[3, 3, 3] = True
    assert normalise(image, one).isfinite().all()


def test_resampling_keeps_means_and_places():
    image = torch.from_numpy(tissue((24, 30, 36), 10))
    smaller = resample(image, (12, 10, 36))
    assert smaller.mean() == pytest.approx(float(image.mean()), rel=1e-3)
    assert smaller[6, 5, 10] == pytest.approx(float(image[12:14, 15:18, 10].mean()), abs=1e-3)
    larger = resample(image, (48, 30, 72))
    assert ndimage.center_of_mass(larger.numpy())[0] == pytest.approx(23.5, abs=0.3)
    assert resample(image, (24, 30, 36)) is image


def test_place_puts_a_voxel_in_the_middle_and_pads():
    volume = torch.arange(1, 61.0).reshape(3, 4, 5)
    cut = place(volume, (4, 4, 4), (0, 3, 2))
    assert cut.shape == (4, 4, 4)
    assert cut[2, 2, 2] == volume[0, 3, 2]
    assert torch.equal(cut[2:, 1:3, :], volume[:2, 2:4, :4])
    assert not cut[:2].any()
    assert not cut[:, 3].any()


def test_coordinates_span_the_mask():
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[5:16, 0:20, 7] = True
    z, y, x = coordinates(mask)
    assert (float(z[5]), float(z[10]), float(z[15])) == (-1, 0, 1)
    assert z.min() == -1.5
    assert (float(y[0]), float(y[19])) == (-1, 1)
    assert x[7] == 0


def scene():
    image = torch.rand(12, 24, 36, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[1:11, 3:21, 6:33] = True
    return image * mask, mask


def test_the_2d_network_sees_neighbours_mirror_mask_and_place():
    image, mask = scene()
    seen = plane_inputs(image, mask, torch.tensor([0, 6]))
    assert seen.shape == (2, PLANE_CHANNELS, 24, 36)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    for channel, offset in enumerate(SLICE_OFFSETS_MM):
        assert torch.equal(seen[1, channel], image[6 + offset])
        assert torch.equal(seen[0, channel], image[max(0, offset)])
    assert torch.equal(seen[1, 5], image[6].flip(-1))
    assert torch.equal(seen[1, 6], mask[6].float())
    z, y, x = coordinates(mask)
    assert torch.allclose(seen[1, 7], mask[6] * z[6])
    assert torch.allclose(seen[1, 8, :, 10], y * mask[6, :, 10])
    assert torch.allclose(seen[1, 9, 10], x * mask[6, 10])


def test_the_3d_network_sees_the_same_at_3_mm():
    image, mask = scene()
    seen = volume_inputs(image, mask)
    assert seen.shape == (1, VOLUME_CHANNELS, 4, 8, 12)
    assert seen[0, 0, 1, 2, 3] == pytest.approx(float(image[3:6, 6:9, 9:12].mean()), abs=1e-6)
    assert torch.equal(seen[0, 1], seen[0, 0].flip(-1))
    assert seen[0, 2, 1, 2, 3] == 1
    assert seen[0, 2, 0, 2, 3] == pytest.approx(2 / 3)
    assert (float(seen[0, 3, 0, 2, 3]), float(seen[0, 3, 3, 2, 3])) == (-1, 1)
    assert not seen[0, 3:, :, 0].any()


def test_the_brain_extraction_sees_the_head_and_its_silhouette():
    image = torch.from_numpy(tissue((40, 42, 44), 15))
    seen = extraction_inputs(image)
    assert seen.shape == (1, 2, 40, 42, 44)
    assert torch.equal(seen[0, 1] > 0.5, silhouette(image))
    assert not seen[0, 0][seen[0, 1] == 0].any()


def test_zeros_that_brain_extraction_left_within_the_mask_do_not_count():
    generator = torch.Generator().manual_seed(3)
    tissue = torch.rand(20, 20, 20, generator=generator) + 1
    mask = torch.ones(20, 20, 20, dtype=torch.bool)
    stripped = tissue.clone()
    stripped[:4] = 0
    whole, part = normalise(tissue[4:], mask[4:]), normalise(stripped, mask)
    assert torch.allclose(part[4:], whole, atol=1e-5)
    assert (part[:4] == 0).all()
    # a whole region of zeros, or a few voxels, are tissue
    few = tissue.clone()
    few[0, 0, :5] = 0
    assert normalise(few, mask)[0, 0, :5].max() < -0.5
    most = torch.zeros_like(tissue)
    most[:8] = tissue[:8]
    assert normalise(most, mask)[:8].max() > 0.9


@pytest.mark.parametrize(("count", "spacing"), [(16, 5.0), (17, 3.0), (9, 5.5)])
def test_thick_slices_are_scored_in_their_middles(count, spacing):
    voxels = tissue((count, 40, 40), 14)
    voxels[:, 20, 20] = 1000 + 10 * np.arange(count)
    scan = Scan.from_array(voxels, spacing=(spacing, 1.0, 1.0))
    prepared = prepare(scan, None, device=CPU)
    whole = resample(torch.from_numpy(voxels), prepared.canonical)
    first = prepared.centre[0] - prepared.image.shape[0] // 2
    line = np.interp(np.array(prepared.slices) + first, np.arange(len(whole)), whole[:, 20, 20].numpy())
    assert np.allclose(line[1:-1], voxels[1:-1, 20, 20], atol=1.5)
    assert len(prepared.slices) == count


def test_thin_slices_are_all_scored():
    prepared = prepare(Scan.from_array(tissue((41, 53, 47), 20)), None, device=CPU)
    assert prepared.slices == list(range(prepared.image.shape[0]))
