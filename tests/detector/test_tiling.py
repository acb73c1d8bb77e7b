from itertools import pairwise

import pytest
import torch

from bright_detector import USUAL, BrightNetwork
from napari_anomaly.detector.engine import TorchEngine
from napari_anomaly.detector.tiling import LIMIT, RawScores, score
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.progress import drain

SIDES = (48, 96, 96)
WIDTHS = (4, 4, 6, 8)


@pytest.fixture(scope="module")
def scene():
    """Give tissue in an egg whose bounding box is off the middle."""
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in SIDES), indexing="ij")
    away = sum(
        ((axis - at) / half) ** 2 for axis, at, half in zip(axes, (22, 50, 44), (16, 30, 22), strict=True)
    )
    mask = away < 1
    image = 0.5 + 0.3 * torch.randn(SIDES, generator=torch.Generator().manual_seed(0))
    return torch.where(mask, image, 0), mask


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return TorchEngine(JointNetwork(WIDTHS, WIDTHS).eval())


@pytest.fixture(scope="module")
def bright():
    return TorchEngine(BrightNetwork().eval())


def run(engine, scene, **words):
    return drain(score(engine, *scene, **words))


def test_every_voxel_of_the_region_gets_the_score_of_its_network(scene, bright):
    image, mask = scene
    raw = run(bright, scene)
    wanted = (8 * (image - USUAL)).clamp(-LIMIT, LIMIT)
    assert torch.allclose(raw.plane[mask], wanted[mask], atol=1e-4)
    assert torch.allclose(raw.joint[mask], -wanted[mask], atol=1e-4)
    assert not torch.allclose(raw.plane.flip(0)[mask], wanted[mask], atol=0.5)
    coarse = torch.nn.functional.avg_pool3d(image[None, None], 3)[0, 0]
    assert raw.volume[22, 49, 43] == pytest.approx(8 * (float(coarse[7, 16, 14]) - USUAL), abs=1e-4)
    assert raw.scan == pytest.approx(float(coarse.max()), abs=1e-5)
    assert raw.contrast == "flair"
    assert {tuple(part.shape) for part in raw[:3]} == {SIDES}


def test_a_contrast_is_named_only_where_the_network_is_sure(scene):
    network = BrightNetwork().eval()
    engine = TorchEngine(network)
    sure = network.overall
    assert run(engine, scene).contrast == "flair"
    network.overall = lambda *inputs: 0.05 * sure(*inputs)
    assert run(engine, scene).contrast == "free"


def test_the_mean_is_that_of_the_three():
    raw = RawScores(*(torch.full((1, 1, 1), value) for value in (1.0, 2.0, 6.0)), scan=0.0, contrast="t1")
    assert raw.mean == 3


def test_raw_scores_are_limited(scene, bright):
    image, mask = scene
    raw = run(bright, (image * 100, mask))
    assert raw.plane.max() == raw.volume.max() == LIMIT
    assert raw.joint.min() == -LIMIT


@pytest.mark.parametrize("tile", [1, 5, 200])
def test_the_size_of_a_tile_changes_nothing(scene, untrained, tile):
    straight, tiled = run(untrained, scene), run(untrained, scene, tile=tile)
    for name in ("joint", "plane", "volume"):
        assert torch.allclose(getattr(straight, name), getattr(tiled, name), atol=1e-4), name
    mirrored = run(untrained, (scene[0].flip(-1), scene[1].flip(-1)))
    assert not torch.allclose(straight.joint, mirrored.joint, atol=1e-2)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_slices_between_those_scored_are_interpolated(bright, step):
    ramp = torch.linspace(0.4, 1.4, SIDES[0])[:, None, None].expand(SIDES).contiguous()
    mask = torch.ones(SIDES, dtype=torch.bool)
    every, some = run(bright, (ramp, mask)), run(bright, (ramp, mask), slice_step=step)
    inner = slice(step, -step)
    assert torch.allclose(every.plane[inner], some.plane[inner], atol=1e-3)
    # and a detail between two slices is missed, which is the price
    ramp[step // 2 + step + 1] = 3
    spoiled = run(bright, (ramp, mask), slice_step=step)
    assert torch.allclose(spoiled.plane[inner], some.plane[inner], atol=1e-3)


def test_thick_slices_keep_the_scores_of_their_middles(bright):
    image = 0.5 + 0.3 * torch.rand(SIDES, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(SIDES, dtype=torch.bool)
    middles = list(range(2, SIDES[0], 5))
    every, thick = run(bright, (image, mask)), run(bright, (image, mask), slices=middles)
    for middle in middles[1:-1]:
        for place in range(middle - 2, middle + 3):
            assert torch.allclose(thick.plane[place], every.plane[middle], atol=1e-4)
            assert torch.allclose(thick.joint[place], every.joint[middle], atol=1e-4)
    # every second of them: those between are interpolated, for another look only
    coarser = run(bright, (image, mask), slices=middles, slice_step=2)
    between = (every.plane[middles[1]] + every.plane[middles[3]]) / 2
    assert torch.allclose(coarser.plane[middles[2]], between, atol=1e-4)


def test_a_region_between_two_middles_is_scored(bright):
    mask = torch.zeros(SIDES, dtype=torch.bool)
    mask[11:13, 40:50, 40:50] = True
    image = torch.where(mask, torch.ones(SIDES), torch.zeros(SIDES))
    raw = run(bright, (image, mask), slices=[5, 25, 45])
    assert torch.allclose(raw.plane[mask], torch.full((200,), 8 * (1 - USUAL)), atol=1e-4)


def test_progress_comes_once_a_tile(scene, bright):
    slices = int(scene[1].any(2).any(1).sum())
    seen = list(score(bright, *scene, tile=4))
    assert len(seen) == -(-slices // 4)
    assert {progress.total for progress in seen} == {slices}
    assert all(before.done < after.done for before, after in pairwise(seen))
    assert len(list(score(bright, *scene, tile=4, slice_step=2))) == -(-(slices // 2) // 4)


def test_a_closed_scoring_leaves_gradients_as_they_were(scene, bright):
    steps = score(bright, *scene, tile=4)
    next(steps)
    assert not torch.is_inference_mode_enabled()
    steps.close()
    assert list(steps) == []
    assert torch.is_grad_enabled()


def test_an_empty_region_is_scored_without_complaint(bright):
    nothing = torch.zeros(SIDES)
    raw = run(bright, (nothing, nothing > 0))
    assert raw.plane.isfinite().all()
    assert raw.joint.shape == SIDES
