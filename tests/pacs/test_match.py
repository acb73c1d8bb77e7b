import pytest

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.match import Match, Query


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("", ""),
        ("20240229", "20240229"),
        ("2024-02-29", "20240229"),
        ("20240201-20240229", "20240201-20240229"),
        ("2024-02-01 - 2024-02-29", "20240201-20240229"),
        ("20240201-", "20240201-"),
        ("-20240229", "-20240229"),
    ],
)
def test_days_and_ranges_become_dicom_s(given, asked):
    assert Query(dates=given).dates == asked


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("yesterday", "is no date"),
        ("2024", "is no date"),
        ("20240201 20240229", "is no date"),
        ("-", "is no date"),
        ("20230229", "There is no day"),
        ("20240229-20240201", "ends before it begins"),
    ],
)
def test_what_is_no_date_is_told(given, words):
    with pytest.raises(ArchiveError, match=words):
        Query(dates=given)


def test_only_what_was_said_is_asked_for():
    assert Query().of_study == {}
    assert Query().of_series == {}
    query = Query(patient_name="Muster", modality="mr", series="1.2")
    assert query.of_study == {"PatientName": "Muster*", "ModalitiesInStudy": "MR"}
    assert query.of_series == {"Modality": "MR", "SeriesInstanceUID": "1.2"}
    assert Query(patient_name="M?ster").of_study == {"PatientName": "M?ster"}


def test_names_do_not_show_where_nobody_asked():
    match = Match.of(
        {"PatientName": "Muster^E", "PatientID": "4711", "StudyInstanceUID": "1.2"},
        {
            "SeriesDescription": "head Muster",
            "SeriesInstanceUID": "1.2.3",
            "NumberOfSeriesRelatedInstances": 6,
        },
    )
    assert match.images == 6
    assert "Muster" not in repr(match) + repr(Query(patient_name="Muster")) + match.folder
    assert "4711" not in repr(match) + match.folder
    assert match.to_dict()["patient_name"] == "Muster^E"


def test_a_folder_is_of_one_series():
    one, other = (Match("1.2", series, modality="MR", number="7") for series in ("1.2.3", "1.2.4"))
    assert one.folder != other.folder
    assert one.folder.startswith("MR-7-")
    assert Match("1", "../../x", modality="../", number="../..").folder.replace("-", "").isalnum()


@pytest.mark.parametrize("count", [None, "", "many"])
def test_an_archive_may_not_say_how_many(count):
    assert Match.of({}, {"NumberOfSeriesRelatedInstances": count}).images == 0


@pytest.mark.parametrize(
    ("name", "found", "fits"),
    [
        ("Muster", "Mustermann^Erika", True),
        ("mustermann^e*", "Mustermann^Erika", True),
        ("M?ller", "M\u00fcller^^^^", True),
        ("van der Berg", "van der Berg^Jan", True),
        ("Muster", "Meister^Erika", False),
        ("a.c", "abc", False),
        ("\u5c71\u7530", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", True),
    ],
)
def test_names_are_compared_here_too(name, found, fits):
    assert Query(patient_name=name).fits({"PatientName": found}) is fits


def test_numbers_are_compared_as_they_are():
    assert Query(patient_id="4711").fits({"PatientID": "4711"})
    assert not Query(patient_id="471").fits({"PatientID": "4711"})
    assert not Query(accession="A*").fits({})
