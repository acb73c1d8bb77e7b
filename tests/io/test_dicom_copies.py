import zipfile

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicoms import ROOT, classic, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom_copies import copying
from napari_anomaly.progress import drain

SLICES = ramp((4, 6, 5))
PSEUDONYMS = io.Pseudonyms(b"sixteen bytes or more")
WHO = PSEUDONYMS.patient("ID4711")


def test_a_copy_is_the_same_scan_in_every_run(tmp_path):
    classic(tmp_path / "Mustermann", SLICES)
    (tmp_path / "Mustermann" / "letter.txt").write_text("Dear Mrs Mustermann")
    steps = []
    copies = drain(copying([tmp_path / "Mustermann"], tmp_path / "out", PSEUDONYMS), steps.append)
    (folder,) = copies.folders
    assert (copies.files, copies.left_out, steps[-1].fraction) == (4, (), 1.0)
    assert folder.parent == tmp_path / "out" / WHO
    one, other = io.read_scan(tmp_path / "Mustermann"), io.read_scan(folder)
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_array_equal(one.geometry.affine, other.geometry.affine)
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert not any("uster" in name or name.rpartition("/")[2].startswith(".") for name in names)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert drain(copying([tmp_path / "Mustermann"], tmp_path / "out", PSEUDONYMS)) == copies
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_series_of_a_zip_have_folders_of_their_own(tmp_path):
    classic(tmp_path / "in" / "a", SLICES)
    classic(tmp_path / "in" / "b", SLICES, SeriesInstanceUID=ROOT + "5", SeriesNumber=8, PatientID="OTHER1")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("*.dcm"):
            archive.write(path)
    copies = drain(copying([tmp_path / "in.zip"], tmp_path / "out", PSEUDONYMS))
    found = {folder.relative_to(tmp_path / "out").parts[0]: folder.name[:4] for folder in copies.folders}
    assert found == {WHO: "MR-7", PSEUDONYMS.patient("OTHER1"): "MR-8"}


def test_a_file_without_a_head_is_copied(tmp_path):
    (file,) = classic(tmp_path / "in", SLICES[:1])
    data = dcmread(file)
    bare = DicomBytesIO()
    bare.is_implicit_VR = bare.is_little_endian = True
    write_dataset(bare, data)
    file.write_bytes(bare.getvalue())
    (folder,) = drain(copying([file], tmp_path / "out", PSEUDONYMS)).folders
    back = dcmread(next(folder.iterdir()))
    assert back.PatientID == WHO
    np.testing.assert_array_equal(back.pixel_array, SLICES[0])


def test_what_may_show_words_or_is_damaged_is_left_out_and_counted(tmp_path):
    files = classic(tmp_path / "in", SLICES)
    data = dcmread(files[0])
    data.BurnedInAnnotation = "YES"
    data.save_as(files[0])
    files[1].write_bytes(files[1].read_bytes()[:200])
    copies = drain(copying([tmp_path / "in"], tmp_path / "out", PSEUDONYMS))
    assert copies.files == 2
    assert sorted(each.partition(":")[0] for each in copies.left_out) == ["1 files", "1 files"]
    assert any("burnt into the picture" in each for each in copies.left_out)
    assert "im00" not in str(copies.left_out)


def test_nothing_to_copy_is_told_and_leaves_nothing(tmp_path):
    files = classic(tmp_path / "in", SLICES[:1], BurnedInAnnotation="YES")
    with pytest.raises(ScanError, match=r"no DICOM file that may be copied.*burnt into"):
        drain(copying(files, tmp_path / "out", PSEUDONYMS))
    with pytest.raises(ScanError, match="the next run would copy the copies"):
        drain(copying([tmp_path / "in"], tmp_path / "in" / "out", PSEUDONYMS))
    assert not (tmp_path / "out").exists()


def test_copying_that_is_stopped_leaves_nothing(tmp_path):
    classic(tmp_path / "in", SLICES)
    steps = copying([tmp_path / "in"], tmp_path / "out", PSEUDONYMS)
    for _ in range(4):
        next(steps)
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    steps.close()
    assert list((tmp_path / "out").rglob("*.dcm")) == []
    assert list((tmp_path / "out" / WHO).iterdir()) == []


def test_a_disk_that_refuses_is_told(tmp_path):
    classic(tmp_path / "in", SLICES)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ScanError, match="cannot be written to"):
        drain(copying([tmp_path / "in"], tmp_path / "out", PSEUDONYMS))
