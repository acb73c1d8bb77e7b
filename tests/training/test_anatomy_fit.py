import numpy as np
import pytest
import torch

from napari_anomaly.anatomy import NAMES, STRUCTURES, label_of
from napari_anomaly.networks.anatomy import to_labels
from napari_anomaly.training.anatomy_cases import make_example
from napari_anomaly.training.anatomy_fit import (
    anatomy_loss,
    around_brain,
    fit_anatomy,
    fit_atlas,
    named,
    seen_by,
    start_anatomy,
)
from napari_anomaly.training.anatomy_settings import AnatomySettings
from napari_anomaly.training.atlases import UNKNOWN, parts
from small_anatomy import a_case

CPU = torch.device("cpu")
SETTINGS = AnatomySettings(widths=(4, 4, 8), steps=3)


def logit_of(labels, strength=9.0):
    """Logits that are sure of these labels."""
    names, sides = named(labels)
    logit = torch.zeros(1, len(NAMES) + 1, *labels.shape)
    logit[0, :-1].scatter_(0, names[None], strength)
    logit[0, -1] = torch.where(sides == 1, strength, -strength)
    return logit


def test_names_and_sides_of_labels():
    names, sides = named(torch.tensor([label_of("insula", "left"), label_of("brainstem"), UNKNOWN]))
    assert names.tolist() == [NAMES.index("insula"), NAMES.index("brainstem"), UNKNOWN]
    assert sides.tolist() == [1, UNKNOWN, UNKNOWN]


def test_the_loss_is_least_for_the_truth():
    truth = torch.randint(1, len(STRUCTURES), (4, 4, 4), generator=torch.Generator().manual_seed(0))
    every = torch.arange(len(NAMES))
    right = anatomy_loss(logit_of(truth), *named(truth), every)
    wrong_side = anatomy_loss(logit_of(truth) * torch.tensor([1.0] * len(NAMES) + [-1.0]).view(1, -1, 1, 1, 1),
                              *named(truth), every)  # fmt: skip
    wrong_name = anatomy_loss(logit_of(truth.roll(1, 0)), *named(truth), every)
    assert right < 0.05
    assert wrong_side > right + 1
    assert wrong_name > right + 1


def test_lobes_that_are_not_told_apart_cost_nothing():
    truth = torch.full((4, 4, 4), label_of("frontal cortex", "left"))
    said = logit_of(torch.full((4, 4, 4), label_of("temporal cortex", "left")))
    assert anatomy_loss(said, *named(truth), torch.tensor(parts())) < 0.05
    assert anatomy_loss(said, *named(truth), torch.arange(len(NAMES))) > 1


def test_unknown_voxels_count_nothing():
    truth = torch.full((4, 4, 4), label_of("insula", "left"))
    said = logit_of(truth)
    truth[0] = UNKNOWN
    spoilt = said.clone()
    spoilt[:, :, 0] = 7.0
    every = torch.arange(len(NAMES))
    assert torch.equal(anatomy_loss(said, *named(truth), every), anatomy_loss(spoilt, *named(truth), every))


def test_an_arm_sees_its_own_channels_only():
    inputs = torch.rand(1, 5, 2, 2, 2) + 1
    kept = {arm: seen_by(arm, inputs)[0, :, 0, 0, 0] > 0 for arm in ("image", "mask", "image+mask")}
    assert kept["image"].tolist() == [True] + [False] * 4
    assert kept["mask"].tolist() == [False] + [True] * 4
    assert kept["image+mask"].all()


@pytest.fixture(scope="module")
def case():
    return a_case()


def test_the_air_is_cut_away_and_has_no_label(case):
    example = make_example(case, np.random.default_rng(1), CPU)
    inputs, truth = around_brain(example.inputs, example)
    assert all(a <= b and a % 2 == 0 for a, b in zip(truth.shape, example.truth.shape, strict=True))
    assert inputs.shape[2:] == truth.shape
    assert float(inputs[0, 1].sum()) == float(example.inputs[0, 1].sum())
    assert (truth[inputs[0, 1] < 0.5] == UNKNOWN).all()


def test_the_atlas_alone_tells_sides_and_what_lies_inside(case):
    run = start_anatomy(SETTINGS, CPU)
    fit_atlas(run, [case], poses=4)
    example = make_example(case, np.random.default_rng(2), CPU)
    with torch.inference_mode():
        labels = to_labels(run.network(example.inputs)[0])
    for name, side in (("lateral ventricle", "left"), ("frontal cortex", "right")):
        label = label_of(name, side)
        hits = ((labels == label) & (example.truth == label)).sum()
        assert (
            2
            * hits
            / ((labels == label) & (example.inputs[0, 1] > 0.5)).sum().add((example.truth == label).sum())
            > 0.4
        )
    assert torch.equal(run.network.atlas, run.average.module.atlas)


def test_steps_change_the_weights_and_stop(case):
    run = start_anatomy(SETTINGS, CPU)
    before = run.network.head.weight.clone()
    texts = [progress.text for progress in fit_anatomy(run, [case])]
    assert len(texts) == run.step == 3
    assert run.progress == 1.0
    assert len(run.curve) == 3
    assert not torch.equal(before, run.network.head.weight)


def test_minutes_end_a_training():
    run = start_anatomy(AnatomySettings(widths=(4, 4, 8), minutes=1.0), CPU)
    run.seconds = 61.0
    assert run.progress == 1.0
    assert list(fit_anatomy(run, [])) == []
