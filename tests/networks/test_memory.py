import pytest
import torch

from napari_anomaly.networks.memory import SCAN_CHANNELS, SHRINKAGE, Memory, ProxyNetwork


def slices(count=3, height=32, width=24, seed=0):
    made = torch.rand(count, SCAN_CHANNELS, height, width, generator=torch.Generator().manual_seed(seed))
    made[:, 1] = 0
    made[:, 1, 4:-4, 4:-4] = 1
    made[:, 2:] *= made[:, 1:2]
    return made


def network(items=20, seed=0):
    torch.manual_seed(seed)
    return ProxyNetwork((4, 6, 8), items).eval()


def test_addresses_are_few_and_add_up_to_one():
    torch.manual_seed(0)
    memory = Memory(300, 8)
    share = memory.address(torch.randn(2, 8, 5, 4))
    assert share.shape == (2, 5, 4, 300)
    assert torch.allclose(share.sum(-1), torch.ones(2, 5, 4), atol=1e-5)
    forgotten = (share == 0).float().mean()
    assert 0.5 < forgotten < 1
    assert share[share > 0].min() > 0


def test_addresses_below_the_shrinkage_are_forgotten_and_those_above_keep_their_ratio():
    memory = Memory(2, 2)
    with torch.no_grad():
        memory.items.copy_(torch.eye(2))
    for sharpness, kept in ((1.0, 2), (20.0, 1)):
        with torch.no_grad():
            memory.sharpness.fill_(sharpness)
        query = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        share = memory.address(query)[0, 0, 0]
        plain = torch.softmax(torch.tensor([sharpness, 0.0]), 0)
        assert int((share > 0).sum()) == kept
        if kept == 2:
            assert plain.min() > SHRINKAGE
            assert torch.allclose(share, plain, atol=1e-6)
        else:
            assert plain.min() < SHRINKAGE
            assert share.tolist() == [1, 0]


def test_a_memory_gives_back_nothing_but_its_items():
    torch.manual_seed(0)
    memory = Memory(3, 6)
    remembered = memory(50 * torch.randn(1, 6, 4, 4))[0].flatten(1).T
    # every answer lies in the triangle that the three items span
    shares = torch.linalg.lstsq(memory.items.T.detach(), remembered.T.detach()).solution
    assert torch.allclose(memory.items.T @ shares, remembered.T, atol=1e-4)
    assert shares.min() > -1e-4
    assert torch.allclose(shares.sum(0), torch.ones(16), atol=1e-4)


def test_a_memory_learns_where_it_is_addressed():
    torch.manual_seed(0)
    memory = Memory(40, 6)
    memory(torch.randn(2, 6, 3, 3)).square().sum().backward()
    assert memory.items.grad.abs().sum() > 0
    assert memory.sharpness.grad is not None


def test_proxy_and_image_have_the_shape_of_the_slices_and_are_0_outside():
    seen = network()(slices())
    outside = slices()[:, 1:2] == 0
    for made in seen:
        assert made.shape == (3, 1, 32, 24)
        assert (made[outside] == 0).all()
        assert made[~outside].std() > 0


def test_the_image_is_made_of_the_proxy_alone():
    one = network()
    given = slices()
    seen = one(given)
    assert torch.equal(one.rebuild(seen.proxy, given[:, 1:]), seen.image)
    assert not torch.equal(one.rebuild(seen.proxy + 1, given[:, 1:]), seen.image)


def test_a_detail_reaches_the_image_through_the_memory_only():
    one = network()
    given = slices(1)
    with torch.no_grad():
        one.extraction.memory.items.zero_()
    other = given.clone()
    other[:, 0, 10:14, 10:14] += 3
    assert torch.equal(one(given).image, one(other).image)
    bare = network(items=0)
    assert not torch.equal(bare(given).image, bare(other).image)


def test_skip_connections_carry_the_proxy_pixel_by_pixel():
    one = network()
    given = slices(1)
    proxy = torch.zeros(1, 1, 32, 24, requires_grad=True)
    one.rebuild(proxy, given[:, 1:])[0, 0, 16, 12].backward()
    assert proxy.grad[0, 0, 16, 12].abs() > 0


def test_without_items_there_is_no_memory():
    assert "extraction.memory.items" not in network(items=0).state_dict()
    assert network(items=7).state_dict()["extraction.memory.items"].shape == (7, 6)


def test_the_default_network_is_small_enough_to_ship():
    assert sum(weights.numel() for weights in ProxyNetwork().parameters()) < 2_000_000


def test_slices_of_other_sides_are_refused():
    assert network().multiple == 8
    with pytest.raises(RuntimeError, match="size"):
        network()(slices(height=34))
