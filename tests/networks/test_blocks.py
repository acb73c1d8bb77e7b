import pytest
import torch
from torch.nn import functional

from napari_anomaly.networks.blocks import (
    ConvBlock,
    InstanceNorm,
    ResidualBlock,
    UNet,
    fold,
    normalisation,
    unfold,
    use_channels_last,
)

SIDES = {2: (6, 10), 3: (4, 6, 10)}


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_unfold_undoes_fold(dimensions, channels):
    image = noise(2, channels, *SIDES[dimensions])
    folded = fold(image)
    assert folded.shape == (2, channels * 2**dimensions, *(side // 2 for side in SIDES[dimensions]))
    assert torch.equal(unfold(folded), image)
    assert not torch.equal(unfold(folded.flip(1)), image)


def test_the_first_cell_becomes_the_first_channels():
    image = torch.arange(4 * 6 * 8.0).reshape(1, 1, 4, 6, 8)
    assert torch.equal(fold(image)[0, :, 0, 0, 0], image[0, 0, :2, :2, :2].flatten())
    assert torch.equal(fold(image[:, :, 0])[0, :, 0, 0], image[0, 0, 0, :2, :2].flatten())


def test_an_odd_side_cannot_be_folded():
    with pytest.raises(RuntimeError, match="invalid for input"):
        fold(torch.zeros(1, 1, 4, 5, 4))


def test_slices_get_batch_statistics_and_volumes_their_own():
    assert isinstance(normalisation(2, 4), torch.nn.BatchNorm2d)
    assert isinstance(normalisation(3, 4), InstanceNorm)


@pytest.fixture
def norm():
    layer = InstanceNorm(3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, -1.0, 3.0]))
    return layer


def test_instance_norm_is_the_textbook_one_while_training_and_after(norm):
    features = 5 + 3 * noise(2, 3, 4, 6, 8)
    wanted = functional.instance_norm(features, weight=norm.weight, bias=norm.bias)
    for mode in (True, False):
        assert torch.allclose(norm.train(mode)(features), wanted, atol=1e-5)
    assert not torch.allclose(functional.instance_norm(features), wanted, atol=0.1)


def test_instance_norm_of_a_scan_knows_nothing_of_its_neighbour(norm):
    features = noise(2, 3, 4, 6, 8)
    other = torch.stack((features[0], 100 * features[1] + 7))
    assert torch.equal(norm(features)[0], norm(other)[0])
    plain = InstanceNorm(3)(features)
    assert torch.allclose(plain.mean((2, 3, 4)), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(plain.var((2, 3, 4), correction=0), torch.ones(2, 3), atol=1e-3)


def test_instance_norm_keeps_the_layout(norm):
    features = noise(2, 3, 4, 6, 8).contiguous(memory_format=torch.channels_last_3d)
    assert norm(features).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_stride_of_two_halves_the_grid(dimensions):
    features = noise(2, 3, *SIDES[dimensions])
    halved = ConvBlock(dimensions, 3, 5, stride=2)(features)
    assert halved.shape == (2, 5, *(side // 2 for side in SIDES[dimensions]))
    assert ConvBlock(dimensions, 3, 5)(features).shape == (2, 5, *SIDES[dimensions])
    assert (halved >= 0).all()


def test_a_residual_block_whose_branch_says_nothing_is_the_identity():
    block, features = ResidualBlock(2, 3), noise(2, 3, 6, 8)
    assert not torch.allclose(block(features), features.relu())
    torch.nn.init.zeros_(block.second[0].weight)
    assert torch.allclose(block(features), features.relu())


@pytest.mark.parametrize(("dimensions", "sides"), [(2, (16, 24)), (2, (18, 30)), (3, (16, 18, 26))])
def test_a_unet_comes_back_to_its_grid_through_every_level(dimensions, sides):
    widths = (2, 4, 6, 8)
    features, levels = UNet(dimensions, 3, widths)(noise(2, 3, *sides))
    assert features.shape == (2, 2, *sides)
    assert [level.shape[1] for level in levels] == list(widths)
    for depth, level in enumerate(levels):
        assert tuple(level.shape[2:]) == tuple(-(-side // 2**depth) for side in sides)


def test_every_weight_of_a_unet_learns():
    network = UNet(3, 2, (2, 4, 6))
    features, _ = network(noise(1, 2, 8, 8, 8))
    torch.autograd.backward((features * noise(*features.shape, seed=1)).sum())
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(("dimensions", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_the_layout_changes_and_the_answer_does_not(dimensions, layout):
    network = UNet(dimensions, 3, (2, 4, 6)).eval()
    image = noise(1, 3, *(16,) * dimensions)
    before = network(image)[0]
    weight = network.encoders[0].first[0].weight
    assert not weight.is_contiguous(memory_format=layout)
    use_channels_last(network, dimensions)
    assert weight.is_contiguous(memory_format=layout)
    assert torch.allclose(network(image)[0], before, atol=1e-5)
