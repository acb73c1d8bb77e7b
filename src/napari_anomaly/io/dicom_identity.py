"""Take the patient out of a DICOM object: names, numbers, days, UIDs, free words and private elements.

The table of what goes is that of the standard, as dicom-anonymizer keeps it; what that library does with it is
not used, since it does not look into sequences and gives other UIDs in every run.

Source: DICOM PS3.15 2026c, annex E (Basic Application Level Confidentiality Profile, table E.1-1), with the options
Clean Structured Content, Clean Descriptors and, where days are moved, Retain Longitudinal Temporal Information
with Modified Dates.
"""

import io
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_anomaly.errors import ScanError
from napari_anomaly.io.instances import quiet
from napari_anomaly.io.makers import is_mosaic
from napari_anomaly.io.pseudonyms import Pseudonyms

__all__ = ["identity_of", "refusal", "take_identity", "without_identity"]

_TABLE = dicom_anonymization_database_selector("dicomfields_2026c")


def _tags(*kinds: str) -> frozenset[int]:
    return frozenset(tag[0] << 16 | tag[1] for kind in kinds for tag in _TABLE[kind] if len(tag) == 2)


_REMOVED = _tags("X_TAGS")
_EMPTIED = _tags("Z_TAGS", "X_Z_TAGS")
_DUMMIES = _tags("D_TAGS", "Z_D_TAGS", "X_D_TAGS", "X_Z_D_TAGS")
_RENUMBERED = _tags("U_TAGS")
# Of sequences in whose place there could be a dummy, this one is cleaned item by item; the others go.
_CLEANED = "ContentSequence"

# Words of a known kind stay, in this order of the table: remove, and clean where that option is taken.
_DESCRIPTORS = ("SeriesDescription", "StudyDescription", "ProtocolName")
_KNOWN_WORDS = frozenset(
    {
        *(
            "t1",
            "t1w",
            "t2",
            "t2w",
            "t2*",
            "pd",
            "pdw",
            "flair",
            "stir",
            "dwi",
            "adc",
            "dti",
            "trace",
            "swi",
            "bold",
        ),
        *(
            "fmri",
            "asl",
            "mprage",
            "mp2rage",
            "tse",
            "fse",
            "spgr",
            "fspgr",
            "bravo",
            "vibe",
            "space",
            "cube",
            "ciss",
        ),
        *(
            "fiesta",
            "gre",
            "epi",
            "se",
            "tof",
            "mra",
            "mrv",
            "perfusion",
            "perf",
            "post",
            "pre",
            "contrast",
            "native",
        ),
        *(
            "nativ",
            "km",
            "gd",
            "ax",
            "axial",
            "tra",
            "transversal",
            "cor",
            "coronal",
            "sag",
            "sagittal",
            "2d",
            "3d",
        ),
        *(
            "iso",
            "fs",
            "fatsat",
            "head",
            "brain",
            "neck",
            "chest",
            "thorax",
            "abdomen",
            "pelvis",
            "spine",
            "ct",
            "cta",
        ),
        *(
            "ctp",
            "pet",
            "mr",
            "mri",
            "bone",
            "soft",
            "tissue",
            "lung",
            "thin",
            "thick",
            "kernel",
            "without",
            "with",
        ),
    }
)
# Days of examinations, which may move; all others go as the table has it.
_DAYS = frozenset(
    {
        *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"),
        *("AcquisitionDateTime", "FrameAcquisitionDateTime", "FrameReferenceDateTime"),
        *("StartAcquisitionDateTime", "EndAcquisitionDateTime", "DecayCorrectionDateTime"),
        *("RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStopDateTime"),
    }
)
_TIMES = frozenset(
    {
        *("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"),
        *("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStopTime"),
    }
)
# What this program writes itself names no one; a detector's number stands in place of a device's.
_OURS = frozenset(
    {
        *("SeriesDescription", "ContentDescription", "DerivationDescription", "TextValue"),
        "DeviceSerialNumber",
    }
)
_DUMMY: Mapping[str, Any] = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "PN"), "removed"),
    **dict.fromkeys(("CS", "AE"), "REMOVED"),
    **{"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "", "DS": 0, "IS": 0},
}
_WORDS = ("LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "AE")
# Codes of the standard, in which a patient's number may occur by chance.
_CODES = ("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion")
# Not of anyone's examination: kinds, encodings, and who keeps a list of codes.
_KINDS = ("ClassUID", "SyntaxUID", "SchemeUID", "ContextUID", "ResourceUID")
_STANDARD = "1.2.840.10008."

_IMAGES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{last}"
    for last in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130")
)
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Segmentation, parametric map, structured reports of measurements and words.
_RESULTS = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("66.4", "30", "88.11", "88.22", "88.33", "88.34", "88.59")
)


