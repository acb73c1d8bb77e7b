import numpy as np
import pytest
import torch

from napari_anomaly.preprocess import extraction_inputs
from napari_anomaly.training.extraction import EXTRACTION_WIDTHS, make_head, train_extraction
from small_subjects import HEAD_SIDES, egg, label_subject, real_subject

CPU = torch.device("cpu")


def train(steps, seed=0):
    subjects = [label_subject(head=False), label_subject(), real_subject()]
    running, seen = train_extraction(subjects, steps=steps, rng=np.random.default_rng(seed), device=CPU), []
    while True:
        try:
            seen.append(next(running))
        except StopIteration as done:
            return done.value, seen


def dice(network):
    """Agreement on fresh heads that were never trained on."""
    rng, both, total = np.random.default_rng(1000), 0.0, 0.0
    for subject in (label_subject(), real_subject()) * 2:
        image, truth = make_head(subject, rng, CPU)
        with torch.inference_mode():
            found = network(extraction_inputs(image)).logit[0, 0] > 0
        both += 2 * float((found & (truth > 0.5)).sum())
        total += float(found.sum() + (truth > 0.5).sum())
    return both / total


def test_it_learns_to_find_the_brain_and_says_how_far_it_is():
    torch.manual_seed(0)
    network, seen = train(30)
    assert not network.training
    assert (network.inputs, network.widths) == (2, EXTRACTION_WIDTHS)
    assert [(progress.done, progress.total) for progress in seen] == [(step + 1, 30) for step in range(30)]
    torch.manual_seed(0)
    untrained, _ = train(1)
    assert dice(network) > max(0.6, dice(untrained) + 0.1)


@pytest.mark.parametrize("kind", ["labels", "t1", "flair"])
def test_a_head_comes_with_its_brain(kind):
    subject = label_subject() if kind == "labels" else real_subject(kind)
    sizes = []
    for seed in range(10):
        image, truth = make_head(subject, np.random.default_rng(seed), CPU)
        assert tuple(image.shape) == tuple(truth.shape) == HEAD_SIDES
        assert image.isfinite().all()
        assert set(truth.unique().tolist()) <= {0.0, 1.0}
        sizes.append(float(truth.sum()))
    whole = egg(HEAD_SIDES, 0.8).sum()
    assert max(sizes) == pytest.approx(whole, rel=0.3)
    # some fields of view end within the brain
    assert min(sizes) < 0.8 * max(sizes)


def test_the_same_seed_makes_the_same_head():
    one, same, other = (make_head(real_subject(), np.random.default_rng(seed), CPU) for seed in (2, 2, 3))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])


def test_a_subject_without_a_head_is_refused():
    with pytest.raises(ValueError, match="labels has no whole head"):
        make_head(label_subject(head=False), np.random.default_rng(0), CPU)
