"""DICOM files wherever they lie, in a folder, on a disc with a DICOMDIR or in a .zip, and their frames.

A frame is one image of one file: classic files hold one, enhanced files all of a series. Headers are read
here, pixels are not.

Source: DICOM PS3.3 2024, C.7.6.2 (image plane), C.7.6.16 (functional groups); PS3.10 (files and DICOMDIR).
"""

import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID

from napari_anomaly.errors import BadGeometry, UnreadableScan
from napari_anomaly.io.makers import CSA_TAGS, PRIVATE_TAGS, b_value, is_mosaic, mosaic

__all__ = ["Frame", "Instance", "Opener", "Place", "instances_in", "opener", "places_in", "quiet"]

# What is read of a header; the names of patients are needed to keep them out of labels.
_TAGS: Any = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "SeriesDescription", "ProtocolName", "SeriesNumber", "StudyDate", "SeriesDate"),
    *(
        "PatientName",
        "PatientID",
        "OtherPatientNames",
        "PatientIdentityRemoved",
        "ImageType",
        "InstanceNumber",
        "AcquisitionNumber",
    ),
    *("EchoTime", "DiffusionBValue", "DiffusionGradientOrientation", "TemporalPositionIdentifier"),
    *("TriggerTime", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"),
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "BitsAllocated"),
    *("PixelRepresentation", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"),
    *("WindowCenterWidthExplanation", "PixelPaddingValue", "BurnedInAnnotation", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence"),
    *("InversionTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
    *PRIVATE_TAGS,
]
_LARGEST = 1e30  # of slope and intercept: 32-bit floats hold what comes of it
# Must be single whole numbers where they are there.
_COUNTS = {
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsStored", "BitsAllocated"),
    "PixelRepresentation",
}
# A scan can be read without these.
_DISPENSABLE = {
    *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "SeriesNumber", "InstanceNumber"),
    *("SeriesDescription", "ProtocolName", "StudyDate", "SeriesDate"),
    *("AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
}
_LARGEST_MEMBER = 1 << 32  # bytes; a .zip can claim any size
# Groups 0002 and 0008 in little endian: how a file begins that was stored without a preamble.
_BARE = (
    b"\x02\x00\x00\x00",
    b"\x02\x00\x10\x00",
    b"\x08\x00\x05\x00",
    b"\x08\x00\x08\x00",
    b"\x08\x00\x16\x00",
)
_NAMED = (".dcm", ".ima", ".dicom")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a DICOM file are: a file, or a member of a .zip."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """Name without its folder."""
        return self.path.name if self.member is None else f"{self.path.name}/{self.member.rsplit('/')[-1]}"


Opener: TypeAlias = Callable[[Place], BinaryIO]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of one file, as its header describes it.

    Parameters
    ----------
    place
        Its file.
    index
        Which frame of the file, from 0.
    number
        What its maker numbered it with, if that is known.
    uid
        SOP instance UID of the file.
    position
        Centre of the first pixel, LPS+ millimetres; None if the header does not say.
    across, down
        Unit vectors along which columns and rows count up, LPS+.
    spacing
        Distance between rows and between columns, mm.
    slope, intercept
        From stored numbers to values.
    bits, signed
        How numbers are stored.
    inverted
        Whether white means low (MONOCHROME1) in values that have no unit.
    marks
        What tells volumes of one series apart: echo, b-value, phase...; None where the header does not say.
    localiser
        Whether the frame was made to plan others.
    moment
        When it was taken, as text that sorts; empty if the header does not say.
    tiles
        Of a mosaic, how many tiles its file has in a row; the index counts them. 0 for all else.
    """

    place: Place
    index: int
    number: int | None
    uid: str
    position: Float64[np.ndarray, "3"] | None
    across: Float64[np.ndarray, "3"]
    down: Float64[np.ndarray, "3"]
    spacing: tuple[float, float]
    slope: float
    intercept: float
    bits: int
    signed: bool
    inverted: bool
    marks: tuple[Any, ...]
    localiser: bool
    moment: str = ""
    tiles: int = 0

    @property
    def name(self) -> str:
        """How to call it in a message."""
        return self.place.name if self.index == 0 else f"{self.place.name} (frame {self.index + 1})"


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM file: its header without pixels, and its frames; or why it cannot be read.

    Parameters
    ----------
    place
        The file.
    header
        What of it bears on reading; empty if it is damaged.
    frames
        None if it holds no image, or one without a place in space.
    problem
        Why it cannot be read; empty if it can.
    """

    place: Place
    header: Dataset
    frames: tuple[Frame, ...]
    problem: str = ""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what pydicom says of odd values in a header: it quotes them, and they may name the patient."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def opener() -> Iterator[Opener]:
    """Give a function that opens places; archives stay open until the block ends."""
    with ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}

        def open_place(place: Place) -> BinaryIO:
            if place.member is None:
                return place.path.open("rb")
            if place.path not in archives:
                archives[place.path] = stack.enter_context(zipfile.ZipFile(place.path))
            archive = archives[place.path]
            if archive.getinfo(place.member).file_size > _LARGEST_MEMBER:
                raise UnreadableScan(f"{place.name} is larger than 4 GiB. Unpack the archive first.")
            return io.BytesIO(archive.read(place.member))

        yield open_place


def places_in(path: Path) -> list[Place]:
    """List what may be DICOM in a folder and those below it, beside a DICOMDIR, in a .zip, or a single file.

    Raises
    ------
    UnreadableScan
        If the archive is damaged.
    """
    if path.is_dir():
        return [Place(Path(top, name)) for top, _, names in sorted(os.walk(path)) for name in sorted(names)]
    if path.name.upper() == "DICOMDIR":
        return places_in(path.parent)
    if not zipfile.is_zipfile(path):
        return [Place(path)]
    try:
        with zipfile.ZipFile(path) as archive:
            return [Place(path, each.filename) for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UnreadableScan(f"{path.name} is a damaged archive ({error}). Copy it again.") from error


def instances_in(places: list[Place], open_place: Opener) -> Iterator[Instance]:
    """Read the headers of all DICOM files among some places; other files are passed over.

    Parameters
    ----------
    places
        Where to look.
    open_place
        See `opener`.

    Yields
    ------
    Instance
        With a problem if a file says by its name or its first bytes that it is DICOM, and is not whole.
    """
    with quiet():
        for place in places:
            try:
                found = _instance(place, open_place)
            # A damaged header makes pydicom fail in every way there is.
            except Exception as error:
                found = _broken(place, f"its header is damaged ({type(error).__name__})")
            if found is not None:
                yield found


def _instance(place: Place, open_place: Opener) -> Instance | None:
    with _start_of(place, open_place) as file:
        if file is None:
            named = place.name.lower().endswith(_NAMED)
            return _broken(place, "it does not begin as a DICOM file does") if named else None
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
    if "DirectoryRecordSequence" in header:
        return None
    _check_values(header)
    if not header.get("SOPClassUID") or not header.get("SeriesInstanceUID"):
        return _broken(place, "its header breaks off before it says of which kind and series it is")
    if not header.get("Rows") or not header.get("Columns"):
        kind = UID(str(header.SOPClassUID)).name
        return Instance(place, header, (), f"no image ({kind})")
    if is_mosaic(header):
        return _mosaic(place, header, open_place)
    return Instance(place, header, _frames(place, header))


def _mosaic(place: Place, header: Dataset, open_place: Opener) -> Instance:
    """Give the slices of a Siemens mosaic, each as a frame."""
    with open_place(place) as file:
        private = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(CSA_TAGS))
    whole = _frame(place, 0, header, [header])
    try:
        found = mosaic(header, private)
    except BadGeometry as error:
        return Instance(place, header, (), f"{error}: export it as enhanced or single images")
    return Instance(
        place,
        header,
        tuple(
            replace(whole, index=index, number=index + 1, position=position, tiles=found.side)
            for index, position in enumerate(found.positions)
        ),
    )


def _check_values(header: Dataset) -> None:
    """Decode all values now, so that those that are damaged fail here and not where they are needed.

    Raises
    ------
    Exception
        Of any kind: pydicom has many. The caller knows.
    """
    for tag in list(header.keys()):
        try:
            element = header[tag]
        except Exception:
            if keyword_for_tag(tag) not in _DISPENSABLE and not tag.is_private:
                raise
            del header[tag]
            continue
        if element.keyword in _COUNTS and element.value not in (None, ""):
            int(element.value)
    if "ImageType" in header:
        header.ImageType = [str(kind) for kind in _several(header.ImageType)]


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (str, bytes, int, float)) else list(value)


@contextmanager
def _start_of(place: Place, open_place: Opener) -> Iterator[BinaryIO | None]:
    """Open a place if its first bytes are those of a DICOM file."""
    if place.member is None and not place.path.is_file():  # a pipe would make us wait for ever
        yield None
        return
    with open_place(place) as file:
        start = file.read(132)
        file.seek(0)
        yield file if start[128:] == b"DICM" or start[:4] in _BARE else None


def _broken(place: Place, why: str) -> Instance:
    return Instance(place, Dataset(), (), why)


def _frames(place: Place, header: Dataset) -> tuple[Frame, ...]:
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    if not per_frame:
        # A multi-frame file of the old kind has no place for its frames.
        return () if int(header.get("NumberOfFrames") or 1) > 1 else (_frame(place, 0, header, [header]),)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return tuple(
        _frame(place, index, header, [*_items(own), *_items(shared), header])
        for index, own in enumerate(per_frame)
    )


def _items(groups: Dataset) -> Iterator[Dataset]:
    """Give what the functional groups of a frame hold, one level down."""
    for element in groups:
        if element.VR == "SQ" and not element.tag.is_private and element.value:
            yield element.value[0]


def _frame(place: Place, index: int, header: Dataset, where: list[Dataset]) -> Frame:
    def ask(*keywords: str) -> Any:
        for keyword in keywords:
            for dataset in where:
                value = dataset.get(keyword)
                if value is not None and value != "":
                    return value
        return None

    across, down = _directions(ask("ImageOrientationPatient"))
    kinds = [str(kind) for kind in ask("FrameType", "ImageType") or ()]
    marks = (
        _number(ask("EffectiveEchoTime", "EchoTime")),
        _number(ask("DiffusionBValue"), b_value(header)),
        tuple(np.nan_to_num(_vector(ask("DiffusionGradientOrientation"), 3)).round(4).tolist()),
        _number(ask("TemporalPositionIndex", "TemporalPositionIdentifier")),
        str(ask("StackID") or ""),
        tuple(kinds),
        _number(ask("NominalCardiacTriggerDelayTime", "TriggerTime")),
        _number(ask("InversionTime")),
        _number(ask("AcquisitionNumber")),
    )
    position = _vector(ask("ImagePositionPatient"), 3)
    spacing = _vector(ask("PixelSpacing"), 2)
    number = _number(ask("InStackPositionNumber", "InstanceNumber"))
    return Frame(
        place=place,
        index=index,
        number=None if number is None else int(number),
        uid=str(header.get("SOPInstanceUID", "")),
        position=position if np.all(np.isfinite(position)) else None,
        across=across,
        down=down,
        spacing=(float(spacing[0]), float(spacing[1])),
        slope=_rescale(ask("RescaleSlope"), 1.0),
        intercept=_rescale(ask("RescaleIntercept"), 0.0),
        bits=min(32, max(1, int(header.get("BitsStored") or 16))),
        signed=bool(header.get("PixelRepresentation")),
        inverted=_inverted(header),
        marks=marks,
        localiser="LOCALIZER" in kinds,
        moment=str(
            ask("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime") or ""
        ),
    )


def _rescale(value: Any, otherwise: float) -> float:
    """Give a number of the rescaling; one that is there and none would change every voxel.

    Raises
    ------
    ValueError
        If it is no number, or a slope of 0.
    """
    if value is None:
        return otherwise
    number = _number(value)
    if number is None or (otherwise and not number) or abs(number) > _LARGEST:
        raise ValueError("the rescaling is damaged")
    return number


def _inverted(header: Dataset) -> bool:
    """Tell whether bright stands for low; Hounsfield units and uptake mean the same however they are shown."""
    return header.get("PhotometricInterpretation") == "MONOCHROME1" and header.get("Modality") not in (
        "CT",
        "PT",
    )


def _directions(orientation: Any) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    six = _vector(orientation, 6)
    return six[:3], six[3:]


def _vector(value: Any, length: int) -> Float64[np.ndarray, " length"]:
    """Give numbers as an array; not-a-number where there are none."""
    with suppress(TypeError, ValueError):
        array = np.array([float(each) for each in value], dtype=np.float64)
        if array.shape == (length,):
            return array
    return np.full(length, np.nan)


def _number(value: Any, otherwise: float | None = None) -> float | None:
    with suppress(TypeError, ValueError):
        number = float(value)
        return number if np.isfinite(number) else otherwise
    return otherwise
