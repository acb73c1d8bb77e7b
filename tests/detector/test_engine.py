import builtins
import os

import pytest
import torch

from napari_anomaly.detector.engine import (
    Engine,
    OpenVinoEngine,
    TorchEngine,
    installed,
    leave_a_processor,
)
from napari_anomaly.errors import MissingExtra
from napari_anomaly.networks.joint import TISSUE_CHANNELS, JointNetwork
from napari_anomaly.networks.plane import PLANE_CHANNELS
from napari_anomaly.networks.volume import VOLUME_CHANNELS

PLANE, VOLUME = PLANE_CHANNELS + TISSUE_CHANNELS, VOLUME_CHANNELS + TISSUE_CHANNELS

WIDTHS = (4, 4, 6, 8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return JointNetwork(WIDTHS, WIDTHS).eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def answers(engine):
    with torch.inference_mode():
        seen, scan = engine.volume(noise(1, VOLUME, 16, 32, 32))
        logit, features = engine.plane(noise(3, PLANE, 96, 64))
        context = noise(3, WIDTHS[0] + 1, 48, 32)
        return (
            seen.logit,
            seen.features,
            scan,
            logit,
            features,
            engine.fuse(logit, features, context),
        )


def test_pytorch_gives_the_parts_of_the_network(network):
    engine = TorchEngine(network)
    assert isinstance(engine, Engine)
    seen_logit, _, scan, logit, features, joint = answers(engine)
    seen = network.volume(noise(1, VOLUME, 16, 32, 32))
    assert torch.allclose(seen_logit, seen.logit, atol=1e-4)
    assert torch.allclose(scan, network.overall(noise(1, VOLUME, 16, 32, 32), seen)[0], atol=1e-4)
    assert torch.allclose(logit, network.plane(noise(3, PLANE, 96, 64))[0], atol=1e-4)
    assert joint.shape == (3, 1, 96, 64)
    assert features.shape == (3, 4, 48, 32)


def test_half_precision_is_close(network):
    half = JointNetwork(WIDTHS, WIDTHS).eval()
    half.load_state_dict(network.state_dict())
    for one, other in zip(answers(TorchEngine(network)), answers(TorchEngine(half.half())), strict=True):
        assert torch.allclose(one, other.float(), atol=0.05 * float(one.abs().max()))


@pytest.mark.skipif(not installed(), reason="OpenVINO is not installed")
def test_openvino_says_the_same_and_remembers_its_conversion(network, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = OpenVinoEngine(network, "a" * 64)
    assert isinstance(engine, Engine)
    wanted, first = answers(TorchEngine(network)), answers(engine)
    for one, other in zip(wanted, first, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=0.05 * float(one.abs().max()))

    kept = sorted(tmp_path.rglob("*.xml"))
    assert [path.stem for path in kept] == ["fuse", "plane", "volume"]
    written = [path.stat().st_mtime_ns for path in kept]
    for one, other in zip(first, answers(OpenVinoEngine(network, "a" * 64)), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert [path.stat().st_mtime_ns for path in kept] == written
    assert not torch.allclose(first[-1], first[-1].flip(-1), atol=0.05 * float(first[-1].abs().max()))


def test_openvino_that_is_not_there_is_said_in_words(network, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "openvino":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtra, match=r"pip install 'napari-anomaly\[openvino\]', or choose the engine torch"
    ):
        OpenVinoEngine(network, "c" * 64)


@pytest.mark.parametrize(("processors", "before", "after"), [(2, 2, 1), (1, 1, 1), (4, 4, 3), (8, 2, 2)])
def test_one_processor_is_left_to_the_window(monkeypatch, processors, before, after):
    found = torch.get_num_threads()
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    try:
        torch.set_num_threads(before)
        leave_a_processor()
        assert torch.get_num_threads() == after
        leave_a_processor()
        assert torch.get_num_threads() == after
    finally:
        torch.set_num_threads(found)
