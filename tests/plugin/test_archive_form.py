import pytest
from pytestqt.qtbot import QtBot

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.match import Query
from napari_anomaly.plugin.archive_form import ArchiveForm

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def form(qtbot: QtBot) -> ArchiveForm:
    made = ArchiveForm("https://pacs.example")
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize(
    ("first", "last", "dates"),
    [
        ("2024-02-01", "2024-02-29", "20240201-20240229"),
        ("20240201", "", "20240201-"),
        ("", "2024-02-29", "-20240229"),
        ("20240229", "20240229", "20240229-20240229"),
    ],
)
def test_days_are_a_range(form: ArchiveForm, first: str, last: str, dates: str) -> None:
    form.first.setText(first)
    form.last.setText(last)
    assert form.query.dates == dates


def test_a_query_is_what_stands_in_the_fields(form: ArchiveForm) -> None:
    form.patient.setText(" Muster^A ")
    form.number.setText("ID1")
    form.accession.setText("A7")
    form.modality.setEditText("us")
    assert form.query == Query("Muster^A", "ID1", "", "us", "A7")


def test_a_query_for_everything_and_for_no_day_is_refused(form: ArchiveForm) -> None:
    with pytest.raises(ArchiveError, match="Say what to look for"):
        _ = form.query
    form.first.setText("2024-02-30")
    with pytest.raises(ArchiveError, match="There is no day"):
        _ = form.query
