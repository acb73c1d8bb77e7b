import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from napari_anomaly import io, samples
from napari_anomaly.errors import ScanError
from napari_anomaly.samples import (
    list_samples,
    open_sample,
    phantom,
    phantom_lesion,
    sample_path,
    sample_truth,
)


@pytest.mark.parametrize("name", list_samples())
def test_every_sample_opens_with_its_truth(name: str) -> None:
    scan, truth = open_sample(name), sample_truth(name)
    assert scan.name == name
    assert scan.modality == name.split("-")[1].upper()
    assert scan.geometry.unit == "mm"
    assert scan.geometry.spacing == pytest.approx((1, 1, 1), abs=1e-3)
    assert scan.notes == ()
    assert truth.shape == scan.voxels.shape
    assert set(np.unique(truth)) == {0, 1}
    # The lesions are darker in T1 than what surrounds them, else brighter: mask and scan lie on each other.
    around = binary_dilation(truth, iterations=3) & (truth == 0)
    inside, outside = scan.voxels[truth > 0].mean(), scan.voxels[around].mean()
    assert (inside < 0.97 * outside) if name.endswith("t1") else (inside > 1.1 * outside)


@pytest.mark.parametrize(("name", "millilitres"), [("ms-flair", 8.2), ("stroke-t2", 37.9)])
def test_lesion_volumes_are_those_of_the_readme(name: str, millilitres: float) -> None:
    scan = open_sample(name)
    assert sample_truth(name).sum() * scan.geometry.voxel_volume / 1000 == pytest.approx(
        millilitres, abs=0.05
    )


def test_truth_and_scan_share_a_grid() -> None:
    for sample in samples.SAMPLES.values():
        truth = io.read_scan(sample_path(sample.name).parents[1] / sample.truth)
        assert truth.geometry.same_grid(open_sample(sample.name).geometry)


def test_licences_and_provenance_lie_beside_the_scans() -> None:
    folder = sample_path("ms-flair").parents[1]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "10.1007/s12021-017-9348-7" in text
    assert "CC-BY" in (folder / "ms" / "LICENSE.txt").read_text(encoding="utf-8")
    assert "BSD 2-Clause" in (folder / "stroke" / "LICENSE").read_text(encoding="utf-8")
    for sample in samples.SAMPLES.values():
        assert f"`{sample.name}`" in text


def test_samples_are_small() -> None:
    folder = sample_path("ms-flair").parents[1]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 8 << 20


def test_an_unknown_sample_is_named() -> None:
    with pytest.raises(ScanError, match=r"no sample 'knee'\. Choose one of ms-flair, "):
        open_sample("knee")


def test_a_sample_that_was_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "__file__", "/nowhere/src/napari_anomaly/samples.py")
    with pytest.raises(ScanError, match=r"not installed\. Install napari-anomaly again"):
        open_sample()


def test_the_phantom_is_the_same_at_every_call() -> None:
    first, second = phantom(), phantom()
    np.testing.assert_array_equal(first.voxels, second.voxels)
    assert first.sha256 == second.sha256
    assert phantom(rng=np.random.default_rng(5)).sha256 != first.sha256


def test_the_phantom_looks_like_a_head() -> None:
    scan = phantom((40, 48, 40), noise=0.0)
    assert scan.voxels.dtype == np.float32
    assert scan.geometry.spacing == pytest.approx((200 / 48,) * 3)
    assert scan.voxels[0].max() == 0
    assert (scan.voxels == 0).mean() == pytest.approx(1 - np.pi / 6 * 0.92 * 0.92 * 0.88, abs=0.02)
    # Left and right, front and back look alike in a normal head.
    np.testing.assert_allclose(scan.voxels, scan.voxels[:, :, ::-1], atol=1e-4)


@pytest.mark.parametrize("radius", [15.0, 30.0])
def test_the_lesion_is_a_bright_ball(radius: float) -> None:
    shape = (80, 96, 80)
    mask = phantom_lesion(shape, lesion_mm=radius)
    scan = phantom(shape, lesion_mm=radius)
    volume = mask.sum() * scan.geometry.voxel_volume
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)
    assert scan.voxels[mask > 0].mean() > 100
    different = phantom(shape).voxels != scan.voxels
    assert different[mask > 0].all()
    assert different.sum() < 3 * mask.sum()
    # Up, in front, on the left.
    x, y, z = scan.geometry.index_to_mm(np.argwhere(mask).mean(axis=0))
    assert z > 0
    assert y > 0
    assert x < 0


def test_without_a_radius_there_is_no_lesion() -> None:
    assert not phantom_lesion().any()
