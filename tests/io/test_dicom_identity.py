"""No trace of a patient is left in any byte of what is written."""

import io as bytes_io

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from dicoms import PATIENT, ROOT, classic, detected, enhanced, header, one_slice, places, ramp
from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom_identity import identity_of, refusal, take_identity
from napari_anomaly.review import Review, Verdict

SLICES = ramp((4, 6, 5))
PSEUDONYMS = io.Pseudonyms(b"sixteen bytes or more")
# What must be found nowhere, in any case of letters.
TRACES = (
    *("mustermann", "erika", "id4711", "19430812", "20240229", "120000", "acc0815", "dr^house", "klinikum"),
    *("case 12", "scanner-3", "hauptstr", "private words"),
    # of study, series, frame of reference, file, and a file that is referred to
    *(f"{ROOT}{end}" for end in ("41", "2", "3", "9.", "77")),
)


def a_slice(**tags):
    """Make a slice that names its patient wherever a header can."""
    data = one_slice(SLICES[0], places(1)[0], 1, StudyInstanceUID=f"{ROOT}41", **tags)
    data.preamble = b"ERIKA MUSTERMANN".ljust(128, b"\0")
    data.file_meta.SourceApplicationEntityTitle = "SCANNER-3"
    data.PatientBirthDate, data.AccessionNumber, data.StudyID = "19430812", "ACC0815", "case 12"
    data.PatientAddress, data.OtherPatientIDs = "Hauptstr. 1", ["ID4711b", "x"]
    data.InstitutionName, data.StationName, data.ReferringPhysicianName = "Klinikum", "SCANNER-3", "Dr^House"
    data.StudyDescription, data.ImageComments = "MRI of Erika", "looks like case 12"
    data.AcquisitionDateTime, data.InstanceCreationDate = "20240229120000.000000", "20240229"
    data.DeviceSerialNumber, data.BodyPartExamined = "SCANNER-3", "HEAD"
    # not in the table of the standard
    data.FrameOfInterestDescription = ["seen before: mustermann"]
    block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "LO", "private words of Mustermann")
    data.add_new(0x60000022, "LO", "Erika's overlay")
    data.add_new(0x60003000, "OW", b"ERIKA MUSTERMANN")
    data.ReferencedImageSequence = Sequence([item(ReferencedSOPInstanceUID=ROOT + "77")])
    data.RequestAttributesSequence = Sequence([item(RequestedProcedureDescription="MRI of Erika")])
    deep = item(
        PersonName=PATIENT, PatientID="ID4711", TimeOfDocumentCreationOrVerbalTransactionTrial="120000"
    )
    deep.DeidentificationActionSequence = Sequence([item(SelectorPNValue=PATIENT)])
    data.ContributingEquipmentSequence = Sequence([deep])
    return data


def item(**tags):
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def written(data):
    with bytes_io.BytesIO() as file:
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()


def traces(content):
    return [word for word in TRACES if word.encode() in content.lower()]


def test_the_traces_are_there_before():
    assert set(TRACES) == set(traces(written(a_slice())))


@pytest.mark.parametrize("shift_dates", [False, True])
def test_no_trace_is_left_and_the_picture_stays(shift_dates):
    before, data = a_slice(), a_slice()
    take_identity(data, io.Pseudonyms(PSEUDONYMS.key, shift_dates))
    content = written(data)
    left = traces(content)
    assert left == (["120000"] if shift_dates else [])
    back = dcmread(bytes_io.BytesIO(content))
    assert back.PatientID == str(back.PatientName) == PSEUDONYMS.patient("ID4711")
    assert (back.PatientIdentityRemoved, back.PatientBirthDate, back.PatientSex) == ("YES", "", "")
    methods = [each.CodeValue for each in back.DeidentificationMethodCodeSequence]
    assert methods == ["113100", "113105", "113104"] + (["113107"] if shift_dates else [])
    assert back.LongitudinalTemporalInformationModified == ("MODIFIED" if shift_dates else "REMOVED")
    assert back.StudyDate == (PSEUDONYMS.day("20240229", "ID4711") if shift_dates else "")
    assert back.SeriesDescription == "t1 mprage"
    assert (
        back.SOPInstanceUID
        == back.file_meta.MediaStorageSOPInstanceUID
        == PSEUDONYMS.uid(before.SOPInstanceUID)
    )
    assert back.SOPClassUID == MRImageStorage
    assert back.ReferencedImageSequence[0].ReferencedSOPInstanceUID == PSEUDONYMS.uid(ROOT + "77")
    assert back.ImagePositionPatient == before.ImagePositionPatient
    assert (back.BodyPartExamined, back.SeriesNumber) == ("HEAD", 7)
    np.testing.assert_array_equal(back.pixel_array, before.pixel_array)
    assert not any(element.tag.is_private for element in back.iterall())


