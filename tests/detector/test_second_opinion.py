import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bright_detector import Outline, bright_detector
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import DECADES, Calibration
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.second_opinion import (
    Coarse,
    ProxyCard,
    SecondOpinion,
    bundled,
    coarse,
    load,
    look,
    opinion,
    residual,
    save,
)
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.networks.memory import ProxyNetwork, Seen
from napari_anomaly.preprocess import Prepared, coordinates, prepare
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom

CPU = torch.device("cpu")


class Flat(ProxyNetwork):
    """Rebuilds every slice as its usual intensity: what is brighter or darker remains."""

    def __init__(self, usual: float = 0.5) -> None:
        super().__init__((2, 2, 2), 3)
        self.usual = usual
        self.calls: list[int] = []

    def forward(self, slices: torch.Tensor) -> Seen:
        self.calls.append(len(slices))
        image = self.usual * slices[:, 1:2]
        return Seen(image, image)


def card(**changes) -> ProxyCard:
    decades = tuple(place for place in DECADES if place <= 5)
    words = {
        "name": "flat",
        "widths": (2, 2, 2),
        "items": 3,
        "smoothing_mm": 0.0,
        "calibration": Calibration(
            raw=tuple(place / 5 for place in decades),
            decades=decades,
            scan_raw=(0.1,),
            default_threshold=0.99,
            default_min_volume_mm3=30.0,
        ),
        "provenance": {"steps": 3, "seed": 1},
    }
    return ProxyCard(**{**words, **changes})


