import pytest
import torch

from napari_anomaly.detector.device import choose, devices
from napari_anomaly.errors import DetectorError


def test_the_cpu_is_always_there_and_last():
    last = devices()[-1]
    assert last.name == "cpu"
    assert last.text == f"CPU, {torch.get_num_threads()} threads"


def test_the_automatic_choice_is_the_fastest_and_says_why():
    chosen = choose("auto")
    assert chosen.name == devices()[0].name
    assert "found" in chosen.text
    assert choose() == chosen


def test_a_device_is_chosen_by_name():
    assert choose("cpu") == devices()[-1]


def test_a_device_that_is_not_there_is_said_with_those_that_are():
    missing = next(name for name in ("mps", "cuda") if name not in {device.name for device in devices()})
    with pytest.raises(DetectorError, match=rf"{missing} was asked for; this machine has .*cpu\. Choose"):
        choose(missing)
