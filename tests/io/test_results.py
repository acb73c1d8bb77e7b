import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.errors import GridMismatch, ScanError
from napari_anomaly.export import COLUMNS
from napari_anomaly.io.results import findings_csv
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_case, oriented, rotation, save_nifti

ARRAY = np.random.default_rng(0).integers(0, 99, (6, 7, 8)).astype(np.int16)
AFFINE = oriented((2, 0, 1), (-1, 1, 1), turn=rotation(4, 5, 6))
ENDINGS = ("anomaly.nii.gz", "mask.nii.gz", "proxy.nii.gz", "findings.csv", "manifest.json")


@pytest.fixture
def nifti(tmp_path: Path) -> Scan:
    return io.read_scan(save_nifti(tmp_path / "sub-1.nii.gz", ARRAY, AFFINE))


def test_a_case_is_five_files_on_the_grid_of_the_scan(tmp_path: Path, nifti: Scan) -> None:
    anomaly_map, supervoxels, findings = a_case(nifti)
    paths = io.save_case(tmp_path / "a" / "b", nifti, anomaly_map, supervoxels, findings, {"scan_score": 0.5})
    assert [path.name for path in paths] == [f"sub-1_{ending}" for ending in ENDINGS]
    assert sorted(paths) == sorted((tmp_path / "a" / "b").iterdir())
    arrays = (anomaly_map.score, findings.mask, supervoxels.image)
    for path, array, dtype in zip(paths, arrays, (np.float32, np.uint8, np.float32), strict=False):
        written = nib.load(path)
        assert written.get_data_dtype() == dtype
        np.testing.assert_array_equal(written.affine, nib.load(tmp_path / "sub-1.nii.gz").affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj), nifti.source.to_file(array))
    assert json.loads(paths[4].read_text()) == {"product": "napari-anomaly", "scan_score": 0.5}


def test_a_second_opinion_is_one_file_more_that_goes_with_it(tmp_path: Path, nifti: Scan) -> None:
    case = a_case(nifti)
    residual = np.random.default_rng(1).random(nifti.geometry.shape).astype(np.float32)
    paths = io.save_case(tmp_path / "out", nifti, *case, {}, second_opinion=residual)
    (path,) = (path for path in paths if "residual" in path.name)
    assert path.name == "sub-1_residual.nii.gz"
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), nifti.source.to_file(residual))
    io.save_case(tmp_path / "out", nifti, *case, {})
    assert not path.exists()
    with pytest.raises(GridMismatch, match="must agree"):
        io.save_case(tmp_path / "other", nifti, *case, {}, second_opinion=residual[1:])
    assert not (tmp_path / "other").exists()


def test_the_table_points_at_voxels_of_the_file(tmp_path: Path, nifti: Scan) -> None:
    anomaly_map, _, findings = a_case(nifti)
    rows = list(csv.DictReader(findings_csv(findings, nifti).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2
    in_file = nifti.source.to_file(anomaly_map.score)
    affine = nib.load(tmp_path / "sub-1.nii.gz").affine
    for row, finding in zip(rows, findings, strict=True):
        i, j, k = (int(row[f"peak_{axis}"]) for axis in "ijk")
        assert in_file[i, j, k] == pytest.approx(float(row["peak"]), abs=1e-6)
        mm = [float(row[f"peak_{axis}_mm"]) for axis in "xyz"]
        np.testing.assert_allclose(mm, nib.affines.apply_affine(affine, (i, j, k)), atol=1e-4)
        centre = [float(row[f"centroid_{axis}"]) for axis in "ijk"]
        mm = [float(row[f"centroid_{axis}_mm"]) for axis in "xyz"]
        np.testing.assert_allclose(mm, nib.affines.apply_affine(affine, centre), atol=1e-4)
        assert int(row["id"]) == finding.id
        assert float(row["volume_mm3"]) == pytest.approx(finding.volume_mm3)


def test_a_stack_gives_stacks(tmp_path: Path) -> None:
    plain = Scan.from_array(ARRAY, spacing=(3, 2, 1), name="stack")
    io.write_like(plain.voxels, plain, tmp_path / "stack.tif", kind="image")
    scan = io.read_scan(tmp_path / "stack.tif")
    paths = io.save_case(tmp_path / "out", scan, *a_case(scan), {})
    assert [path.name for path in paths][:3] == ["stack_anomaly.tif", "stack_mask.tif", "stack_proxy.tif"]
    for path in paths[:3]:
        assert io.read_scan(path).geometry.same_grid(scan.geometry)


def test_without_spacing_nothing_is_said_in_mm() -> None:
    scan = Scan.from_array(ARRAY, unit="voxel")
    row = next(csv.DictReader(findings_csv(a_case(scan)[2], scan).splitlines()))
    assert row["voxels"] == "12"
    assert {key for key, value in row.items() if value == ""} == {
        "stability",
        "where",
        *(key for key in COLUMNS if key.endswith(("_mm", "_mm3"))),
    }


def test_a_review_decides_the_mask(tmp_path: Path, nifti: Scan) -> None:
    anomaly_map, supervoxels, findings = a_case(nifti)
    review = Review.of(nifti, anomaly_map).mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    paths = io.save_case(tmp_path, nifti, anomaly_map, supervoxels, findings, {}, review=review)
    np.testing.assert_array_equal(io.read_scan(paths[1]).voxels, findings.labels == 2)


def test_an_earlier_case_is_replaced(tmp_path: Path, nifti: Scan) -> None:
    case = a_case(nifti)
    for score in (0.1, 0.2):
        paths = io.save_case(tmp_path, nifti, *case, {"scan_score": score})
    assert json.loads(paths[4].read_text())["scan_score"] == 0.2
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("manifest", [None, "{}", "[1]", "not json", '{"product": "another"}'])
def test_a_foreign_file_of_that_name_is_not_lost(tmp_path: Path, nifti: Scan, manifest: str | None) -> None:
    (tmp_path / "sub-1_mask.nii.gz").write_text("drawn by hand")
    if manifest is not None:
        (tmp_path / "sub-1_manifest.json").write_text(manifest)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ScanError, match=r"sub-1_mask\.nii\.gz is there already and was not written by"):
        io.save_case(tmp_path, nifti, *a_case(nifti), {})
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "sub-1_mask.nii.gz").read_text() == "drawn by hand"


def test_nothing_is_left_of_a_case_that_fails(tmp_path: Path, nifti: Scan) -> None:
    case = a_case(nifti)
    with pytest.raises(TypeError, match="not JSON serializable"):
        io.save_case(tmp_path / "a", nifti, *case, {"bad": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        io.save_case(tmp_path / "a", nifti, *case, {"bad": float("nan")})
    (tmp_path / "sub-1_proxy.nii.gz").mkdir()
    (tmp_path / "sub-1_manifest.json").write_text('{"product": "napari-anomaly"}')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ScanError, match="Nothing was written"):
        io.save_case(tmp_path, nifti, *case, {})
    assert sorted(tmp_path.iterdir()) == before


def test_new_folders_go_again_when_a_case_fails(tmp_path: Path, nifti: Scan) -> None:
    anomaly_map, supervoxels, findings = a_case(nifti)
    other = Scan.from_array(ARRAY, spacing=(1, 1, 9))
    with pytest.raises(GridMismatch, match="lies on another grid"):
        io.save_case(tmp_path / "a" / "b", other, anomaly_map, supervoxels, findings, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ScanError, match="cannot be made"):
        io.save_case(tmp_path / "file" / "b", nifti, anomaly_map, supervoxels, findings, {})
    assert {path.name for path in tmp_path.iterdir()} == {"sub-1.nii.gz", "file"}