def prepared(shape=(24, 40, 36), spot=2.5) -> Prepared:
    image = torch.zeros(shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[4:20, 6:34, 6:30] = True
    image[mask] = 0.5
    image[8:14, 12:18, 12:18] = 0.5 + spot
    return Prepared(image, mask, shape, tuple(side // 2 for side in shape), shape, 1)


def test_a_coarse_scan_has_means_over_the_mask_and_sides_that_the_network_folds():
    scan = prepared()
    seen = coarse(scan.image, scan.mask, multiple=16)
    assert seen.image.shape == (12, 32, 32)
    assert int(seen.mask.sum()) == int(scan.mask.sum()) // 8
    assert seen.image[3, 4, 4] == 0.5
    assert seen.image[5, 7, 7] == 3.0
    assert (seen.image[~seen.mask] == 0).all()


def test_half_covered_voxels_are_means_of_what_is_inside():
    image, mask = torch.full((2, 16, 16), 8.0), torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[:, :, 1:5] = True
    seen = coarse(image, mask, multiple=8)
    assert seen.image[0, 0].tolist() == [8, 8, 8, 0, 0, 0, 0, 0]
    mask[0, 0, 1] = False
    assert coarse(image, mask, multiple=8).image[0, 0, 0] == 0


def test_slices_carry_mask_and_coordinates():
    scan = prepared()
    seen = coarse(scan.image, scan.mask, multiple=8)
    slices = seen.slices(torch.tensor([4, 6]))
    assert slices.shape == (2, 5, 24, 24)
    assert torch.equal(slices[:, 0], seen.image[[4, 6]])
    assert torch.equal(slices[:, 1], seen.mask[[4, 6]].float())
    z, y, x = coordinates(seen.mask)
    assert slices[0, 2, 5, 5] == z[4]
    assert slices[1, 3, 7, 5] == y[7]
    assert slices[1, 4, 7, 9] == x[9]
    assert torch.equal(seen.slices()[[4, 6]], slices)


def test_every_slice_of_the_region_is_looked_at_once_tile_by_tile():
    network, scan = Flat(), prepared()
    seen = coarse(scan.image, scan.mask, multiple=8)
    told = list(look(network, seen, tile=3))
    assert network.calls == [3, 3, 2]
    assert [progress.done for progress in told] == [0, 3, 6]
    rebuilt = drain(look(network, seen)).image
    assert torch.equal(rebuilt, 0.5 * seen.mask)


def test_the_residual_is_the_absolute_difference_inside():
    mask = torch.ones(4, 8, 8, dtype=torch.bool)
    mask[:, :2] = False
    image = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    scan = Coarse(image, mask)
    rest = residual(scan, torch.ones(4, 8, 8), 0.0)
    assert torch.allclose(rest[mask], (image - 1).abs()[mask])
    assert (rest[~mask] == 0).all()


def test_smoothing_cancels_noise_and_keeps_a_lesion():
    noise = torch.randn(20, 24, 24, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(20, 24, 24, dtype=torch.bool)
    lesion = torch.zeros(20, 24, 24)
    lesion[8:13, 9:15, 9:15] = 1.0
    scan = Coarse(lesion + noise, mask)
    rough, smooth = (residual(scan, torch.zeros(20, 24, 24), sigma) for sigma in (0.0, 3.0))
    away = torch.ones_like(mask)
    away[3:18, 4:20, 4:20] = False
    assert smooth[away].mean() < 0.35 * rough[away].mean()
    assert smooth[10, 12, 12] > 0.6


def test_the_border_of_the_region_is_not_darkened():
    mask = torch.zeros(12, 16, 16, dtype=torch.bool)
    mask[2:10, 3:13, 3:13] = True
    rest = residual(Coarse(mask.float() * 2, mask), torch.zeros(12, 16, 16), 3.0)
    assert torch.allclose(rest[mask], torch.tensor(2.0), atol=1e-4)


def test_a_spot_is_found_where_it_is_on_the_grid_of_the_scan():
    scan = prepared()
    given = opinion(scan, SecondOpinion(card(), Flat().eval()))
    found = drain(given)
    assert found.dtype == np.float32
    assert found.shape == scan.shape
    near = np.zeros(scan.shape, bool)
    near[6:16, 10:20, 10:20] = True
    inside = scan.mask.numpy()
    assert found[9:13, 13:17, 13:17].min() > 0.99
    assert found[inside & ~near].max() < 0.01
    assert (found[~inside] == 0).all()
    assert (found[inside] > 0).all()
    plain = drain(opinion(scan, SecondOpinion(card(), Flat().eval()), calibrated=False))
    assert plain[10, 14, 14] == pytest.approx(2.5)
    assert plain[5, 8, 8] == pytest.approx(0, abs=1e-6)


def test_the_share_follows_the_calibration():
    second = SecondOpinion(card(), Flat().eval())
    found = [drain(opinion(prepared(spot=spot), second))[11, 15, 15] for spot in (0.2, 0.4, 0.6)]
    assert found == pytest.approx([0.9, 0.99, 0.999], abs=1e-4)


def test_a_scan_of_other_spacing_gets_its_own_grid():
    scan = phantom((30, 36, 32), lesion_mm=20.0)
    made = prepare(scan, None, device=CPU)
    found = drain(opinion(made, SecondOpinion(card(), Flat(0.7).eval())))
    assert found.shape == (30, 36, 32)
    assert found.max() > 0.5


def test_what_is_saved_is_loaded(tmp_path):
    torch.manual_seed(0)
    network = ProxyNetwork((2, 3, 4), 5).eval()
    file = tmp_path / "second.safetensors"
    save(file, card(widths=(2, 3, 4), items=5), network)
    back = load(file)
    assert back.card == card(widths=(2, 3, 4), items=5)
    assert not back.network.training
    slices = torch.rand(2, 5, 16, 16)
    assert torch.allclose(back.network(slices).image, network(slices).image, atol=0.02)
    assert json.loads((tmp_path / "second.json").read_text()) == {"steps": 3, "seed": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second.json", "second.safetensors"]


def test_damaged_and_foreign_files_are_refused(tmp_path):
    file = tmp_path / "second.safetensors"
    message = r"second\.safetensors could not be read as the weights of a second opinion"
    with pytest.raises(UnreadableDetector, match=message):
        load(file)
    file.write_bytes(b"nothing")
    with pytest.raises(UnreadableDetector, match=message):
        load(file)
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(UnreadableDetector, match=message):
        load(file)
    save(file, card(items=9), ProxyNetwork((2, 2, 2), 3))
    with pytest.raises(UnreadableDetector, match=message):
        load(file)


def test_the_bundled_weights_are_there_and_are_no_detector():
    second = bundled()
    assert bundled() is second
    assert second.card.provenance["steps"] > 0
    assert second.card.name not in checkpoint.bundled()
    assert sum(weights.numel() for weights in second.network.parameters()) < 2_000_000


def asked(detector, **changes):
    scan = phantom((40, 48, 40), field_mm=185.0, lesion_mm=18.0)
    settings = DetectSettings(device="cpu", engine="torch", **changes)
    return scan, drain(detect(scan, detector, settings))


def test_a_detection_asks_where_it_is_wanted():
    detector = bright_detector(region="brain", extraction=Outline())
    scan, found = asked(detector, second_opinion=True)
    assert found.second_opinion.shape == scan.geometry.shape
    assert found.second_opinion.dtype == np.float32
    assert 0 <= found.second_opinion.min() < found.second_opinion.max() <= 1
    assert np.array_equal(found.second_opinion > 0, found.map.score > 0)
    assert found.seconds["second opinion"] > 0
    _, alone = asked(detector)
    assert alone.second_opinion is None
    assert "second opinion" not in alone.seconds
    assert np.array_equal(alone.map.score, found.map.score)


def test_a_detector_of_another_region_gets_a_note_instead():
    _, found = asked(bright_detector(region="body"), second_opinion=True)
    assert found.second_opinion is None
    assert any("ProxyAno has learned brains only" in note for note in found.notes)
