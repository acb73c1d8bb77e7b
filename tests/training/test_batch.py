from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_anomaly.networks.joint import TISSUE_CHANNELS, JointNetwork
from napari_anomaly.networks.plane import PLANE_CHANNELS
from napari_anomaly.networks.volume import VOLUME_CHANNELS
from napari_anomaly.preprocess import SLICE_OFFSETS_MM
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.training.batch import Pool, choose_slices, make_batch, paint_normal, subject_weights
from napari_anomaly.training.contrast import FAMILIES
from napari_anomaly.training.tissue_atlas import build_atlas
from small_subjects import SIDES, label_subject, real_subject

CPU = torch.device("cpu")


def a_pool(size=2, seed=0, subjects=None):
    pool = Pool(
        subjects or [label_subject(), real_subject()], size=size, rng=np.random.default_rng(seed), device=CPU
    )
    while pool.missing:
        pool.renew()
    return pool


@pytest.fixture(scope="module")
def pool():
    return a_pool()


def batch_of(pool, seed=0, **changes):
    words = {"scans": 2, "slices": 6, "difficulty": Difficulty(), "library": None, **changes}
    return make_batch(pool, np.random.default_rng(seed), **words)


def test_a_pool_fills_and_replaces_its_oldest():
    pool = Pool([real_subject()], size=2, rng=np.random.default_rng(0), device=CPU)
    left = []
    for _ in range(3):
        left.append(pool.missing)
        pool.renew()
    assert left == [2, 1, 0]
    assert pool.missing == 0


def test_a_pool_gives_its_normals_mirrored_half_of_the_time():
    pool = a_pool(size=1)
    seen = [pool.draw() for _ in range(40)]
    straight = [torch.equal(normal.image, seen[0].image) for normal in seen]
    assert 8 < sum(straight) < 32
    for normal, same in zip(seen, straight, strict=True):
        if not same:
            assert torch.equal(normal.image.flip(-1), seen[0].image)
            assert torch.equal(normal.mask.flip(-1), seen[0].mask)
            assert torch.equal(normal.white.flip(-1), seen[0].white)


def test_kinds_of_subjects_count_by_their_share():
    label, t1, flair = label_subject(head=False), real_subject("t1"), real_subject("flair")
    assert subject_weights([label, t1, flair]) == pytest.approx([0.45, 0.45, 0.1])
    assert subject_weights([label, label, t1]) == pytest.approx([0.25, 0.25, 0.5])
    assert subject_weights([flair]) == pytest.approx([1])
    assert subject_weights([real_subject("own")] * 4) == pytest.approx([0.25] * 4)


def test_a_painted_normal_carries_something_and_stays_itself(pool):
    for seed in range(2):
        normal = pool.draw()
        before = normal.image.clone()
        painted = paint_normal(normal, np.random.default_rng(seed), difficulty=Difficulty(), library=None)
        assert painted.truth.any()
        assert not (painted.truth & ~normal.mask).any()
        assert torch.equal(normal.image, before)
        assert not torch.equal(painted.image, normal.image.float())


def test_without_white_matter_a_normal_is_painted_too(pool):
    normal = replace(pool.draw(), white=torch.zeros(SIDES, dtype=torch.bool))
    for seed in range(2):
        painted = paint_normal(normal, np.random.default_rng(seed), difficulty=Difficulty(), library=None)
        assert painted.truth.any()


def test_anomalies_are_drawn_to_the_white_matter(pool):
    normal = pool.draw()
    white = torch.zeros_like(normal.mask)
    white[22:27, 46:51, 70:75] = True
    assert normal.mask[white].all()

    def share(scan):
        seen = [
            paint_normal(scan, np.random.default_rng(seed), difficulty=Difficulty(), library=None).truth
            for seed in range(8)
        ]
        return np.mean([float(truth[white].float().mean()) for truth in seen])

    assert share(replace(normal, white=white)) > 2 * share(replace(normal, white=normal.mask))


@pytest.mark.parametrize(
    ("subject", "family"), [(real_subject("flair"), "flair"), (real_subject("own"), "free")]
)
def test_a_batch_tells_the_contrast(subject, family):
    batch = batch_of(a_pool(size=1, subjects=[subject]), scans=2, slices=1)
    assert batch.contrast.dtype == torch.int64
    assert batch.contrast.tolist() == [FAMILIES.index(family)] * 2


def test_a_synthesised_scan_tells_the_contrast_it_was_drawn_in():
    seen = set()
    for seed in range(4):
        pool = a_pool(size=1, seed=seed, subjects=[label_subject()])
        family = pool.draw().family
        assert batch_of(pool, scans=1, slices=1).contrast.tolist() == [FAMILIES.index(family)]
        seen.add(family)
    assert len(seen) > 1


