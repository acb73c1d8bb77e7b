"""What is asked of an archive, and what it answers: series, in its own words.

Source: DICOM PS3.4 2024, C.6.2 (study root query); PS3.18, 10.6 (QIDO-RS).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from napari_anomaly.errors import ArchiveError

__all__ = ["NAMED", "SERIES_FIELDS", "STUDY_FIELDS", "Match", "Query"]

STUDY_FIELDS = ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "AccessionNumber")
"""What is asked of a study."""

SERIES_FIELDS = (
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfSeriesRelatedInstances",
)
"""What is asked of a series."""


NAMED = ("PatientName", "PatientID", "AccessionNumber")
"""What is asked for with wildcards."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which series are wanted; what is left empty does not matter.

    Parameters
    ----------
    patient_name
        As the archive has it, ``Family^Given``; ``*`` and ``?`` stand for any letters. Without them, names that
        begin so.
    patient_id
        The hospital's own number.
    dates
        One day or a range: ``20240229``, ``20240201-20240229``, ``20240201-``; dashes within a day are fine.
    modality
        CT, MR, PT...
    accession
        Accession number.
    study, series
        Instance UIDs.

    Raises
    ------
    ArchiveError
        If the dates cannot be understood.
    """

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    dates: str = ""
    modality: str = ""
    accession: str = field(default="", repr=False)
    study: str = ""
    series: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dates", _dates(self.dates))

    @property
    def of_study(self) -> Mapping[str, str]:
        """What narrows studies down, by DICOM keyword."""
        name = self.patient_name
        given = {
            "PatientName": name if not name or "*" in name or "?" in name else f"{name}*",
            "PatientID": self.patient_id,
            "StudyDate": self.dates,
            "AccessionNumber": self.accession,
            "StudyInstanceUID": self.study,
            "ModalitiesInStudy": self.modality.upper(),
        }
        return {key: value for key, value in given.items() if value}

    def fits(self, study: Mapping[str, Any]) -> bool:
        """Tell whether a study has the name and the numbers that are asked for, whatever an archive thinks.

        Parameters
        ----------
        study
            Values by DICOM keyword.
        """
        return all(
            _like(str(study.get(key) or ""), wanted) for key, wanted in self.of_study.items() if key in NAMED
        )

    @property
    def of_series(self) -> Mapping[str, str]:
        """What narrows series down, by DICOM keyword."""
        given = {"Modality": self.modality.upper(), "SeriesInstanceUID": self.series}
        return {key: value for key, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Match:
    """A series in an archive.

    Parameters
    ----------
    study, series
        Instance UIDs.
    patient_name, patient_id
        To be shown, and nothing else.
    study_date
        ``YYYYMMDD``; empty where the archive does not say.
    modality, description, number
        Of the series.
    images
        How many files there are; 0 where the archive does not say.
    """

    study: str
    series: str
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    study_date: str = ""
    modality: str = ""
    description: str = field(default="", repr=False)
    number: str = ""
    images: int = 0

    @classmethod
    def of(cls, study: Mapping[str, Any], series: Mapping[str, Any]) -> "Match":
        """Make it of the values of a study and a series, by DICOM keyword."""
        count = str(series.get("NumberOfSeriesRelatedInstances") or "")
        return cls(
            study=str(study.get("StudyInstanceUID") or series.get("StudyInstanceUID") or ""),
            series=str(series.get("SeriesInstanceUID") or ""),
            patient_name=str(study.get("PatientName") or ""),
            patient_id=str(study.get("PatientID") or ""),
            study_date=str(study.get("StudyDate") or ""),
            modality=str(series.get("Modality") or ""),
            description=str(series.get("SeriesDescription") or ""),
            number=str(series.get("SeriesNumber") or ""),
            images=int(count) if count.isdecimal() else 0,
        )

    @property
    def folder(self) -> str:
        """Name for a folder of its files; it does not name the patient."""
        tag = hashlib.sha256(f"{self.study} {self.series}".encode()).hexdigest()[:8]
        words = [word for word in (self.modality, self.number, tag) if word]
        return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-")

    def to_dict(self) -> dict[str, Any]:
        """Give what JSON can hold; it names the patient."""
        return asdict(self)


def _like(found: str, wanted: str) -> bool:
    """Compare with wildcards, whatever the case; one of a name's scripts suffices, empty parts do not count."""
    letters = {"*": ".*", "?": "."}
    pattern = "".join(letters.get(letter, re.escape(letter)) for letter in wanted.rstrip("^"))
    return any(
        re.fullmatch(pattern, script.rstrip("^"), re.IGNORECASE | re.DOTALL)
        for script in (found, *found.split("="))
    )


def _dates(text: str) -> str:
    """Bring one day or a range to DICOM's form."""
    plain = text.strip()
    if not plain:
        return ""
    days = re.fullmatch(r"(\d{4}-?\d{2}-?\d{2})?\s*(-?)\s*(\d{4}-?\d{2}-?\d{2})?", plain)
    first, dash, last = (days.group(1) or "", days.group(2), days.group(3) or "") if days else ("", "", "")
    if not (first or last) or (first and last and not dash):
        raise ArchiveError(
            f"{text!r} is no date. Write one day, 20240229, or a range, 20240201-20240229; one end may be left out."
        )
    ends = [_day(day) for day in (first, last)]
    if all(ends) and ends[0] > ends[1]:
        raise ArchiveError(f"{text!r} ends before it begins. Write the earlier day first.")
    return dash.join(ends)


def _day(text: str) -> str:
    digits = text.replace("-", "")
    if not digits:
        return ""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise ArchiveError(f"There is no day {text}. Write it as year, month, day: 20240229.") from error
    return digits
