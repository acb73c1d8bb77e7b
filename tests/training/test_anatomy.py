import json

import numpy as np
import pytest

from napari_anomaly.detector.anatomy import read_anatomy_card
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.progress import drain
from napari_anomaly.training.anatomy import anatomy_files, train_anatomy
from napari_anomaly.training.anatomy_settings import AnatomySettings
from small_anatomy import numbers
from small_subjects import write_volume

SMALL = (44, 52, 48)


@pytest.fixture
def folders(tmp_path):
    labels, heads = tmp_path / "labels", tmp_path / "heads"
    labels.mkdir()
    heads.mkdir()
    brain = numbers(SMALL)
    for name in ("seg_1", "seg_2"):
        write_volume(labels / f"{name}.nii.gz", brain)
    muse = np.zeros_like(brain)
    for number, region in ((2, 82), (41, 81), (3, 183), (42, 182), (4, 52), (43, 51)):
        muse[brain == number] = region
    for name in ("a", "b"):
        write_volume(heads / f"{name}.nii.gz", brain.astype(np.float32))
    write_volume(heads / "a_DLMUSE.nii.gz", muse)
    return labels, heads


def settings_of(tmp_path, folders, **more):
    labels, heads = folders
    return AnatomySettings(
        label_maps=labels, heads=heads, out=tmp_path / "out" / "a.safetensors", widths=(4, 4, 8), device="cpu", **more
    )  # fmt: skip


def test_files_are_trained_on_or_held_out(tmp_path, folders):
    trained, held = anatomy_files(settings_of(tmp_path, folders, held_out_every=2))
    assert [file.name for file in trained] == ["seg_1", "a"]
    assert [file.name for file in held] == ["seg_2"]
    trained, held = anatomy_files(settings_of(tmp_path, folders, held_out=("a",)))
    assert [file.name for file in trained] == ["seg_1", "seg_2"]
    assert [file.name for file in held] == ["a"]
    assert held[0].lobes is not None


def test_nothing_to_train_on_is_said(tmp_path):
    with pytest.raises(UnreadableScan, match="No brains with known anatomy were found in no folder"):
        drain(train_anatomy(AnatomySettings(out=tmp_path / "a.safetensors", device="cpu")))


def test_label_maps_become_weights_and_a_stopped_training_goes_on(tmp_path, folders):
    work = train_anatomy(settings_of(tmp_path, folders, steps=3, held_out=("seg_2",)))
    texts = []
    for progress in work:
        texts.append(progress.text)
        if progress.text.startswith("Step 2"):
            work.close()
    assert texts[:2] == ["Reading seg_1.nii.gz", "Reading a.nii.gz"]
    done = []
    path = drain(train_anatomy(settings_of(tmp_path, folders, steps=3, held_out=("seg_2",))), done.append)
    assert [progress.text[:6] for progress in done if progress.text.startswith("Step")] == ["Step 3"]
    facts = dict(read_anatomy_card(path).provenance)
    assert facts["steps"] == 3
    assert facts["trained_on"] == ["a.nii.gz", "seg_1.nii.gz"]
    assert facts["held_out"] == ["seg_2.nii.gz"]
    assert facts["folders"] == ["labels", "heads"]
    assert str(tmp_path) not in json.dumps(facts)
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == facts
