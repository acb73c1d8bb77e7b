"""A reading as BIDS derivatives: names, grid, and everything or nothing."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.derivatives import bids_name, write_derivatives
from napari_anomaly.errors import ScanError
from napari_anomaly.export import to_mask
from napari_anomaly.report import Reading
from napari_anomaly.review import Review, Verdict
from phantoms import a_case, oriented, save_nifti


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("sub-01_ses-2_FLAIR", "sub-01/ses-2/anat", "sub-01_ses-2_desc-FLAIRx_mask.nii.gz"),
        ("sub-01_acq-hi_T1w", "sub-01/anat", "sub-01_acq-hi_desc-T1wx_mask.nii.gz"),
        ("sub-01", "sub-01/anat", "sub-01_desc-x_mask.nii.gz"),
        ("My scan_3", "sub-Myscan3/anat", "sub-Myscan3_desc-x_mask.nii.gz"),
        ("___", "sub-scan/anat", "sub-scan_desc-x_mask.nii.gz"),
    ],
)
def test_names(name: str, folder: str, file: str) -> None:
    made = bids_name(name)
    assert made.folder.as_posix() == folder
    assert made.file("x", "mask.nii.gz") == file


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    voxels = np.random.default_rng(0).normal(100, 10, (9, 10, 11)).astype(np.float32)
    path = save_nifti(tmp_path / "sub-01_FLAIR.nii.gz", voxels, oriented((1, 2, 0), (1.0, -1.0, 1.0)))
    scan = io.read_scan(path)
    anomaly_map, _, findings = a_case(scan)
    worst = findings.items[0].id
    review = Review.of(scan, anomaly_map, reader="ann").mark([worst], Verdict.FALSE_POSITIVE, reason="vessel")
    review = review.mark([findings.items[1].id], Verdict.REAL).write(worst, "a\tb\nc")
    return Reading(scan, anomaly_map, findings, review, (0.0, 200.0))


def test_masks_lie_on_the_grid_of_the_scan(reading: Reading, tmp_path: Path) -> None:
    paths = write_derivatives(reading, tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in paths}
    stem = "sub-01/anat/sub-01_space-orig_desc-FLAIR"
    assert {f"{stem}anomaly_mask.nii.gz", f"{stem}confirmed_mask.json", f"{stem}verdicts_dseg.tsv"} < names
    for choice, desc in (
        ("all", "anomaly_mask"),
        ("confirmed", "confirmed_mask"),
        ("verdicts", "verdicts_dseg"),
    ):
        image = nib.load(tmp_path / "out" / f"{stem}{desc}.nii.gz")
        np.testing.assert_allclose(image.affine, reading.scan.source.affine, atol=1e-6)
        expected = to_mask(reading.findings, reading.review, choice=choice).voxels
        np.testing.assert_array_equal(np.asarray(image.dataobj), reading.scan.source.to_file(expected))
    assert np.asarray(nib.load(tmp_path / "out" / f"{stem}verdicts_dseg.nii.gz").dataobj).max() == 3


def test_tables_have_tabs_and_no_empty_cells(reading: Reading, tmp_path: Path) -> None:
    write_derivatives(reading, tmp_path / "out")
    folder = tmp_path / "out" / "sub-01" / "anat"
    lines = (folder / "sub-01_desc-FLAIRfindings_table.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert len(rows) == len(reading.findings) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(cell for row in rows for cell in row)
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (first["verdict"], first["reason"], first["note"]) == ("false_positive", "vessel", "a b c")
    table = (folder / "sub-01_space-orig_desc-FLAIRverdicts_dseg.tsv").read_text(encoding="utf-8")
    assert table.splitlines() == ["index\tname", "1\treal", "2\tunsure", "3\tfalse positive", "4\tnot judged"]
    sidecar = json.loads(
        (folder / "sub-01_space-orig_desc-FLAIRanomaly_mask.json").read_text(encoding="utf-8")
    )
    assert (sidecar["Type"], sidecar["Reader"]) == ("Lesion", "ann")
    about = json.loads((tmp_path / "out" / "dataset_description.json").read_text(encoding="utf-8"))
    assert (about["DatasetType"], about["GeneratedBy"][0]["Name"]) == ("derivative", "napari-anomaly")


def test_a_second_scan_joins_and_the_first_stays(reading: Reading, tmp_path: Path) -> None:
    first = write_derivatives(reading, tmp_path / "out")
    about = tmp_path / "out" / "dataset_description.json"
    about.write_text('{"Name": "mine"}')
    before = {path: path.read_bytes() for path in first}
    path = save_nifti(tmp_path / "sub-02_T1w.nii.gz", np.asarray(reading.scan.voxels), np.eye(4))
    scan = io.read_scan(path)
    anomaly_map, _, findings = a_case(scan)
    other = Reading(scan, anomaly_map, findings, Review.of(scan, anomaly_map), (0.0, 200.0))
    second = write_derivatives(other, tmp_path / "out")
    assert not set(first) & set(second)
    assert {path: path.read_bytes() for path in first} == before
    assert about.read_text() == '{"Name": "mine"}'


def test_a_folder_that_cannot_be_made_leaves_nothing(reading: Reading, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ScanError, match="Nothing was written"):
        write_derivatives(reading, tmp_path / "file")
