import json

import numpy as np
import pytest

from napari_anomaly.detector.second_opinion import load
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.progress import drain
from napari_anomaly.training.proxy import start
from napari_anomaly.training.proxy_settings import ProxySettings
from napari_anomaly.training.second_opinion import SMOOTHING_MM, calibrated, train_proxy
from small_subjects import SIDES, class_map, egg, real_subject, write_volume

SMALL = {
    "widths": (2, 3, 4),
    "memory_items": 8,
    "pool": 1,
    "scans_per_step": 1,
    "slices_per_scan": 2,
    "steps": 2,
    "device": "cpu",
}


def test_the_calibration_is_the_residual_of_normals():
    import torch

    network = start(ProxySettings(**SMALL), torch.device("cpu")).network.eval()
    one, same, other = (
        drain(calibrated(network, [real_subject()], seed=seed, copies=1)) for seed in (1, 1, 2)
    )
    assert one.normals == 1
    assert len(one.scan_raw) == 1
    assert one == same
    assert one != other
    assert list(one.raw) == sorted(one.raw)
    assert one.raw[0] >= 0
    assert one.raw[0] < one.scan_raw[0] < one.raw[-1]


@pytest.fixture
def normals(tmp_path):
    folder = tmp_path / "normals"
    folder.mkdir()
    values = np.array([0, 60, 100, 20] + [0] * 60, np.float32)
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 2, SIDES).astype(np.float32)
        voxels = np.where(egg(SIDES, 0.8), np.maximum(values[class_map(SIDES) % 4] + noise + 30, 1), 0)
        write_volume(folder / f"sub-{number}.nii.gz", voxels, spacing=1.5)
    return folder


def test_normals_become_weights_with_their_provenance(tmp_path, normals):
    out = tmp_path / "made" / "second.safetensors"
    settings = ProxySettings(normals=(normals,), out=out, seed=3, **SMALL)
    assert drain(train_proxy(settings)) == out
    second = load(out)
    told = second.card.provenance
    assert second.card.smoothing_mm == SMOOTHING_MM
    assert told["trained_on"] == ["sub-0.nii.gz"]
    assert told["held_out"] == ["sub-1.nii.gz"]
    assert (told["steps"], told["device"], told["settings"]["seed"]) == (2, "cpu", 3)
    assert told["curve"][0]["loss"] > 0
    assert told == json.loads(out.with_suffix(".json").read_text())
    assert str(tmp_path) not in json.dumps(told)
    before = out.read_bytes()
    drain(train_proxy(settings))
    assert out.read_bytes() == before


def test_a_folder_without_normals_is_refused(tmp_path):
    settings = ProxySettings(normals=(tmp_path,), out=tmp_path / "second.safetensors", **SMALL)
    with pytest.raises(UnreadableScan, match="No normal scans were found"):
        drain(train_proxy(settings))
    assert not settings.out.exists()
