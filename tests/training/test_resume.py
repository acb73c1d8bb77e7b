import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.training.resume import load_state, save_state

FACTS = {"step": 3, "random": {"state": {"state": 2**127 + 1}}, "curve": [{"loss": 0.5}]}


def a_training(seed, *, inputs=4):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.BatchNorm1d(3))
    return network, torch.optim.AdamW(network.parameters(), lr=0.01 * (seed + 1))


def learn(network, optimiser, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(network(torch.randn(8, 4, generator=generator)).square().sum())
        optimiser.step()


@pytest.fixture
def saved(tmp_path):
    network, optimiser = a_training(0)
    learn(network, optimiser, 3, seed=1)
    path = tmp_path / "run.checkpoint.safetensors"
    save_state(path, modules={"network": network}, optimiser=optimiser, facts=FACTS)
    return path, network, optimiser


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_checkpoint_brings_everything_back(saved):
    path, network, optimiser = saved
    other, fresh = a_training(1)
    assert not same(network, other)
    assert load_state(path, modules={"network": other}, optimiser=fresh) == FACTS
    assert same(network, other)
    # the optimiser's memory too: both go on alike, and one without it does not
    forgetful = torch.optim.AdamW(other.parameters(), lr=0.01)
    assert not forgetful.state
    for group in fresh.param_groups:
        group["lr"] = 0.01
    learn(network, optimiser, 2, seed=2)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    learn(other, fresh, 2, seed=2)
    assert same(network, other)
    other.load_state_dict(before)
    learn(other, forgetful, 2, seed=2)
    assert not same(network, other)


def test_a_checkpoint_replaces_the_one_before_and_nothing_else_stays(saved):
    path, network, optimiser = saved
    save_state(path, modules={"network": network}, optimiser=optimiser, facts={"step": 4})
    other, fresh = a_training(1)
    assert load_state(path, modules={"network": other}, optimiser=fresh) == {"step": 4}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_saving_leaves_the_training_as_it_is(saved):
    path, network, optimiser = saved
    before = [value.clone() for value in network.state_dict().values()]
    save_state(path, modules={"network": network}, optimiser=optimiser, facts={})
    learn(network, optimiser, 1, seed=3)
    assert not all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "how",
    [lambda raw: b"", lambda raw: b"napari anomaly", lambda raw: raw[:-20]],
    ids=["empty", "letter", "torn"],
)
def test_a_damaged_checkpoint_is_said_in_words(saved, how):
    path = saved[0]
    path.write_bytes(how(path.read_bytes()))
    network, optimiser = a_training(1)
    with pytest.raises(
        UnreadableDetector, match=r"cannot go on from run.checkpoint.safetensors .* Delete it"
    ):
        load_state(path, modules={"network": network}, optimiser=optimiser)


def test_a_checkpoint_of_other_networks_is_refused(saved):
    network, optimiser = a_training(1, inputs=5)
    with pytest.raises(UnreadableDetector, match="of another version"):
        load_state(saved[0], modules={"network": network}, optimiser=optimiser)


@pytest.mark.parametrize("facts", [None, {"facts": "{"}], ids=["none", "torn"])
def test_a_checkpoint_without_its_facts_is_refused(saved, facts):
    path = saved[0]
    save_file(load_file(path), path, metadata=facts)
    network, optimiser = a_training(1)
    with pytest.raises(UnreadableDetector, match="cannot go on"):
        load_state(path, modules={"network": network}, optimiser=optimiser)
