"""Every example runs, on a small phantom."""

import importlib.util
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.samples import phantom, phantom_lesion
from tiny_detector import write_tiny_detector

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE = (40, 48, 40)


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def head(tmp_path):
    path = tmp_path / "head.nii.gz"
    scan = phantom(SHAPE, lesion_mm=10, field_mm=96)
    io.write_like(scan.voxels, scan, path, kind="image")
    return path


def test_detect_scan(tmp_path, head, capsys):
    tiny = write_tiny_detector(tmp_path / "tiny.safetensors")
    paths = example("detect_scan").main(head, tmp_path / "out", detector_name=str(tiny), engine="torch")
    assert [path.name for path in paths][:2] == ["head_anomaly.nii.gz", "head_mask.nii.gz"]
    assert all(path.stat().st_size > 0 for path in paths)
    assert "normal scans" in capsys.readouterr().out


def test_review_headless(tmp_path, head):
    scan = io.read_scan(head)
    score = np.where(phantom_lesion(SHAPE, lesion_mm=10, field_mm=96) > 0, 0.9999, 0.0)
    score[3, 3, 3] = 0.9995
    io.write_like(score, scan, tmp_path / "map.nii.gz", kind="map")
    mask = example("review_headless").main(head, tmp_path / "map.nii.gz", tmp_path / "out")
    assert np.array_equal(io.read_scan(mask).voxels, phantom_lesion(SHAPE, lesion_mm=10, field_mm=96))
    assert np.array_equal(nib.load(mask).affine, nib.load(head).affine)
    assert json.loads((tmp_path / "out" / "head_review.json").read_text())["schema_version"] >= 1


def test_train_on_normals(tmp_path, capsys):
    (tmp_path / "normals").mkdir()
    for seed in range(2):
        scan = phantom(SHAPE, rng=np.random.default_rng(seed), field_mm=150)
        io.write_like(scan.voxels, scan, tmp_path / "normals" / f"normal-{seed}.nii.gz", kind="image")
    least = {"steps": 1, "pool": 1, "scans_per_step": 1, "slices_per_scan": 1, "extraction_steps": 1}
    out = tmp_path / "detector.safetensors"
    assert (
        example("train_on_normals").main(tmp_path / "normals", out, minutes=0, device="cpu", **least) == out
    )
    assert out.stat().st_size < 16 * 2**20
    assert "my-site calls a voxel a finding from" in capsys.readouterr().out


def test_no_example_is_without_a_test():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
