import pytest
import torch

from napari_anomaly.networks.volume import VOLUME_CHANNELS, VolumeNetwork

WIDTHS = (4, 4, 6, 8)


def volumes(channels=VOLUME_CHANNELS):
    return torch.randn(2, channels, 16, 32, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("inputs", "outputs"), [(VOLUME_CHANNELS, 1), (2, 3)])
def test_voxels_are_scored_at_full_resolution(inputs, outputs):
    logit, features, levels = VolumeNetwork(inputs, outputs, WIDTHS)(volumes(inputs))
    assert logit.shape == (2, outputs, 16, 32, 24)
    assert features.shape == (2, 4, 8, 16, 12)
    assert [level.shape[1] for level in levels] == list(WIDTHS)
    assert tuple(levels[-1].shape[2:]) == (1, 2, 2)


@pytest.mark.parametrize("training", [True, False])
def test_a_scan_is_scored_without_its_neighbour_even_while_training(training):
    network = VolumeNetwork(widths=WIDTHS).train(training)
    both, one = network(volumes()).logit, network(volumes()[:1]).logit
    assert torch.allclose(both[:1], one, atol=1e-5)
    assert not torch.allclose(both[1:], one, atol=1e-5)
