import numpy as np
import pytest
import torch

from napari_anomaly.pretask.unseen import LEAST_INSIDE, SIDES_MM, TASKS, paint_unseen

SHAPE = (60, 72, 64)


@pytest.fixture(scope="module")
def normal():
    generator = torch.Generator().manual_seed(0)
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    mask = z**2 + y**2 + x**2 < 0.9
    image = (0.5 + 0.3 * x + 0.05 * torch.randn(SHAPE, generator=generator)) * mask
    return image, mask


@pytest.mark.parametrize("task", TASKS)
def test_only_the_truth_is_changed_and_the_same_seed_paints_alike(normal, task):
    image, mask = normal
    before = image.clone()
    painted, again, other = (
        paint_unseen(image, mask, task, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(image, before)
    assert torch.equal(painted.image[~painted.truth], image[~painted.truth])
    assert not (painted.truth & ~mask).any()
    changed = painted.image[painted.truth] != image[painted.truth]
    assert changed.float().mean() > 0.5
    assert torch.equal(painted.image, again.image)
    assert not torch.equal(painted.image, other.image)


def box(truth):
    return [int(np.ptp(axis)) + 1 for axis in torch.nonzero(truth).numpy().T]


def test_cuboids_lie_in_the_brain(normal):
    image, mask = normal
    for seed in range(10):
        truth = paint_unseen(image, mask, "constant", np.random.default_rng(seed)).truth
        assert max(box(truth)) <= SIDES_MM[1]
        assert truth.sum() >= LEAST_INSIDE * 0.5 * SIDES_MM[0] ** 3


def test_each_task_does_what_its_name_says(normal):
    image, mask = normal
    constant = paint_unseen(image, mask, "constant", np.random.default_rng(0))
    assert len(constant.image[constant.truth].unique()) == 1
    edges = paint_unseen(image, mask, "edges", np.random.default_rng(0))
    flat = paint_unseen(torch.ones_like(image), torch.ones_like(mask), "edges", np.random.default_rng(0))
    assert flat.image[flat.truth].abs().max() < 1e-6
    assert edges.image[edges.truth].std() > 0.01
    whole = torch.ones_like(mask)
    for task in ("rotation", "permutation"):
        # the values of the cube are all kept, in other places
        moved = paint_unseen(image, whole, task, np.random.default_rng(1))
        assert torch.equal(moved.image[moved.truth].sort().values, image[moved.truth].sort().values)
    copied = paint_unseen(image, whole, "copy", np.random.default_rng(1))
    assert torch.isin(copied.image[copied.truth], image).all()
    scar = paint_unseen(image, mask, "scar", np.random.default_rng(0))
    assert 50 < int(scar.truth.sum()) < 70 * 36
    assert (scar.image - image)[scar.truth].abs().mean() > 0.3
