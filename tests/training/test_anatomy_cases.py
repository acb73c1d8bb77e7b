import nibabel as nib
import numpy as np
import pytest
import torch

from napari_anomaly.anatomy import MIRRORED, NAMES, STRUCTURES, label_of
from napari_anomaly.preprocess import FIELD
from napari_anomaly.training.anatomy_cases import (
    make_example,
    make_pose,
    mirrored,
    other_side,
    read_lobes,
    read_whole,
)
from napari_anomaly.training.atlases import UNKNOWN, parts
from napari_anomaly.training.contrast import CLASSES
from small_anatomy import a_case, numbers
from small_subjects import write_volume

CPU = torch.device("cpu")
LEFT = torch.tensor([label for label, structure in enumerate(STRUCTURES) if structure.side == "left"])


@pytest.fixture(scope="module")
def case():
    return a_case()


def leftness(truth):
    """Mean place along the last axis, which points left, of what is left, minus that of what is right."""
    left = torch.isin(truth, LEFT)
    right = torch.isin(truth, torch.tensor(MIRRORED)[LEFT])
    return float(torch.nonzero(left)[:, 2].float().mean() - torch.nonzero(right)[:, 2].float().mean())


def test_a_whole_head_is_read_with_its_sides(tmp_path):
    small = numbers((60, 72, 64))
    whole = read_whole(write_volume(tmp_path / "seg_01.nii.gz", small))
    assert whole.name == "seg_01"
    assert whole.truth.shape == whole.mask.shape == whole.classes.shape == FIELD
    assert whole.partition.tolist() == list(parts())
    assert whole.scan is None
    assert int((whole.truth == label_of("frontal cortex", "left")).sum()) == int((small == 3).sum())
    assert int((whole.classes == CLASSES[514]).sum()) == int((small == 514).sum())
    assert leftness(whole.truth) > 10
    fluid = torch.nonzero(whole.truth == label_of("fluid around the brain", "left"))[:, 2]
    assert len(fluid) > 100
    assert int(fluid.min()) >= FIELD[2] // 2 - 1


def test_a_head_with_lobes_is_read_with_its_scan(tmp_path):
    small = numbers((60, 72, 64))
    muse = np.zeros_like(small)
    for number, region in ((2, 82), (41, 81), (3, 183), (42, 182), (4, 52), (43, 51)):
        muse[small == number] = region
    labels = write_volume(tmp_path / "a_DLMUSE.nii.gz", muse)
    scan = write_volume(tmp_path / "a.nii.gz", small.astype(np.float32))
    lobed = read_lobes(scan, labels)
    assert lobed.scan is not None
    assert lobed.partition.tolist() == list(range(len(NAMES)))
    assert int((lobed.truth == label_of("frontal white matter", "left")).sum()) == int((small == 2).sum())
    assert leftness(lobed.truth) > 10
    assert set(lobed.classes.unique().tolist()) == {0, CLASSES[2], CLASSES[3], CLASSES[4]}
    assert nib.load(labels).shape == (64, 72, 60)


@pytest.mark.parametrize("seed", range(6))
def test_left_stays_left_in_every_pose(case, seed):
    truth, mask = make_pose(case, np.random.default_rng(seed), CPU)
    assert truth.shape == mask.shape == (52, 64, 52)
    assert leftness(truth) > 5


def test_an_example_fits_its_labels_and_its_mirror_image_too(case):
    example = make_example(case, np.random.default_rng(0), CPU)
    assert example.inputs.shape == (1, 5, 52, 64, 52)
    assert example.truth.shape == (52, 64, 52)
    inside = example.inputs[0, 1] >= 0.5
    assert not example.truth[~inside].any()
    assert float(example.inputs[0, 0][~inside].abs().max()) < 3.5
    for seen in (example, mirrored(example)):
        assert leftness(seen.truth) > 5
        x = seen.inputs[0, 4]
        assert float(x[torch.isin(seen.truth, LEFT)].mean()) > 0.1
    again = mirrored(mirrored(example))
    assert torch.equal(again.inputs, example.inputs)
    assert torch.equal(again.truth, example.truth)
    assert not torch.equal(mirrored(example).truth, example.truth)


def test_a_scan_is_bare_of_its_head_or_not(case):
    bare, whole = (
        make_example(case, np.random.default_rng(3), CPU, stripped=stripped, diseased=0.0)
        for stripped in (True, False)
    )
    outside = bare.inputs[0, 1] == 0
    assert not bare.inputs[0, 0][outside].any()
    assert float(whole.inputs[0, 0][outside].abs().max()) > 0.1


def test_the_other_side_keeps_what_is_unknown():
    labels = torch.tensor([0, label_of("insula", "left"), UNKNOWN])
    assert other_side(labels).tolist() == [0, label_of("insula", "right"), UNKNOWN]