def refusal(dataset: Dataset) -> str:
    """Say why no copy without the patient can be made of an object; empty if it can.

    Pixels are not looked at: what may show words is told by its kind and by its header.

    Parameters
    ----------
    dataset
        With or without pixels.
    """
    kind = str(dataset.get("SOPClassUID", ""))
    burned = str(dataset.get("BurnedInAnnotation", "")).upper()
    if burned == "YES":
        return "one whose header says that words are burnt into the picture, which may name the patient"
    if kind in _RESULTS:
        return ""
    if kind == _CAPTURE:
        return "" if burned == "NO" else "a screen capture that does not say that no words are burnt into it"
    if kind not in _IMAGES:
        return "neither a CT, MR or PET image nor a segmentation, a map or a report"
    placed = "ImagePositionPatient" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    if not placed or int(dataset.get("SamplesPerPixel") or 1) != 1:
        return "a picture in colour, or without a place in space, which is often a page of words"
    if is_mosaic(dataset):
        return "a Siemens mosaic, whose place in space stands in a private element, which no copy keeps"
    return ""


def identity_of(dataset: Dataset) -> str:
    """Give what tells a patient from others: the hospital's number, or else name and birthday, or else the study."""
    number = str(dataset.get("PatientID") or "").strip()
    named = f"{dataset.get('PatientName') or ''} {dataset.get('PatientBirthDate') or ''}".strip()
    return number or named or str(dataset.get("StudyInstanceUID") or "")


def without_identity(made: Mapping[str, Dataset], pseudonyms: Pseudonyms) -> Mapping[str, Dataset]:
    """Give what was just made of one scan without the patient; see `take_identity`.

    What is given is made anew, since objects of one scan share parts of their headers.
    """
    found = {name: _again(each) for name, each in made.items()}
    for each in found.values():
        take_identity(each, pseudonyms, ours=True)
    return found


def take_identity(dataset: Dataset, pseudonyms: Pseudonyms, *, ours: bool = False) -> None:
    """Take the patient out of an object, in place, and put a pseudonym there.

    Parameters
    ----------
    dataset
        As it was read or made; of use no more if this fails.
    pseudonyms
        What stands in place of patient, UIDs and days.
    ours
        Whether this program has just made it, of a review without a name and free words: its own words stay.

    Raises
    ------
    ScanError
        If words may be burnt into its pixels, or it is of a kind that nothing is known about.
    """
    why = refusal(dataset)
    if why:
        raise ScanError(f"No copy without the patient can be made of a file: it is {why}. Leave it out.")
    with quiet():
        _Cleaning(dataset, pseudonyms, ours=ours).clean(dataset)
        _declare(dataset, pseudonyms)
        _rename(dataset)


