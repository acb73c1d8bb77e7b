import numpy as np
import pytest
import torch

from napari_anomaly.anatomy import NAMES, STRUCTURES, label_of
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.anatomy import (
    anatomy_inputs,
    bundled_anatomy,
    find_anatomy,
    label_voxels,
    load_anatomy,
    read_anatomy_card,
    save_anatomy,
)
from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.geometry import Geometry
from napari_anomaly.networks.anatomy import AnatomyNetwork
from napari_anomaly.preprocess import Prepared

TINY = (4, 4, 8)
MB = 1_000_000


def halves():
    """A network that knows one structure, and its side by the place within the mask."""
    torch.manual_seed(0)
    network = AnatomyNetwork(widths=TINY).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    network.atlas[0, NAMES.index("frontal white matter")] = 5.0
    network.atlas[0, -1, ..., : network.atlas.shape[-1] // 2] = -5.0
    network.atlas[0, -1, ..., network.atlas.shape[-1] // 2 :] = 5.0
    return network


def prepared(shape, canonical, *, sides=(48, 48, 48), box=slice(12, 36)):
    mask = torch.zeros(sides, dtype=torch.bool)
    mask[box, box, box] = True
    centre = tuple(side // 2 for side in canonical)
    return Prepared(torch.rand(sides) * mask, mask, canonical, centre, shape, 1)


def test_labels_are_twice_as_fine_as_the_inputs_and_end_where_the_mask_does():
    ready = prepared((48, 48, 48), (48, 48, 48))
    labels = label_voxels(halves(), anatomy_inputs(ready.image, ready.mask))
    assert labels.shape == (32, 32, 32)
    inside = torch.zeros(32, 32, 32, dtype=torch.bool)
    inside[8:24, 8:24, 8:24] = True
    # the mask is interpolated, which rounds its eight corners
    assert ((labels > 0) != inside).sum() == 8
    assert set(labels[8:24, 8:24, 16:24].unique().tolist()) == {0, label_of("frontal white matter", "left")}
    assert set(labels[8:24, 8:24, 8:16].unique().tolist()) == {0, label_of("frontal white matter", "right")}


def test_an_empty_mask_has_no_labels():
    ready = prepared((48, 48, 48), (48, 48, 48), box=slice(0, 0))
    assert not label_voxels(halves(), anatomy_inputs(ready.image, ready.mask)).any()


@pytest.mark.parametrize(
    ("shape", "spacing", "canonical"),
    [((48, 48, 48), (1.0, 1.0, 1.0), (48, 48, 48)), ((10, 64, 80), (6.0, 1.0, 0.75), (60, 64, 60))],
)
def test_every_voxel_of_the_scan_has_the_label_of_its_place(shape, spacing, canonical):
    ready = prepared(shape, canonical)
    geometry = Geometry.from_spacing(shape, spacing)
    anatomy = find_anatomy(halves(), ready, geometry)
    assert anatomy.labels.shape == shape
    # millimetres from the middle, which is the middle of the mask
    z, y, x = (
        (np.arange(n) + 0.5) * step - whole // 2
        for n, step, whole in zip(shape, spacing, canonical, strict=True)
    )
    inside = (np.abs(z) < 12)[:, None, None] & (np.abs(y) < 12)[:, None] & (np.abs(x) < 12)
    # the mask is interpolated, which rounds its eight corners
    assert ((anatomy.labels > 0) != inside).sum() <= 0.005 * inside.sum()
    named = anatomy.labels > 0
    left = np.broadcast_to(x > 0, shape)
    assert (anatomy.labels[named & left] == label_of("frontal white matter", "left")).all()
    assert (anatomy.labels[named & ~left] == label_of("frontal white matter", "right")).all()
    assert not anatomy.near.any()


def test_weights_come_back_as_they_were(tmp_path):
    path = tmp_path / "anatomy.safetensors"
    network = halves()
    save_anatomy(path, network, {"seed": 4})
    labeller = load_anatomy(path)
    assert labeller.card.provenance == {"seed": 4}
    assert labeller.card.structures == tuple(str(structure) for structure in STRUCTURES)
    torch.testing.assert_close(labeller.network.atlas, network.atlas)
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_what_is_no_anatomy_network_is_refused(tmp_path):
    with pytest.raises(UnreadableDetector, match="could not be read as an anatomy network"):
        read_anatomy_card(tmp_path / "missing.safetensors")
    with pytest.raises(UnreadableDetector, match=r"brain-mri.*KeyError"):
        read_anatomy_card(checkpoint.bundled()["brain-mri"])


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "anatomy.safetensors"
    save_anatomy(path, halves(), {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableDetector, match="damaged"):
        load_anatomy(path)


def test_the_bundled_network_is_small_says_how_it_was_made_and_is_no_detector():
    path = bundled_anatomy()
    assert path.stat().st_size < 4 * MB
    facts = read_anatomy_card(path).provenance
    assert facts["steps"] > 0
    assert facts["trained_on"]
    assert not set(facts["trained_on"]) & set(facts["held_out"])
    assert load_anatomy().network.atlas.any()
    assert path.stem not in checkpoint.available()
