import pytest
import torch

from napari_anomaly.networks.joint import (
    CONTRASTS,
    EMBEDDING,
    TISSUE_CHANNELS,
    JointNetwork,
    context_at,
    intensity_profile,
    planes_of,
)
from napari_anomaly.networks.plane import PLANE_CHANNELS
from napari_anomaly.networks.volume import VOLUME_CHANNELS, VolumeFeatures

WIDTHS = (4, 4, 6, 8)
SIZE = torch.Size((4, 6))


def ramp(depth, *, scans=1):
    """Make volumes whose value is the place along z, 0 at the first edge and 1 at the last, plus 10 for each scan."""
    centres = (torch.arange(depth) + 0.5) / depth
    return (centres[None] + 10 * torch.arange(scans)[:, None])[:, None, :, None, None].expand(-1, 1, -1, 4, 6)


def scene(scans=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    slices = torch.randn(3, PLANE_CHANNELS + TISSUE_CHANNELS, 48, 64, generator=generator)
    volume = torch.randn(scans, VOLUME_CHANNELS + TISSUE_CHANNELS, 16, 16, 32, generator=generator)
    volume[:, 2] = 0
    volume[:, 2, 1:-1, 1:-1, 1:-1] = 1
    return slices, volume, torch.tensor([-0.5, 0.0, 0.6]), torch.tensor([0, 1, 1])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return JointNetwork(WIDTHS, WIDTHS).eval()


@pytest.mark.parametrize("depth", [4, 12, 52])
def test_a_plane_is_cut_where_it_lies_whatever_the_voxel_size(depth):
    where = torch.tensor([-0.5, 0.0, 0.3])
    cut = planes_of(ramp(depth), where, torch.zeros(3, dtype=torch.long), SIZE)
    assert cut[:, 0, 0, 0].tolist() == pytest.approx([0.25, 0.5, 0.65], abs=1e-5)


def test_a_plane_through_the_middle_of_voxels_is_their_own():
    volume = torch.randn(1, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    where = (2 * torch.arange(5) + 1) / 5 - 1
    cut = planes_of(volume, where, torch.zeros(5, dtype=torch.long), SIZE)
    assert torch.allclose(cut, volume[0].transpose(0, 1), atol=1e-5)
    assert not torch.allclose(cut.flip(0), volume[0].transpose(0, 1), atol=1e-5)


def test_beyond_the_first_and_last_voxel_nothing_is_invented():
    cut = planes_of(ramp(4), torch.tensor([-1.0, 1.0]), torch.zeros(2, dtype=torch.long), SIZE)
    assert cut[:, 0, 0, 0].tolist() == pytest.approx([0.125, 0.875])


def test_planes_come_from_their_scan_and_at_the_size_asked_for():
    cut = planes_of(ramp(4, scans=2), torch.zeros(3), torch.tensor([1, 0, 1]), torch.Size((8, 12)))
    assert cut.shape == (3, 1, 8, 12)
    assert cut[:, 0, 3, 3].tolist() == pytest.approx([10.5, 0.5, 10.5])


def test_context_is_features_then_logit():
    seen = VolumeFeatures(ramp(8), torch.cat([100 + ramp(4), 200 + ramp(4)], dim=1), [])
    context = context_at(seen, torch.zeros(1), torch.zeros(1, dtype=torch.long), SIZE)
    assert context[0, :, 0, 0].tolist() == pytest.approx([100.5, 200.5, 0.5])


def test_every_network_speaks_of_every_voxel(network):
    seen = network(*scene())
    assert seen.joint.shape == seen.plane.shape == (3, 1, 48, 64)
    assert seen.volume.shape == (2, 1, 16, 16, 32)
    assert seen.scan.shape == (2,)
    assert seen.contrast.shape == (2, len(CONTRASTS))
    # cells of 16 mm: 3 x 4 of them in 48 x 64 pixels
    for view in seen.embeddings:
        assert view.shape == (3, 12, EMBEDDING)
        assert torch.allclose(view.norm(dim=2), torch.ones(3, 12), atol=1e-5)


def test_the_joint_score_takes_the_volume_in_and_the_2d_one_does_not(network):
    slices, volume, where, scan_of = scene()
    seen, other = network(slices, volume, where, scan_of), network(slices, volume.flip(2), where, scan_of)
    assert torch.allclose(seen.plane, other.plane, atol=1e-6)
    assert not torch.allclose(seen.joint, other.joint, atol=1e-3)
    assert not torch.allclose(seen.embeddings[1], other.embeddings[1], atol=1e-3)
    assert torch.equal(seen.embeddings[0], other.embeddings[0])


def test_slices_that_trade_places_trade_scores(network):
    slices, volume, where, scan_of = scene()
    order = torch.tensor([2, 0, 1])
    straight = network(slices, volume, where, scan_of).joint
    traded = network(slices[order], volume, where[order], scan_of[order]).joint
    assert torch.allclose(traded, straight[order], atol=1e-5)
    assert not torch.allclose(traded, straight, atol=1e-3)


def test_the_whole_is_the_sum_of_the_parts_that_a_detection_runs(network):
    slices, volume, where, scan_of = scene()
    seen = network.volume(volume)
    logit, features, _ = network.plane(slices)
    context = context_at(seen, where, scan_of, features.shape[2:])
    whole = network(slices, volume, where, scan_of)
    assert torch.allclose(network.fuse(logit, features, context), whole.joint, atol=1e-5)
    overall = network.overall(volume, seen)
    assert torch.allclose(overall[:, 0], whole.scan, atol=1e-5)
    assert torch.allclose(overall[:, 1:], whole.contrast, atol=1e-5)


def test_a_scan_is_judged_by_its_own_volume_as_a_whole(network):
    slices, volume, where, scan_of = scene()
    straight = network(slices, volume, where, scan_of)
    swapped = network(slices, volume.flip(0), where, scan_of)
    for name in ("scan", "contrast"):
        one, other = getattr(straight, name), getattr(swapped, name)
        assert torch.allclose(one.flip(0), other, atol=1e-5), name
        assert not torch.allclose(one, other, atol=1e-3), name
    # whichever slices are asked for
    fewer = network(slices[:1], volume, where[:1], scan_of[:1])
    assert torch.allclose(fewer.contrast, straight.contrast, atol=1e-6)


def ball(shade):
    """Give the input of a scan whose brain is a ball, with an intensity for each share of its radius."""
    lines = [torch.linspace(-1, 1, side) for side in (40, 44, 40)]
    radius = torch.stack(torch.meshgrid(*lines, indexing="ij")).norm(dim=0)
    volume = torch.zeros(1, VOLUME_CHANNELS, *radius.shape)
    volume[0, 2] = radius < 0.95
    volume[0, 0] = shade(radius) * volume[0, 2]
    return volume


def test_a_profile_says_which_intensities_lie_where():
    dark_rim = intensity_profile(ball(lambda radius: 0.9 - 0.9 * (radius > 0.8)))
    bright_rim = intensity_profile(ball(lambda radius: 0.9 * (radius > 0.8)))
    assert dark_rim.shape == bright_rim.shape
    assert dark_rim.min() >= 0
    # surface, below it, depth; the levels 0 and .9 are the fifth and the eleventh
    dark, bright = (profile[0].reshape(-1, 3) for profile in (dark_rim, bright_rim))
    assert dark[4, 0] > 10 * dark[10, 0]
    assert dark[10, 2] > 10 * dark[4, 2]
    assert bright[10, 0] > 10 * bright[4, 0]
    assert bright[4, 2] > 10 * bright[10, 2]


def test_a_profile_knows_no_size_and_nothing_beyond_the_brain():
    one = ball(lambda radius: radius)
    outside = one.clone()
    outside[:, 0] += 3 * (1 - one[:, 2])
    assert torch.allclose(intensity_profile(outside), intensity_profile(one), atol=1e-6)
    padded = torch.nn.functional.pad(one, [4] * 6)
    assert torch.allclose(intensity_profile(padded), intensity_profile(one), atol=1e-6)
    assert not torch.allclose(intensity_profile(1 - one), intensity_profile(one), atol=0.1)
    nothing = intensity_profile(torch.zeros(1, VOLUME_CHANNELS, 12, 12, 12))
    assert not nothing.any()


def test_contrasts_that_differ_in_their_grey_values_can_be_told_apart(network):
    torch.manual_seed(0)
    shades = [
        lambda r: 0.9 - 0.5 * r,
        lambda r: 0.3 + 0.8 * r,
        lambda r: 0.2 + 0 * r,
        lambda r: (r - 0.5) ** 2,
    ]
    profiles = torch.cat([intensity_profile(ball(shade)) for shade in shades])
    optimiser = torch.optim.Adam(network.contrast_head.parameters(), lr=0.01)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network.contrast_head(profiles), torch.arange(4))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    # a little brighter, with noise
    others = torch.cat(
        [ball(lambda r, shade=shade: shade(r) + 0.03 * torch.randn(r.shape)) for shade in shades]
    )
    assert network.contrast_head(intensity_profile(others)).argmax(1).tolist() == [0, 1, 2, 3]


def test_every_weight_learns(network):
    seen = network.train()(*scene())
    terms = [seen.joint, seen.plane, seen.volume, seen.scan, seen.contrast, *seen.embeddings]
    torch.autograd.backward(
        sum(
            (term * torch.randn(term.shape, generator=torch.Generator().manual_seed(1))).sum()
            for term in terms
        )
    )
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_the_layout_changes_and_the_answer_does_not(network):
    before = network(*scene()).joint
    network.use_channels_last()
    assert network.volume.head.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network.plane.trunk.encoders[0].first[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(network(*scene()).joint, before, atol=1e-5)
