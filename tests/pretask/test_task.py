from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_anomaly.pretask import blending
from napari_anomaly.pretask.shapes import Shape
from napari_anomaly.pretask.task import VISIBLE, Anomaly, Difficulty, paint, sample

GRID = (40, 44, 48)
BALL = Shape(centre=(20, 22, 24), radii=(6.0, 6.0, 6.0), turn=(0.0, 0.0, 0.0), rough=0.0, edge=0.3, seed=1)
KINDS = ("shift", "replace", "rim", "transplant", "blur", "push")


@pytest.fixture(scope="module")
def image():
    """Give tissue with detail at the scale of voxels."""
    fine = torch.rand(GRID, generator=torch.Generator().manual_seed(0))
    axes = torch.meshgrid(*(torch.arange(side) for side in GRID), indexing="ij")
    folds = torch.stack([torch.sin(axis * 1.2) for axis in axes]).prod(0).sign()
    return 0.5 + 0.3 * folds + 0.1 * fine


@pytest.fixture(scope="module")
def mask():
    inside = torch.zeros(GRID, dtype=torch.bool)
    inside[6:-6, 6:-6, 6:-6] = True
    return inside


def an(kind, **changes):
    second = {"push": 0.5, "rim": -0.5}.get(kind, 0.3)
    return replace(Anomaly(shape=BALL, kind=kind, amount=0.6, second=second), **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_painting_is_pure_repeatable_and_true_where_something_changed(image, mask, kind):
    before, inside = image.clone(), mask.clone()
    first, second = paint(image, mask, (an(kind),)), paint(image, mask, (an(kind),))
    assert torch.equal(image, before)
    assert torch.equal(mask, inside)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.truth, second.truth)

    assert first.truth.sum() > 100
    changed = first.image != image
    assert not (changed & ~mask).any()
    assert not (first.truth & ~mask).any()
    assert blending.smooth((first.image - image).abs(), 3)[first.truth].min() > VISIBLE
    distance = torch.stack(torch.where(first.truth), 1).float() - torch.tensor(BALL.centre)
    assert distance.norm(dim=1).max() < 8


@pytest.mark.parametrize("kind", ["shift", "replace", "transplant"])
def test_the_seed_changes_what_it_should(image, mask, kind):
    rough = an(kind, shape=replace(BALL, rough=0.8))
    other = replace(rough, shape=replace(rough.shape, seed=2))
    assert not torch.equal(paint(image, mask, (rough,)).image, paint(image, mask, (other,)).image)


def test_a_ball_is_painted_with_its_amount_and_its_volume(image, mask):
    painted = paint(image, mask, (an("shift"),))
    assert float(painted.truth.sum()) == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.1)
    assert float((painted.image - image)[BALL.centre]) == pytest.approx(0.6, abs=1e-3)


def test_truth_ends_at_the_mask(image):
    half = torch.zeros(GRID, dtype=torch.bool)
    half[: BALL.centre[0]] = True
    painted = paint(image, half, (an("shift"),))
    assert painted.truth.any()
    assert not painted.truth[BALL.centre[0] :].any()
    assert torch.equal(painted.image[BALL.centre[0] :], image[BALL.centre[0] :])


def test_what_nobody_sees_is_not_painted(image, mask):
    for unseen in (
        an("shift", amount=0.5 * VISIBLE),
        an("shift", shape=replace(BALL, centre=(2, 2, 2), radii=(2.0, 2.0, 2.0))),
        an("push", second=0.0),
    ):
        painted = paint(image, mask, (unseen,))
        assert not painted.truth.any()
        assert torch.equal(painted.image, image)
    assert torch.equal(paint(image, mask, ()).image, image)


def test_tissue_bounds_an_anomaly():
    halves = torch.zeros(GRID)
    halves[:, :, 24:] = 1
    everywhere = torch.ones(GRID, dtype=torch.bool)
    bound = paint(halves, everywhere, (an("shift", tissue=0.3, shape=replace(BALL, centre=(20, 22, 26))),))
    free = paint(halves, everywhere, (an("shift", shape=replace(BALL, centre=(20, 22, 26))),))
    assert bound.truth[:, :, 25:].any()
    assert not bound.truth[:, :, :23].any()
    assert free.truth[:, :, :23].any()


def test_texture_varies_an_anomaly(image, mask):
    plain, textured = (paint(image, mask, (an("shift", texture=t),)) for t in (0.0, 0.25))
    inside = plain.truth
    assert (plain.image - image)[inside].std() < 0.7 * (textured.image - image)[inside].std()


def centres():
    return np.argwhere(np.ones((30, 30, 30), bool)) + 5


def draw(seed, **changes):
    words = {"bright": 0.5, "difficulty": Difficulty(), **changes}
    return sample(np.random.default_rng(seed), centres(), **words)


def test_the_same_seed_draws_the_same_anomalies():
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_draws_are_varied_and_within_bounds():
    drawn = [draw(seed, templates=7) for seed in range(300)]
    every = [anomaly for anomalies in drawn for anomaly in anomalies]
    assert set(Counter(anomaly.kind for anomaly in every)) == set(KINDS)
    counts = {len(anomalies) for anomalies in drawn}
    assert min(counts) == 1
    assert 23 < max(counts) <= 36
    for anomaly in every:
        assert all(5 <= place < 35 for place in anomaly.shape.centre)
        assert 1 <= min(anomaly.shape.radii) <= max(anomaly.shape.radii) < 34 * np.exp(0.9)
        assert -1 <= anomaly.shape.template < 7
    assert {anomaly.shape.template for anomaly in every} == set(range(-1, 7))
    assert all(anomaly.shape.template == -1 for seed in range(50) for anomaly in draw(seed))


