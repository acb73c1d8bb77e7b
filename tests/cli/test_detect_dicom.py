"""``napari-anomaly detect`` on DICOM series."""

import nibabel as nib
import numpy as np
from pydicom import dcmread

from dicoms import PATIENT, ROOT, classic, places
from napari_anomaly.cli import main
from napari_anomaly.samples import phantom

ENDINGS = ("anomaly.nii.gz", "findings.csv", "manifest.json", "mask.nii.gz", "mask.seg.dcm", "proxy.nii.gz")


def head(folder, **tags):
    """Write a small head with a lesion as axial slices, from foot to head."""
    scan = phantom((40, 48, 40), rng=np.random.default_rng(0), lesion_mm=11.0, field_mm=96.0)
    slices = np.rint(scan.voxels * 1000 / scan.voxels.max()).astype(np.int16)
    sz, sy, sx = scan.geometry.spacing
    classic(folder, slices, positions=places(40, step=sz), PixelSpacing=[sy, sx], **tags)
    return folder


def test_a_folder_leaves_its_results_and_a_segmentation(tmp_path, tiny, capsys):
    folder, out = head(tmp_path / "in"), tmp_path / "out"
    assert main(["detect", *tiny, "-o", str(out), str(folder), "--threshold", "0.9"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"MR-7-t1-mprage_{ending}" for ending in ENDINGS]
    mask = nib.load(out / "MR-7-t1-mprage_mask.nii.gz")
    assert mask.shape == (40, 48, 40)
    np.testing.assert_allclose(np.abs(np.diag(mask.affine)[:3]), np.full(3, 2.0), atol=1e-6)
    sent = dcmread(out / "MR-7-t1-mprage_mask.seg.dcm")
    assert sent.StudyInstanceUID == ROOT + "1"
    assert int((sent.pixel_array > 0).sum()) == int((mask.get_fdata() > 0).sum())
    streams = capsys.readouterr()
    told = (
        streams.out
        + streams.err
        + "".join(
            (out / f"MR-7-t1-mprage_{ending}").read_text() for ending in ("findings.csv", "manifest.json")
        )
    )
    assert PATIENT.split("^")[0] not in told


def test_one_of_several_series_is_chosen(tmp_path, tiny, capsys):
    folder, out = head(tmp_path / "Mustermann"), tmp_path / "out"
    head(folder / "more", SeriesInstanceUID=ROOT + "77", SeriesDescription="t2 tse", SeriesNumber=9)
    assert main(["detect", *tiny, "-o", str(out), str(folder)]) == 2
    assert "2 series" in capsys.readouterr().err
    assert main(["detect", *tiny, "-o", str(out), str(folder), "--series", "1"]) == 0
    assert (out / "MR-9-t2-tse_mask.seg.dcm").is_file()
    assert not (out / "MR-7-t1-mprage_mask.seg.dcm").exists()


def test_all_series_are_done_beside_files_that_are_no_dicom_and_bad_ones(
    tmp_path, tiny, write_phantom, capsys
):
    folder, out = head(tmp_path / "in"), tmp_path / "out"
    head(folder / "more", SeriesInstanceUID=ROOT + "77", SeriesDescription="t2 tse", SeriesNumber=9)
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no scan at all")
    words = [str(bad), str(folder), str(write_phantom("a.nii.gz")), "--series", "all"]
    assert main(["detect", *tiny, "-o", str(out), *words]) == 2
    assert capsys.readouterr().err.count("napari-anomaly: ") == 1
    names = {path.name.removesuffix("_mask.nii.gz") for path in out.glob("*_mask.nii.gz")}
    assert names == {"MR-7-t1-mprage", "MR-9-t2-tse", "a"}


def test_a_second_patient_with_the_same_protocol_keeps_a_name_apart(tmp_path, tiny):
    one = head(tmp_path / "Mustermann")
    other = head(tmp_path / "Musterfrau", SeriesInstanceUID=ROOT + "78")
    out = tmp_path / "out"
    assert main(["detect", *tiny, "-o", str(out), str(one), str(other)]) == 0
    names = {path.name.removesuffix("_findings.csv") for path in out.glob("*_findings.csv")}
    assert len(names) == 2
    assert all(name.endswith("MR-7-t1-mprage") and "Muster" not in name for name in names)


def test_everything_leaves_as_dicom_where_that_is_asked_for(tmp_path, tiny):
    folder, out = head(tmp_path / "in"), tmp_path / "out"
    assert main(["detect", *tiny, "-o", str(out), str(folder), "--threshold", "0.9", "--dicom"]) == 0
    kinds = {path.name.removeprefix("MR-7-t1-mprage_") for path in out.glob("*.dcm")}
    assert {"mask.seg.dcm", "anomaly.pm.dcm", "report.sr.dcm", "key1.sc.dcm"} <= kinds
    assert {dcmread(path).StudyInstanceUID for path in out.glob("*.dcm")} == {ROOT + "1"}
    map_back = np.sort(dcmread(out / "MR-7-t1-mprage_anomaly.pm.dcm").pixel_array.ravel())
    np.testing.assert_array_equal(
        map_back, np.sort(nib.load(out / "MR-7-t1-mprage_anomaly.nii.gz").get_fdata(dtype=np.float32).ravel())
    )


def test_what_is_no_dicom_cannot_leave_as_dicom(tmp_path, tiny, write_phantom, capsys):
    words = ["detect", *tiny, "-o", str(tmp_path / "out"), str(write_phantom("a.nii.gz")), "--dicom"]
    assert main(words) == 2
    assert "leave --dicom out" in capsys.readouterr().err
