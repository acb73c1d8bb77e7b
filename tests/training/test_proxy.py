import numpy as np
import pytest
import torch

from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.progress import drain
from napari_anomaly.training.normals import make_normal
from napari_anomaly.training.proxy import MOST_PATCHES, draw, fit, losses_of, paste, resume, show, start, step
from napari_anomaly.training.proxy_settings import ProxySettings
from small_subjects import SIDES, label_subject, real_subject

CPU = torch.device("cpu")


def settings(**changes):
    words = {
        "widths": (4, 6, 8),
        "memory_items": 12,
        "pool": 2,
        "scans_per_step": 2,
        "slices_per_scan": 3,
        "steps": 3,
        "renew_every": 2,
        "device": "cpu",
    }
    return ProxySettings(**{**words, **changes})


@pytest.fixture(scope="module")
def shown():
    return [
        show(make_normal(subject, np.random.default_rng(1), CPU), settings())
        for subject in (label_subject(), real_subject())
    ]


def test_a_normal_is_shown_with_its_proxy_at_2_mm(shown):
    for one in shown:
        assert one.slices.shape[1:] == (5, SIDES[1] // 2, SIDES[2] // 2)
        assert len(one.slices) == len(one.proxy) <= SIDES[0] // 2
        inside = one.slices[:, 1] > 0
        image, proxy = one.slices[:, 0][inside].float(), one.proxy[:, 0][inside].float()
        assert 0 < (proxy - image).abs().mean() < image.std()


def test_half_of_the_drawn_slices_are_mirrored_with_their_coordinate(shown):
    one = shown[0]
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(20):
        slices, proxy = one.draw(rng, 1)
        straight = [torch.equal(slices[0], other.float()) for other in one.slices]
        turned = slices.flip(-1)
        turned[:, -1] *= -1
        mirrored = [torch.equal(turned[0], other.float()) for other in one.slices]
        assert any(straight) != any(mirrored)
        found.add(any(mirrored))
        place = (mirrored if any(mirrored) else straight).index(True)
        expected = one.proxy[place].flip(-1) if any(mirrored) else one.proxy[place]
        assert torch.equal(proxy[0], expected.float())
    assert found == {True, False}


def test_drawn_slices_and_proxies_belong_together(shown):
    slices, proxy = draw(shown, np.random.default_rng(0), 3, 4)
    assert slices.shape == (12, 5, SIDES[1] // 2, SIDES[2] // 2)
    assert proxy.shape == (12, 1, SIDES[1] // 2, SIDES[2] // 2)
    inside = slices[:, 1:2] > 0
    assert (proxy[~inside] == 0).all()
    assert (slices[:, :1] - proxy)[inside].abs().mean() < slices[:, :1][inside].std()


def test_patches_are_pasted_in_the_region_and_leave_the_rest(shown):
    slices, proxy = draw(shown, np.random.default_rng(0), 2, 4)
    image, inside = slices[:, :1], slices[:, 1:2]
    before = proxy.clone()
    spoiled, pasted = paste(proxy, image, inside, np.random.default_rng(1))
    assert torch.equal(proxy, before)
    changed = (spoiled - proxy).abs() > 1e-3
    assert pasted.any(dim=(1, 2, 3)).all()
    assert not (changed & (inside == 0)).any()
    assert not (pasted & (inside == 0)).any()
    assert changed[pasted].float().mean() > 0.9
    assert pasted.float().mean() < 0.2 * MOST_PATCHES
    apart = (spoiled - proxy).abs()
    assert apart[pasted].mean() > 3 * apart[~pasted & (inside > 0)].mean()


def test_patches_come_from_the_scan_as_they_are_or_lighter_or_darker():
    image = torch.full((40, 1, 32, 32), 0.5)
    spoiled, pasted = paste(image, image, torch.ones_like(image), np.random.default_rng(0))
    levels = torch.stack([spoiled[index][pasted[index]].mean() for index in range(40) if pasted[index].any()])
    assert (levels - 0.5).abs().max() < 0.9
    assert 0.05 < ((levels - 0.5).abs() < 1e-3).float().mean() < 0.8
    assert levels.max() > 0.6
    assert levels.min() < 0.4


def test_the_same_patches_for_the_same_seed(shown):
    slices, proxy = draw(shown, np.random.default_rng(0), 1, 4)
    given = (proxy, slices[:, :1], slices[:, 1:2])
    one, same, other = (paste(*given, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_patches_are_undone_where_they_were_pasted(shown):
    run = start(settings(), CPU)
    given = draw(shown, np.random.default_rng(0), 2, 4)
    none, proxy, both = (
        losses_of(run.network, *given, where, np.random.default_rng(0)) for where in ("none", "proxy", "both")
    )
    assert list(none) == list(proxy) == list(both) == ["proxy", "image"]
    # on the proxy: the memory sees nothing of them; on both: it does
    assert torch.equal(none["proxy"], proxy["proxy"])
    assert both["proxy"] > none["proxy"]
    assert proxy["image"] > none["image"]


def test_steps_make_the_loss_smaller(shown):
    run = start(settings(steps=60, memory_items=40, learning_rate=5e-3), CPU)
    told = [step(run, shown)["loss"] for _ in range(60)]
    assert np.mean(told[-10:]) < 0.6 * np.mean(told[:5])
    assert run.step == 60
    assert run.curve[0]["step"] == 1


def test_training_goes_on_from_its_checkpoint(tmp_path):
    file = tmp_path / "run.safetensors"
    whole = start(settings(steps=3), CPU)
    drain(fit(whole, [real_subject()], file))
    again = start(settings(steps=3, seed=9), CPU)
    resume(again, file)
    assert again.step == whole.step == 3
    assert again.curve == whole.curve
    assert again.rng.bit_generator.state == whole.rng.bit_generator.state
    for key, value in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value)


def test_a_stopped_training_leaves_a_checkpoint(tmp_path):
    file = tmp_path / "run.safetensors"
    steps = fit(start(settings(steps=100), CPU), [real_subject()], file)
    while not next(steps).text.startswith("Step"):
        pass
    assert not file.exists()
    steps.close()
    again = start(settings(), CPU)
    resume(again, file)
    assert again.step == 1


def test_a_checkpoint_of_other_networks_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    drain(fit(start(settings(steps=1), CPU), [real_subject()], file))
    with pytest.raises(UnreadableDetector, match=r"cannot go on from run\.safetensors"):
        resume(start(settings(memory_items=5), CPU), file)


def test_the_same_seed_makes_the_same_training(shown):
    ends = []
    for seed in (1, 1, 2):
        run = start(settings(seed=seed), CPU)
        step(run, shown)
        ends.append(run.network.reconstruction.head.weight.detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
