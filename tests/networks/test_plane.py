import torch

from napari_anomaly.networks.plane import PLANE_CHANNELS, PlaneNetwork

WIDTHS = (4, 4, 6, 8)


def slices(count=2, seed=0):
    return torch.randn(count, PLANE_CHANNELS, 32, 48, generator=torch.Generator().manual_seed(seed))


def test_pixels_are_scored_at_full_resolution():
    logit, features, levels = PlaneNetwork(WIDTHS)(slices())
    assert logit.shape == (2, 1, 32, 48)
    assert features.shape == (2, 4, 16, 24)
    assert [tuple(level.shape[1:]) for level in levels] == [(4, 16, 24), (4, 8, 12), (6, 4, 6), (8, 2, 3)]


def test_a_slice_is_scored_without_its_neighbours_in_the_batch():
    network = PlaneNetwork(WIDTHS).eval()
    both, one = network(slices())[0], network(slices()[:1])[0]
    assert torch.allclose(both[:1], one, atol=1e-5)
    assert not torch.allclose(both[1:], one, atol=1e-5)


def test_every_channel_matters_and_every_weight_of_the_head_learns():
    network, image = PlaneNetwork(WIDTHS), slices().requires_grad_()
    torch.autograd.backward(network(image)[0].square().sum())
    assert (image.grad.abs().amax((0, 2, 3)) > 0).all()
    assert network.head.weight.grad.abs().max() > 0