def corner(side=6):
    return np.argwhere(np.ones((side, side, side), bool)) + 5


def lies_within(anomalies, side=6):
    return all(max(anomaly.shape.centre) < 5 + side for anomaly in anomalies)


def test_without_white_matter_any_place_may_be_diseased():
    assert draw(5, white=centres()) == draw(5)
    assert not any(lies_within(draw(seed)) for seed in range(60) if len(draw(seed)) > 2)


def test_many_lesions_lie_in_the_white_matter():
    drawn = [draw(seed, white=corner()) for seed in range(300)]
    within = [anomalies for anomalies in drawn if lies_within(anomalies)]
    # scattered lesions of the white matter, and three of four masses
    assert 0.4 < len(within) / 300 < 0.65
    scattered = [anomalies for anomalies in within if len(anomalies) > 3]
    assert 0.2 < len(scattered) / 300 < 0.4
    assert len({len(anomalies) for anomalies in scattered}) > 12
    assert max(len(anomalies) for anomalies in scattered) > 28
    # the oedema of a mass is larger than any of them
    assert max(np.mean(part.shape.radii) for part in sum((w for w in within if len(w) < 4), ())) > 25


def test_the_lesions_of_one_white_matter_look_alike():
    for seed in range(120):
        anomalies = draw(seed, white=corner())
        if len(anomalies) <= 3 or not lies_within(anomalies):
            continue
        # the last may be the one that runs together around the ventricles
        lesions = anomalies[:-1]
        assert {lesion.kind for lesion in anomalies} <= {"shift", "replace"}
        assert len({lesion.kind for lesion in lesions}) == len({lesion.grain for lesion in lesions}) == 1
        amounts = [lesion.amount for lesion in anomalies]
        assert len(set(np.sign(amounts))) == 1
        assert max(np.abs(amounts)) <= 1.2 / 0.7 * min(np.abs(amounts)) + 1e-9
        assert 0.7 * Difficulty().faintest <= min(np.abs(amounts)) <= max(np.abs(amounts)) <= 1.2 * 0.65
        assert max(np.mean(lesion.shape.radii) for lesion in lesions) < 15
        assert np.mean(anomalies[-1].shape.radii) < 20


def test_deep_white_matter_is_diseased_first():
    white = 4 * np.argwhere(np.ones((30, 30, 30), bool))
    middle = white.mean(0)
    scattered = [
        [lesion.shape.centre for lesion in anomalies]
        for seed in range(150)
        for anomalies in [draw(seed, white=white)]
        # no other scenario has as many
        if len(anomalies) > 23
    ]
    assert len(scattered) > 10
    depths = [np.linalg.norm(np.array(places) - middle, axis=1).mean() for places in scattered]
    usual = np.linalg.norm(white - middle, axis=1).mean()
    assert np.mean(depths) < 0.9 * usual
    # some patients more than others
    assert min(depths) < 0.7 * usual


def test_lesions_are_as_often_bright_as_asked():
    def share(bright):
        signs = [anomaly.amount > 0 for seed in range(200) for anomaly in draw(seed, bright=bright)]
        return np.mean(signs)

    assert share(0.95) > 0.85 > 0.6 > share(0.5) > 0.4 > 0.2 > share(0.05)


def test_training_goes_from_plain_to_faint():
    stages = [Difficulty.at(progress) for progress in (0.0, 0.2, 0.4, 1.0)]
    faintest = [stage.faintest for stage in stages]
    assert faintest == sorted(faintest, reverse=True)
    assert (faintest[0], faintest[-1]) == pytest.approx((0.5, Difficulty().faintest))
    shares = [stage.plain for stage in stages]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5 > shares[-1] == 0
    plain = [
        abs(a.amount)
        for seed in range(100)
        for a in draw(seed, difficulty=stages[0])
        # siblings vary, and the core of a mass has a contrast of its own
        if a.kind in ("blur", "transplant")
    ]
    assert min(plain) >= 0.5


def test_everything_that_is_drawn_can_be_painted(image, mask):
    inside = torch.nonzero(mask).numpy()
    seen = 0
    for seed in range(12):
        anomalies = sample(
            np.random.default_rng(seed), inside, bright=0.5, difficulty=Difficulty(), templates=2
        )
        painted = paint(image, mask, anomalies, library=torch.ones(2, 8, 8, 8, dtype=torch.uint8))
        assert painted.image.isfinite().all()
        assert not (painted.truth & ~mask).any()
        seen += bool(painted.truth.any())
    assert seen >= 10


def test_what_drowns_in_grain_is_no_anomaly(mask):
    flat = torch.full(GRID, 0.5)
    noise = 0.25 * torch.randn(GRID, generator=torch.Generator().manual_seed(3))
    faint = an("shift", amount=0.15)
    assert paint(flat, mask, (faint,)).truth.any()
    assert not paint(flat + noise, mask, (faint,)).truth.any()
    assert paint(flat + noise, mask, (an("shift", amount=0.4),)).truth.any()
