from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage

from dicoms import CORONAL, ROOT, SAGITTAL, classic, ramp
from napari_anomaly import io
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.io.series import list_series

SLICES = ramp()


def test_a_label_says_what_there_is_to_choose_and_no_name(tmp_path):
    classic(tmp_path, SLICES)
    (series,) = list_series(tmp_path).series
    assert series.label == "MR, t1 mprage, 2024-02-29, 5 slices, axial, 0.75 x 1.5 x 3 mm"
    assert series.name == "MR-7-t1-mprage"
    assert io.series_in(tmp_path) == (series.label,)


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("MUSTERMANN erika", ""),
        ("id4711 knee", "knee"),
        ("T2_tse/FS", "T2_tse/FS"),
        ("<script>", "script"),
        (None, ""),
    ],
)
def test_a_description_loses_what_names_the_patient(tmp_path, description, shown):
    classic(tmp_path, SLICES, SeriesDescription=description)
    assert list_series(tmp_path).series[0].description == shown


@pytest.mark.parametrize(("directions", "plane"), [(CORONAL, "coronal"), (SAGITTAL, "sagittal")])
def test_the_plane_is_named(tmp_path, directions, plane):
    classic(tmp_path, SLICES, directions=directions)
    assert list_series(tmp_path).series[0].plane == plane


def test_an_oblique_plane_says_by_how_much(tmp_path):
    turn = np.radians(20)
    down = (0.0, float(np.cos(turn)), float(np.sin(turn)))
    classic(tmp_path, SLICES, directions=((1.0, 0.0, 0.0), down))
    assert list_series(tmp_path).series[0].plane == "axial (20° oblique)"


def test_series_come_by_number_with_those_that_are_refused(tmp_path):
    classic(tmp_path / "b", SLICES, SeriesNumber=3, SeriesInstanceUID=ROOT + "33", kind=CTImageStorage)
    classic(tmp_path / "a", SLICES)
    classic(
        tmp_path / "c",
        SLICES,
        SOPClassUID=SecondaryCaptureImageStorage,
        SeriesNumber=5,
        SeriesInstanceUID=ROOT + "55",
    )
    listing = list_series(tmp_path)
    assert [series.modality for series in listing.readable] == ["CT", "MR"]
    assert [bool(series.problem) for series in listing.series] == [False, True, False]
    assert "Secondary Capture" in listing.series[1].label
    assert any("Secondary Capture" in note for note in io.read_scan(tmp_path, series=0).notes)


def test_tags_tell_series_of_one_name_apart(tmp_path):
    classic(tmp_path / "a", SLICES)
    classic(tmp_path / "b", SLICES, SeriesInstanceUID=ROOT + "33")
    tags = {series.tag for series in list_series(tmp_path).series}
    assert len(tags) == 2
    assert all(len(tag) == 6 for tag in tags)


def test_beside_a_dicomdir_lies_its_disc(tmp_path):
    classic(tmp_path / "IMAGES", SLICES)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert len(list_series(tmp_path / "DICOMDIR").readable) == 1


def test_files_without_a_preamble_are_read(tmp_path):
    for path in classic(tmp_path, SLICES):
        raw = path.read_bytes()
        path.write_bytes(raw[132:])
    scan = io.read_scan(tmp_path)
    np.testing.assert_array_equal(scan.source.to_file(scan.voxels).transpose(2, 1, 0), SLICES)


def test_a_folder_of_junk_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.dcm").write_text("hello")
    with pytest.raises(UnreadableScan, match=r"is a folder without DICOM images.*b\.dcm"):
        list_series(tmp_path)
    assert not io.looks_like_dicom(tmp_path)
    assert not io.looks_like_dicom(Path("nowhere"))


def test_dicom_is_recognised(tmp_path):
    paths = classic(tmp_path, SLICES)
    assert io.looks_like_dicom(tmp_path)
    assert io.looks_like_dicom(paths[0])
