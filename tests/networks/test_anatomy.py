import torch

from napari_anomaly.anatomy import NAMES, STRUCTURES, label_of
from napari_anomaly.detector.anatomy import anatomy_inputs
from napari_anomaly.networks.anatomy import (
    GREY,
    NAME_OF,
    TISSUES,
    WHITE,
    AnatomyNetwork,
    to_labels,
)

TINY = (4, 4, 8)


def a_mask():
    mask = torch.zeros(24, 36, 24, dtype=torch.bool)
    mask[6:18, 6:30, 3:21] = True
    return mask


def test_inputs_are_scan_mask_and_places_within_the_mask():
    image = torch.rand(24, 36, 24)
    inputs = anatomy_inputs(image, a_mask())
    assert inputs.shape == (1, 5, 8, 12, 8)
    torch.testing.assert_close(inputs[0, 0, 0, 0, 0], image[:3, :3, :3].mean())
    assert inputs[0, 1].unique().tolist() == [0.0, 1.0]
    z, y, x = inputs[0, 2:]
    for places, axis in ((z, 0), (y, 1), (x, 2)):
        inside = places[inputs[0, 1] > 0.5]
        assert (inside.min(), inside.max()) == (-1.0, 1.0)
        assert (places[inputs[0, 1] == 0] == 0).all()
        assert (places.diff(dim=axis)[inputs[0, 1].diff(dim=axis) == 0] >= 0).all()


def test_a_voxel_of_the_network_may_be_two_of_the_scan():
    assert anatomy_inputs(torch.rand(24, 36, 24), a_mask(), reduction=2).shape == (1, 5, 12, 18, 12)


def test_without_a_trained_head_the_atlas_speaks_and_moves_with_the_mask():
    network = AnatomyNetwork(2, TINY, ()).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    network.atlas[0, 1, :, :, network.atlas.shape[-1] // 2 :] = 5.0
    with torch.inference_mode():
        logit = network(anatomy_inputs(torch.rand(24, 36, 24), a_mask()))
        moved = network(anatomy_inputs(torch.rand(24, 36, 24), a_mask().roll(-3, 2)))
    assert logit.shape == (1, 3, 8, 12, 8)
    assert logit[0, 1, 4, 6].round().tolist()[1:7] == [0.0, 0.0, 0.0, 5.0, 5.0, 5.0]
    assert moved[0, 1, 4, 6].round().tolist()[0:6] == [0.0, 0.0, 0.0, 5.0, 5.0, 5.0]


def test_odd_numbers_of_cells_come_back_whole():
    network = AnatomyNetwork(2, TINY, ()).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 5, 10, 14, 6)).shape == (1, 3, 10, 14, 6)


def test_a_tissue_has_the_intensity_that_this_scan_gives_it():
    network = AnatomyNetwork(2, TINY, (WHITE, GREY)).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    # the atlas expects the first name below and the second above; the scan's border lies elsewhere
    network.atlas[0, 0, : network.atlas.shape[2] // 2] = 2.0
    network.atlas[0, 1, network.atlas.shape[2] // 2 :] = 2.0
    for bright, dark in ((1.0, 0.0), (0.0, 1.0)):
        image = torch.full((24, 36, 24), bright)
        image[9:] = dark
        image += 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            names = network(anatomy_inputs(image, a_mask()))[0, :-1].argmax(0)
        assert (names[2:6, 2:10, 1:7] == torch.tensor([0, 1, 1, 1]).view(4, 1, 1)).float().mean() > 0.95


def test_an_empty_scan_gives_no_evidence():
    network = AnatomyNetwork(2, TINY, (WHITE, GREY)).eval()
    with torch.inference_mode():
        assert torch.isfinite(network(torch.zeros(1, 5, 16, 16, 16))).all()


def test_names_and_side_become_labels():
    logit = torch.zeros(len(NAMES) + 1, 3)
    logit[NAMES.index("thalamus"), :2] = 3
    logit[NAMES.index("brainstem"), 2] = 3
    logit[-1] = torch.tensor([2.0, -2.0, 2.0])
    assert to_labels(logit).tolist() == [
        label_of("thalamus", "left"),
        label_of("thalamus", "right"),
        label_of("brainstem"),
    ]


def test_every_label_has_its_name_and_every_name_its_tissue():
    assert len(TISSUES) == len(NAMES)
    assert TISSUES[NAMES.index("corpus callosum")] == WHITE
    assert TISSUES[NAMES.index("insula")] == GREY
    assert [NAMES[place] for place in NAME_OF] == [structure.name for structure in STRUCTURES]
