import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.errors import DetectorError, UnreadableDetector, UnreadableScan
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom
from napari_anomaly.training import finish, normals
from napari_anomaly.training import train as module
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.train import midway, train

SHAPE, FIELD_MM = (24, 28, 24), 56.0


@pytest.fixture(scope="module", autouse=True)
def small():
    """Keep knees in a field of view of their size, choose by two scans, convert no network: seconds, not minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normals, "FIELD", (72, 96, 72))
        patch.setattr(module, "better", partial(finish.better, scans=2))
        patch.setattr(finish, "installed", lambda: False)
        yield


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospital-7")
    for seed in range(2):
        scan = phantom(SHAPE, rng=np.random.default_rng(seed), field_mm=FIELD_MM)
        io.write_like(scan.voxels, scan, folder / f"normal-{seed}.nii.gz", kind="image")
    return TrainSettings(
        normals=(folder,),
        out=tmp_path_factory.mktemp("out") / "deep" / "knee.safetensors",
        name="knee",
        region="body",
        steps=2,
        pool=1,
        scans_per_step=1,
        slices_per_scan=1,
        device="cpu",
    )


@pytest.fixture(scope="module")
def trained(settings):
    """Stop the training after its first step, then let it go on; give what both said."""
    first = []
    running = train(settings)
    for progress in running:
        first.append(progress.text)
        if progress.text.startswith("Step 1"):
            break
    running.close()
    assert not settings.out.exists()
    second = []
    assert drain(train(settings), lambda progress: second.append(progress.text)) == settings.out
    return first, second


def test_a_stopped_training_goes_on_with_its_next_step(trained):
    first, second = (" ".join(texts) for texts in trained)
    assert "Step 1" in first
    assert "Step 2" not in first
    assert "Step 1" not in second
    assert "Step 2" in second
    assert "Calibrating on held-out normal scans" in second


def test_the_detector_loads_and_detects(settings, trained):
    detector = checkpoint.load(settings.out)
    assert (detector.name, detector.card.region, detector.extraction) == ("knee", "body", None)
    scan = phantom(SHAPE, lesion_mm=6, field_mm=FIELD_MM)
    found = drain(detect(scan, detector, DetectSettings(device="cpu", engine="torch"))).map
    assert found.geometry.same_grid(scan.geometry)
    assert 0 < found.score[12, 14, 12] < 1
    assert found.false_findings is not None
    assert found.detector == "knee 1.0"


def test_what_it_was_made_from_lies_beside_it_without_folders(settings, trained):
    files = sorted(path.name for path in settings.out.parent.iterdir())
    assert files == ["knee.checkpoint.safetensors", "knee.json", "knee.png", "knee.safetensors"]
    words = settings.out.with_suffix(".json").read_text()
    told = json.loads(words)
    assert told == checkpoint.load(settings.out).provenance
    assert (told["trained_on"], told["held_out"]) == (["normal-0.nii.gz"], ["normal-1.nii.gz"])
    assert told["steps"] == 2
    assert told["settings"]["region"] == "body"
    assert len(told["held_out_synthetic"]) == 12
    assert str(settings.normals[0].parent) not in words
    with Image.open(settings.out.with_suffix(".png")) as picture:
        assert picture.size == (900, 480)


def test_midway_lies_between_what_it_began_with_and_what_it_became():
    before, after = JointNetwork((2, 2, 2, 2), (2, 2, 2, 2)), JointNetwork((2, 2, 2, 2), (2, 2, 2, 2))
    kept = [{key: value.clone() for key, value in one.state_dict().items()} for one in (before, after)]
    mean = midway(before, after)
    assert not mean.training
    for key, value in mean.state_dict().items():
        one, other = (each[key] for each in kept)
        wanted = (one + other) / 2 if value.is_floating_point() else other
        assert torch.equal(value, wanted), key
    assert all(torch.equal(value, kept[1][key]) for key, value in after.state_dict().items())
    assert not torch.equal(mean.head.weight, after.head.weight)


def test_a_training_goes_on_from_a_detector_and_says_so(settings, trained, tmp_path):
    own = settings.model_copy(
        update={"out": tmp_path / "site.safetensors", "begin_with": str(settings.out), "steps": 1}
    )
    drain(train(own))
    told = checkpoint.load(own.out).provenance
    assert told["began_with"] == {
        "name": "knee",
        "version": "1.0",
        "region": "body",
        "sha256": checkpoint.load(settings.out).sha256,
        "steps": 2,
        "minutes": checkpoint.load(settings.out).provenance["minutes"],
    }
    assert told["steps"] == 1
    assert set(told["weights"]) == {"averaged", "last", "midway"}
    assert set(checkpoint.load(settings.out).provenance["weights"]) == {"averaged", "last"}
    assert checkpoint.load(settings.out).provenance["began_with"] == {}
    assert str(settings.out.parent) not in own.out.with_suffix(".json").read_text()
    # whoever lets it go on later need not have that detector any more
    drain(train(own.model_copy(update={"begin_with": ""})))
    assert set(checkpoint.load(own.out).provenance["weights"]) == {"averaged", "last"}
    assert checkpoint.load(own.out).provenance["began_with"] == told["began_with"]


def test_a_finished_training_is_not_trained_again(settings, trained):
    running = train(settings)
    texts = []
    for progress in running:
        texts.append(progress.text)
        if progress.text.startswith("Calibrating"):
            break
    running.close()
    assert not any(text.startswith(("Step", "Synthesising")) for text in texts)


def test_a_damaged_checkpoint_is_said_before_anything_is_read(settings, tmp_path):
    out = tmp_path / "knee.safetensors"
    (tmp_path / "knee.checkpoint.safetensors").write_bytes(b"torn")
    with pytest.raises(UnreadableDetector, match=r"cannot go on from knee\.checkpoint\.safetensors"):
        next(train(settings.model_copy(update={"out": out})))


def test_without_normals_nothing_is_written(tmp_path):
    out = tmp_path / "out" / "knee.safetensors"
    with pytest.raises(UnreadableScan, match="No normal scans were found"):
        next(train(TrainSettings(out=out)))
    assert not out.parent.exists()


def test_a_training_on_other_scans_does_not_go_on(settings, trained, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a", "b"):
        shutil.copy(settings.normals[0] / "normal-0.nii.gz", other / f"{name}.nii.gz")
    with pytest.raises(DetectorError, match=r"knee\.checkpoint\.safetensors is of a training on other scans"):
        next(train(settings.model_copy(update={"normals": (other,)})))


def test_a_detector_is_never_written_over(settings, tmp_path):
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"somebody's work")
    with pytest.raises(DetectorError, match="is there already"):
        next(train(settings.model_copy(update={"out": out})))
    assert out.read_bytes() == b"somebody's work"