class _Cleaning:
    """What is known of one object while it is cleaned."""

    def __init__(self, dataset: Dataset, pseudonyms: Pseudonyms, *, ours: bool) -> None:
        self._pseudonyms = pseudonyms
        self._ours = ours
        self._identity = identity_of(dataset)
        self._names = _names(dataset)

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            element = _element(dataset, tag)
            if element is None:
                del dataset[tag]
            elif element.VR == "SQ":
                self._sequence(dataset, element)
            else:
                self._value(dataset, element)

    def _sequence(self, dataset: Dataset, element: DataElement) -> None:
        tag, keyword = int(element.tag), element.keyword
        if tag in _REMOVED or (tag in _DUMMIES and keyword != _CLEANED):
            del dataset[tag]
        elif tag in _EMPTIED:
            element.value = []
        else:
            for item in element.value:
                self.clean(item)

    def _value(self, dataset: Dataset, element: DataElement) -> None:
        tag, keyword, kind = int(element.tag), element.keyword, element.VR
        if keyword in ("PatientName", "PatientID"):
            element.value = self._pseudonyms.patient(self._identity)
        elif kind == "UI":
            if tag in _REMOVED:
                del dataset[tag]
            else:
                element.value = _each(element.value, lambda uid: self._uid(tag, keyword, uid))
        elif self._ours and keyword in _OURS:
            self._sweep(element)
        elif keyword in _DESCRIPTORS:
            self._describe(dataset, element)
        elif self._pseudonyms.shift_dates and keyword in _DAYS:
            element.value = _each(
                element.value, lambda day: self._pseudonyms.day(str(day), self._identity) or _DUMMY[kind]
            )
        elif not (self._pseudonyms.shift_dates and keyword in _TIMES):
            self._by_table(dataset, element)

    def _by_table(self, dataset: Dataset, element: DataElement) -> None:
        tag, kind = int(element.tag), element.VR
        # The table takes a report's content as one; its words go one by one.
        dummy = tag in _DUMMIES or element.keyword == "TextValue"
        if tag in _REMOVED or (dummy and kind not in _DUMMY):
            del dataset[tag]
        elif dummy:
            element.value = _DUMMY[kind]
        elif tag in _EMPTIED or kind in ("PN", "DA", "DT", "TM", "AS"):
            element.value = None
        else:
            self._sweep(element)

    def _describe(self, dataset: Dataset, element: DataElement) -> None:
        told = re.findall(r"[A-Za-z0-9*]+", str(element.value).lower())
        kept = [word for word in told if word in _KNOWN_WORDS or re.fullmatch(r"b\d{1,4}", word)]
        element.value = " ".join(word for word in kept if word not in self._names)
        if not element.value:
            del dataset[element.tag]

    def _uid(self, tag: int, keyword: str, uid: Any) -> str:
        text = str(uid)
        stays = (
            text.startswith(_STANDARD) or not text or (keyword.endswith(_KINDS) and tag not in _RENUMBERED)
        )
        return text if stays else self._pseudonyms.uid(text)

    def _sweep(self, element: DataElement) -> None:
        """Take out words that the table leaves, where one of them is of the patient's name or numbers."""
        words = element.VR in _WORDS and element.keyword not in _CODES
        if (words or element.VR == "CS") and self._names_someone(str(element.value).lower(), parts=words):
            element.value = _DUMMY.get(element.VR, "")

    def _names_someone(self, text: str, *, parts: bool) -> bool:
        """Tell whether a text holds a word of a name or a number; parts of words count where these are long."""
        words = set(re.split(r"[\W_]+", text))
        return any(
            name in words or (parts and name in text and (len(name) > 4 or not name.isalpha()))
            for name in self._names
        )


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """Decode an element; None where nothing is known of it, or it is damaged."""
    known = dictionary_has_tag(tag) or keyword_for_tag(tag)
    if tag.is_private or not known or tag.element == 0 or _repeating(tag.group):
        return None
    # A damaged element makes pydicom fail in every way there is.
    try:
        element = dataset[tag]
    except Exception:
        return None
    if element.VR == "UN" or (element.VR in ("DS", "IS") and not _numeric(element.value)):
        return None
    return element


def _numeric(value: Any) -> bool:
    """Tell whether numbers that are written as words are numbers."""
    values = value if isinstance(value, MultiValue | list) else [value]
    return all(each in (None, "") or re.fullmatch(r"\s*[-+0-9.eE]+\s*", str(each)) for each in values)


def _repeating(group: int) -> bool:
    """Tell whether a group holds curves or overlays, which may be drawn words."""
    return group & 0xFF00 in (0x5000, 0x6000)


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, MultiValue | list | tuple):
        return [change(one) for one in value]
    return change(value) if value not in (None, "") else value


def _names(dataset: Dataset) -> frozenset[str]:
    """Give the words of names and numbers of patient and physicians, in small letters."""
    found: set[str] = set()
    for element in _named(dataset):
        text = str(element.value).lower()
        least = 3 if element.VR == "PN" else 4
        found |= {word for word in re.split(r"[\W_]+", text) if len(word) >= least}
        found |= {text} if len(text) >= least else set()
    return frozenset(found)


def _named(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        element = _element(dataset, tag)
        if element is None:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _named(item)
        elif element.VR == "PN" or element.keyword in (
            *("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate", "AdmissionID"),
            *("PatientAddress", "PatientTelephoneNumbers"),
        ):
            yield element


def _declare(dataset: Dataset, pseudonyms: Pseudonyms) -> None:
    """Say that and how the patient was taken out."""
    taken = [
        codes.DCM.BasicApplicationConfidentialityProfile,
        codes.DCM.CleanDescriptorsOption,
        codes.DCM.CleanStructuredContentOption,
    ]
    if pseudonyms.shift_dates:
        taken.append(codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = f"napari-anomaly {metadata.version('napari-anomaly')}"
    dataset.DeidentificationMethodCodeSequence = [_coded(code) for code in taken]
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if pseudonyms.shift_dates else "REMOVED"
    if dataset.get("VerificationFlag") == "VERIFIED":
        # Who verified it is no longer told.
        dataset.VerificationFlag = "UNVERIFIED"


def _coded(code: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def _syntax(dataset: Dataset) -> UID:
    """Tell how a file is written that has no head to say so."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _again(dataset: Dataset) -> Dataset:
    with quiet(), io.BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        return dcmread(file)


def _rename(dataset: Dataset) -> None:
    """Give the file a head of its own: that of the source names stations, and may hold anything in its preamble."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.get("TransferSyntaxUID") or _syntax(dataset)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