def test_frames_of_an_enhanced_file_keep_their_places(tmp_path):
    path = enhanced(tmp_path / "in.dcm", SLICES, PatientBirthDate="19430812")
    data = dcmread(path)
    for number, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence[0].FrameAcquisitionDateTime = f"2024022912000{number}"
    take_identity(data, PSEUDONYMS)
    (tmp_path / "out.dcm").write_bytes(written(data))
    assert traces((tmp_path / "out.dcm").read_bytes()) == []
    one, other = io.read_scan(path), io.read_scan(tmp_path / "out.dcm")
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_array_equal(one.geometry.affine, other.geometry.affine)


def test_a_damaged_element_does_not_stay():
    data = a_slice()
    with bytes_io.BytesIO() as file:
        data.SliceThickness = None
        data.save_as(file, enforce_file_format=True)
        content = file.getvalue().replace(b"\x18\x00\x50\x00DS\x00\x00", b"\x18\x00\x50\x00DS\x06\x00Erika ")
    back = dcmread(bytes_io.BytesIO(content))
    take_identity(back, PSEUDONYMS)
    assert traces(written(back)) == []


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BurnedInAnnotation": "YES"}, "words are burnt into the picture"),
        ({"ImagePositionPatient": None}, "without a place in space"),
        ({"SamplesPerPixel": 3}, "in colour"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "a screen capture that does not say"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "neither a CT, MR or PET image"),
    ],
)
def test_what_may_show_words_is_refused(tags, words):
    data = a_slice(**tags)
    assert words in refusal(data)
    with pytest.raises(ScanError, match=words) as caught:
        take_identity(data, PSEUDONYMS)
    assert "uster" not in str(caught.value)


def test_a_capture_that_says_that_it_shows_no_words_is_taken():
    assert refusal(a_slice(SOPClassUID=SecondaryCaptureImageStorage, BurnedInAnnotation="NO")) == ""


def test_who_a_patient_is():
    assert identity_of(header(PatientID=" ID4711 ")) == "ID4711"
    assert identity_of(header(PatientID="", PatientBirthDate="19430812")) == f"{PATIENT} 19430812"
    assert identity_of(header(PatientID=None, PatientName="")) == ROOT + "1"


@pytest.fixture
def scan(tmp_path):
    classic(tmp_path / "in", ramp((6, 8, 7)), AccessionNumber="ACC0815", PatientBirthDate="19430812")
    return io.read_scan(tmp_path / "in")


def test_results_name_no_one_and_refer_to_the_copy(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    ids = [finding.id for finding in findings]
    review = Review.of(scan, anomaly_map, reader="Dr House")
    review = review.mark(ids[:1], Verdict.FALSE_POSITIVE, reason="vessel").mark(
        ids[1:], Verdict.REAL, reason="as Erika said"
    )
    review = review.write(ids[1], "Mustermann, as before")
    paths = io.save_dicom(tmp_path / "out", scan, anomaly_map, findings, review=review, pseudonyms=PSEUDONYMS)
    assert len(paths) == 4
    for path in paths:
        content = path.read_bytes().lower()
        assert traces(content) == []
        assert b"house" not in content
    seg, _, report, picture = (dcmread(path) for path in paths)
    assert {each.PatientID for each in (seg, report, picture)} == {PSEUDONYMS.patient("ID4711")}
    assert {each.StudyInstanceUID for each in (seg, report, picture)} == {PSEUDONYMS.uid(ROOT + "1")}
    source = seg.ReferencedSeriesSequence[0]
    assert source.SeriesInstanceUID == PSEUDONYMS.uid(ROOT + "2")
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID in {
        PSEUDONYMS.uid(f"{ROOT}9.{number}") for number in range(1, 7)
    }
    assert seg.SeriesDescription == "napari-anomaly findings (research)"
    words = paths[2].read_bytes()
    assert b"vessel" in words
    assert b"Research software, not a medical device" in words
    assert seg.SOPInstanceUID.encode() in words


def test_reports_of_others_lose_their_words(tmp_path, scan):
    anomaly_map, findings = detected(scan)
    paths = io.save_dicom(tmp_path / "out", scan, anomaly_map, findings)
    report = dcmread(paths[2])
    assert b"Research software" in written(report)
    take_identity(report, PSEUDONYMS)
    content = written(report)
    assert b"Research software" not in content
    assert b"Volume" in content
