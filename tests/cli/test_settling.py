"""Workers of one machine share it: a graphics card and some processors for each, whatever becomes of one of them."""

import os
from contextlib import ExitStack

import pytest
import torch

from napari_anomaly.cli import settling, workers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_every_worker_of_a_machine_has_a_graphics_card_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert settling.gpus_here() == ("4", "7")
    assert [settling.take_gpu(number, ("4", "7")) for number in range(3)] == ["4", "7", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert settling.gpus_here() == ()
    assert settling.take_gpu(1, ()) == ""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert settling.gpus_here() == tuple(map(str, range(torch.cuda.device_count())))


def _about():
    return os.environ.get("CUDA_VISIBLE_DEVICES"), torch.get_num_threads(), os.getpid()


def test_a_worker_that_replaces_a_lost_one_keeps_to_its_card_and_threads(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    with ExitStack() as closing:
        client = closing.enter_context(workers.client_of(2, None, closing))
        before = client.run(_about)
        assert sorted(card for card, _, _ in before.values()) == ["a", "b"]
        address, (_, threads, process) = next(iter(before.items()))
        client.restart_workers([address])
        client.wait_for_workers(2)
        after = client.run(_about)
        assert sorted(card for card, _, _ in after.values()) == ["a", "b"]
        assert {number for _, number, _ in after.values()} == {threads}
        assert process not in {number for _, _, number in after.values()}