def test_a_batch_holds_what_the_networks_need(pool):
    batch = batch_of(pool)
    depth, height, width = SIDES
    assert batch.slices.shape == (12, PLANE_CHANNELS + TISSUE_CHANNELS, height, width)
    assert batch.slices.is_contiguous(memory_format=torch.channels_last)
    channels = VOLUME_CHANNELS + TISSUE_CHANNELS
    assert batch.volume.shape == (2, channels, depth // 3, height // 3, width // 3)
    assert batch.slice_truth.shape == (12, 1, height, width)
    assert batch.volume_truth.shape == (2, 1, depth // 3, height // 3, width // 3)
    assert batch.scan_of.tolist() == [0] * 6 + [1] * 6
    assert batch.where.abs().max() < 1
    with torch.no_grad():
        seen = JointNetwork((2, 2, 2, 2), (2, 2, 2, 2)).eval()(
            batch.slices, batch.volume, batch.where, batch.scan_of
        )
    assert seen.joint.shape == batch.slice_truth.shape
    assert seen.volume.shape == batch.volume_truth.shape
    assert seen.scan.shape == batch.scan_truth.shape == batch.contrast.shape
    assert seen.contrast.shape == (2, len(FAMILIES))
    assert seen.embeddings[0].shape[:2] == batch.inside.shape


def test_with_an_atlas_both_networks_see_what_is_untypical():
    atlas = build_atlas([label_subject(head=False)])
    without, shown = (batch_of(a_pool(size=1), atlas=known) for known in (None, atlas))
    assert not without.slices[:, PLANE_CHANNELS:].any()
    assert not without.volume[:, VOLUME_CHANNELS:].any()
    # the same places of the same scan, but for the scanner's gain
    mask = len(SLICE_OFFSETS_MM) + 1
    assert torch.equal(shown.slices[:, mask:PLANE_CHANNELS], without.slices[:, mask:PLANE_CHANNELS])
    for one, other in (
        (shown.slices[:, 2], without.slices[:, 2]),
        (shown.volume[:, 0], without.volume[:, 0]),
    ):
        tissue = other != 0
        assert torch.equal(one != 0, tissue)
        assert float(torch.corrcoef(torch.stack((one[tissue], other[tissue])))[0, 1]) > 0.9
    # anomalies are untypical more than the rest
    untypical, truth = shown.slices[:, PLANE_CHANNELS], shown.slice_truth[:, 0].bool()
    normal = ~truth & (shown.slices[:, 2] != 0)
    assert float(untypical[truth].mean()) > float(untypical[normal].mean()) + 0.1


def test_slices_and_volume_show_the_same_place(pool):
    batch = batch_of(pool, scans=1)
    places = ((batch.where + 1) * SIDES[0] / 2 - 0.5).round().long()
    for row, place in enumerate(places.tolist()):
        pooled = torch.nn.functional.avg_pool2d(batch.slices[row, 6][None, None], 3)[0, 0]
        if 3 <= place < SIDES[0] - 3:
            coarse = batch.volume[0, 2, place // 3]
            assert float((pooled - coarse).abs().mean()) < 0.1
    # the truth of the volume is the mean of that of the slices
    assert float(batch.volume_truth.sum()) > 0
    assert batch.volume_truth.max() <= 1


def test_truth_is_told_to_every_head(pool):
    scans = [batch_of(pool, seed, scans=1, slices=3) for seed in range(14)]
    painted = [float(batch.scan_truth[0]) for batch in scans]
    assert set(painted) == {0.0, 1.0}
    for batch, wanted in zip(scans, painted, strict=True):
        assert bool(batch.volume_truth.any()) == bool(wanted)
        assert bool(batch.slice_truth.any()) == bool(wanted)
        assert not (batch.slice_truth[:, 0].bool() & (batch.slices[:, 6] == 0)).any()


def test_cells_are_told_apart_by_the_brain(pool):
    batch = batch_of(pool, scans=1)
    cells = torch.nn.functional.avg_pool2d(batch.slices[:, 6:7], 16).flatten(1)
    assert torch.equal(batch.inside, cells > 0.3)
    assert batch.inside.any()
    assert not batch.inside.all()


def test_the_same_seed_makes_the_same_batch():
    one, same, other = (batch_of(a_pool(seed=3), seed) for seed in (1, 1, 2))
    assert torch.equal(one.slices, same.slices)
    assert torch.equal(one.slice_truth, same.slice_truth)
    assert not torch.equal(one.slices, other.slices)


def truth_in(*planes):
    truth = torch.zeros(20, 16, 16, dtype=torch.bool)
    for plane, count in planes:
        truth[plane].view(-1)[:count] = True
    mask = torch.zeros_like(truth)
    mask[4:16] = True
    return truth, mask


def test_two_thirds_of_the_slices_show_an_anomaly():
    truth, mask = truth_in((7, 20), (8, 30))
    chosen = choose_slices(truth, mask, 9, np.random.default_rng(0))
    assert len(chosen) == 9
    assert set(chosen[:6].tolist()) <= {7, 8}
    assert all(mask[place].any() for place in chosen.tolist())
    assert len(set(choose_slices(truth, mask, 60, np.random.default_rng(0))[40:].tolist())) > 8


def test_larger_anomalies_are_shown_more_often():
    truth, mask = truth_in((5, 4), (9, 36), (14, 144))
    chosen = choose_slices(truth, mask, 900, np.random.default_rng(0))[:600]
    counts = [int((chosen == place).sum()) for place in (5, 9, 14)]
    assert all(few < many for few, many in pairwise(counts))
    assert np.array(counts) / 600 == pytest.approx([0.1, 0.3, 0.6], abs=0.06)


def test_a_normal_scan_shows_any_slice_of_its_brain():
    truth, mask = truth_in()
    chosen = choose_slices(truth, mask, 200, np.random.default_rng(0))
    assert set(chosen.tolist()) == set(range(4, 16))
