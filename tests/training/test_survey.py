import nibabel as nib
import numpy as np
import pytest

from napari_anomaly.training.survey import FEW, survey


@pytest.fixture
def put(tmp_path):
    def put(name, voxels, spacing=1.0):
        image = nib.Nifti1Image(np.asarray(voxels), np.diag([spacing] * 3 + [1.0]))
        nib.save(image, tmp_path / name)

    return put


def scan(seed, sides=(24, 24, 24)):
    return np.random.default_rng(seed).normal(100, 10, sides).astype(np.float32)


def remarks(found):
    return {file.name: " ".join(file.remarks) for file in found.files}


def test_a_good_folder_is_counted_and_nothing_is_said(put, tmp_path):
    for seed in range(FEW):
        put(f"{seed}_{'FLAIR' if seed < 3 else 'T1w'}.nii.gz", scan(seed))
    put("0_FLAIR_DLMUSE.nii.gz", np.ones((24, 24, 24), np.uint8))
    found = survey(tmp_path)
    assert (found.usable, len(found.files), found.remarks) == (FEW, FEW, ())
    assert not any(remarks(found).values())
    assert found.text() == (
        f"{FEW} of {FEW} files can be used: 3 as FLAIR, {FEW - 3} as T1.\nVoxels of 1 to 1 mm."
    )


def test_what_cannot_be_used_says_why(put, tmp_path):
    put("nan.nii", np.full((24, 24, 24), np.nan, np.float32))
    put("flat.nii", np.ones((24, 24, 24), np.float32))
    put("mask.nii", (scan(0) > 100).astype(np.uint8))
    put("four.nii", np.ones((24, 24, 24, 2), np.float32))
    (tmp_path / "torn.nii.gz").write_bytes(b"\x1f\x8b no")
    found = survey(tmp_path)
    assert found.usable == 0
    assert remarks(found) == {
        "nan.nii": "holds NaN or infinity",
        "flat.nii": "is the same everywhere",
        "mask.nii": "a mask, not a scan",
        "four.nii": "not a 3D scan of at least 16 voxels a side",
        "torn.nii.gz": remarks(found)["torn.nii.gz"],
    }
    assert remarks(found)["torn.nii.gz"].startswith("cannot be read")
    assert "0 scans are few" in found.text()


def test_what_stands_out_is_named_and_still_used(put, tmp_path):
    for seed in range(4):
        put(f"{seed}.nii", scan(seed))
    put("coarse.nii", scan(9, (16, 16, 16)), spacing=1.6)
    put("twin.nii", scan(2))
    found = survey(tmp_path)
    assert found.usable == 6
    assert remarks(found)["coarse.nii"] == "voxels 4.1 times as large as the others"
    assert remarks(found)["twin.nii"] == "the same voxels as 2.nii"
    assert "twin.nii: the same voxels as 2.nii." in found.text()


def test_label_maps_are_told_from_scans(put, tmp_path):
    put("labels.nii", np.random.default_rng(0).integers(0, 40, (24, 24, 24)).astype(np.int16))
    put("scan.nii", scan(0))
    found = survey(tmp_path, are_labels=True)
    assert [file.taken_for for file in found.files] == ["label map", ""]
    assert remarks(found)["scan.nii"] == "a scan, not a label map"


def test_an_empty_or_missing_folder_says_what_to_do(tmp_path):
    assert "dcm2niix" in survey(tmp_path).text()
    assert "is no folder" in survey(tmp_path / "nowhere").text()
