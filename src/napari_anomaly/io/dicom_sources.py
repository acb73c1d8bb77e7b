"""The files that a scan was read from, as what is sent back refers to them.

Patient, study and frame of reference come from here and from nowhere else.

Source: DICOM PS3.3 2024, C.7.1 (patient), C.7.2 (study), C.7.4 (frame of reference).
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import highdicom
import pydicom
from pydicom import Dataset

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom import frames_of
from napari_anomaly.io.instances import Frame, opener, quiet
from napari_anomaly.scan import Scan

__all__ = ["Sources", "fill_laterality", "making", "save", "sources_of"]

# Must be there, if empty, and are missing from many files that were made anonymous.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Headers of source files, whole but for the pixels.

    Parameters
    ----------
    datasets
        One for each file, in the order of the slices; of an enhanced file the slices alone, in their order.
    frames
        The slices of the scan, in their order.
    """

    datasets: tuple[Dataset, ...]
    frames: tuple[Frame, ...]

    @property
    def multiframe(self) -> bool:
        """Whether one file holds all slices."""
        return len(self.datasets) == 1 and "NumberOfFrames" in self.datasets[0]

    def renumber(self, made: Dataset) -> None:
        """Name the frames of an enhanced source as its whole file numbers them, in what was made of some of them."""
        if not self.multiframe:
            return
        for groups in made.PerFrameFunctionalGroupsSequence:
            for derivation in groups.get("DerivationImageSequence", ()):
                for source in derivation.SourceImageSequence:
                    number = int(source.ReferencedFrameNumber)
                    source.ReferencedFrameNumber = self.frames[number - 1].index + 1

    def of_slice(self, number: int) -> tuple[Dataset, int | None]:
        """Give the file of a slice, and the number of its frame, from 1, where the file holds several."""
        if self.multiframe:
            return self.datasets[0], self.frames[number].index + 1
        return self.datasets[number], None

    def about(self, anomaly_map: AnomalyMap, *, offset: int) -> Mapping[str, Any]:
        """Say what a new series is, and what made it, in highdicom's words.

        Parameters
        ----------
        anomaly_map
            It names the detector.
        offset
            Tells kinds of results apart in the number of the series.
        """
        return {
            "series_instance_uid": highdicom.UID(),
            "series_number": offset + int(self.datasets[0].get("SeriesNumber") or 0) % 1000,
            "sop_instance_uid": highdicom.UID(),
            "instance_number": 1,
            "manufacturer": "napari-anomaly",
            "manufacturer_model_name": "napari-anomaly",
            "software_versions": metadata.version("napari-anomaly"),
            "device_serial_number": anomaly_map.detector_sha256[:16],
        }


def sources_of(scan: Scan) -> Sources:
    """Read the headers of the files of a scan again.

    Raises
    ------
    ScanError
        If they are no longer there.
    """
    frames = frames_of(scan)
    try:
        found = _headers(frames)
    except (OSError, KeyError, BadZipFile) as error:
        raise ScanError(
            f"No DICOM results of {scan.name} can be made: its source files cannot be read again. "
            "They must stay where they were until the results are written; open the scan once more."
        ) from error
    return Sources(tuple(found), frames)


@contextmanager
def making(what: str, scan: Scan) -> Iterator[None]:
    """Say in the user's words why an object cannot be made.

    Parameters
    ----------
    what
        "DICOM segmentation".
    scan
        Of which scan.

    Raises
    ------
    ScanError
        In place of what highdicom says.
    """
    with warnings.catch_warnings(), quiet():
        # highdicom warns of odd values in the source's header, and quotes them.
        warnings.simplefilter("ignore")
        try:
            yield
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())[:200].rstrip(".")
            raise ScanError(
                f"No {what} of {scan.name} can be made: {why}. Its source files lack what a result must refer to; "
                "export the series again from its archive."
            ) from error


def fill_laterality(made: Dataset) -> None:
    """Say that the side is not known where the source does not say: what is scanned may be a paired organ."""
    if "Laterality" not in made:
        made.Laterality = ""


def save(made: Dataset, path: Path) -> None:
    """Write an object to a file."""
    with quiet():
        made.save_as(path, enforce_file_format=True)


def _headers(frames: tuple[Frame, ...]) -> list[Dataset]:
    """Read the headers of the source files again, whole, in the order of the slices."""
    places = dict.fromkeys(frame.place for frame in frames)
    with quiet(), opener() as open_place:
        found: list[Dataset] = []
        for place in places:
            with open_place(place) as file:
                found.append(pydicom.dcmread(file, stop_before_pixels=True, force=True))
            _mend(found[-1])
    _share(found[0], frames[0])
    if len(found) == 1 and "PerFrameFunctionalGroupsSequence" in found[0]:
        _narrow(found[0], frames)
    return found


def _narrow(source: Dataset, frames: tuple[Frame, ...]) -> None:
    """Leave out frames of other volumes, which lie at the same places: nothing is said of them."""
    groups = source.PerFrameFunctionalGroupsSequence
    source.PerFrameFunctionalGroupsSequence = [groups[frame.index] for frame in frames]
    source.NumberOfFrames = len(frames)


def _mend(source: Dataset) -> None:
    """Give a header what must be there: whatever is made of it would lack it, too."""
    for keyword in _MAY_BE_EMPTY:
        if keyword not in source:
            setattr(source, keyword, "")
    if "DeidentificationMethod" in source and not source.DeidentificationMethod:
        source.DeidentificationMethod = "not stated by the source"


def _share(source: Dataset, frame: Frame) -> None:
    """Say once for an enhanced file what some makers say for each frame, which highdicom does not look up."""
    if "PerFrameFunctionalGroupsSequence" not in source:
        return
    if not source.get("SharedFunctionalGroupsSequence"):
        source.SharedFunctionalGroupsSequence = [Dataset()]
    own = source.PerFrameFunctionalGroupsSequence[frame.index]
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if keyword not in source.SharedFunctionalGroupsSequence[0] and keyword in own:
            setattr(source.SharedFunctionalGroupsSequence[0], keyword, own[keyword].value)
