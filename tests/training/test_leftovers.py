"""What brain extraction leaves behind is put there, and stays apart from the brain."""

import numpy as np
import pytest
import torch

from napari_anomaly.training import leftovers
from napari_anomaly.training.leftovers import distance, leave


@pytest.fixture
def ball() -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(48) - 23.5] * 3, indexing="ij")
    return sum(axis**2 for axis in axes) < 15**2  # type: ignore[arg-type, return-value]


@pytest.fixture
def scan(ball: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(ball.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(ball, 0.6 + 0.1 * noise, torch.zeros(()))


def only_crescents(monkeypatch: pytest.MonkeyPatch, *, sinuses: float) -> None:
    monkeypatch.setattr(leftovers, "CRESCENTS", 1.0)
    monkeypatch.setattr(leftovers, "BITES", 0.0)
    monkeypatch.setattr(leftovers, "SINUSES", sinuses)


def test_distance_grows_outwards_and_is_zero_at_the_surface(ball: torch.Tensor) -> None:
    along = distance(ball)[24, 24, 24:]
    assert bool((along.diff()[5:20] > 0).all())
    # half the cube about a point of a sphere is a little less than half full
    assert abs(int((along < 0).sum()) - 15) <= 2


def test_crescents_lie_outside_the_brain_and_are_kept(
    monkeypatch: pytest.MonkeyPatch, ball: torch.Tensor, scan: torch.Tensor
) -> None:
    only_crescents(monkeypatch, sinuses=0.0)
    sizes = []
    for seed in range(8):
        image, kept = leave(scan, ball, np.random.default_rng(seed))
        changed = image != scan
        assert bool(kept[ball].all())
        assert not bool((changed & ball).any())
        assert float(distance(ball)[kept].max()) <= 8.5
        sizes.append(int((kept & ~ball).sum()))
    assert np.median(sizes) > 100


def test_a_gap_often_parts_a_crescent_from_the_brain(
    monkeypatch: pytest.MonkeyPatch, ball: torch.Tensor, scan: torch.Tensor
) -> None:
    only_crescents(monkeypatch, sinuses=0.0)
    nearest = []
    for seed in range(24):
        _, kept = leave(scan, ball, np.random.default_rng(seed))
        outside = kept & ~ball
        if bool(outside.any()):
            nearest.append(float(distance(ball)[outside].min()))
    surface = float(distance(ball)[~ball].min())
    assert min(nearest) < surface + 0.1
    assert max(nearest) > surface + 1


def test_a_sinus_is_a_dark_void_between_its_wall_and_the_brain(
    monkeypatch: pytest.MonkeyPatch, ball: torch.Tensor, scan: torch.Tensor
) -> None:
    only_crescents(monkeypatch, sinuses=1.0)
    darkened = 0
    for seed in range(8):
        image, kept = leave(scan, ball, np.random.default_rng(seed))
        assert bool(kept[ball].all())
        changed = ball & (image != scan)
        darkened += int(changed.any())
        # it presses into the surface and leaves the depth alone
        assert not bool((changed & (distance(ball) < -9)).any())
        if bool(changed.any()):
            assert float(image[changed].mean()) < float(scan[ball].mean())
    assert darkened >= 4


def test_bites_take_surface_only(
    monkeypatch: pytest.MonkeyPatch, ball: torch.Tensor, scan: torch.Tensor
) -> None:
    monkeypatch.setattr(leftovers, "CRESCENTS", 0.0)
    monkeypatch.setattr(leftovers, "BITES", 1.0)
    image, kept = leave(scan, ball, np.random.default_rng(3))
    lost = ball & ~kept
    assert bool(lost.any())
    assert float(distance(ball)[lost].min()) > -6
    assert bool((image == scan).all())


def test_an_empty_brain_is_left_alone() -> None:
    nothing = torch.zeros((8, 8, 8), dtype=torch.bool)
    image, kept = leave(torch.zeros((8, 8, 8)), nothing, np.random.default_rng(0))
    assert not bool(kept.any())
    assert not bool(image.any())


def test_the_same_seed_leaves_the_same(ball: torch.Tensor, scan: torch.Tensor) -> None:
    first, second = (leave(scan, ball, np.random.default_rng(5)) for _ in range(2))
    assert bool((first[0] == second[0]).all())
    assert bool((first[1] == second[1]).all())
