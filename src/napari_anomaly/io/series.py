"""The series among DICOM files: what they are called, and which of them can be read as a scan."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from napari_anomaly.errors import BadGeometry, UnreadableScan
from napari_anomaly.geometry import reorder
from napari_anomaly.io.instances import Frame, Instance, Opener, Place, instances_in, opener, places_in, quiet
from napari_anomaly.io.stack import Stack, slice_affine, stack

__all__ = ["Listing", "Series", "list_series"]

# What is read; everything else is named and refused.
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy enhanced MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "legacy enhanced PET",
    "1.2.840.10008.5.1.4.1.1.130": "enhanced PET",
}
_PLANES = {0: "sagittal", 1: "coronal", 2: "axial"}


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Slices that belong together: a DICOM series, or the part of it with one orientation and size.

    Parameters
    ----------
    uid
        Series instance UID.
    header
        Of its first file, without pixels.
    frames
        All of them, in the order of the files.
    stack
        How they lie; None if there is a problem.
    problem
        Why it cannot be read as a scan; empty if it can.
    left_out
        Files of the same series that belong to none of its parts, and why.
    """

    uid: str
    header: Dataset = field(repr=False)
    frames: tuple[Frame, ...]
    stack: Stack | None
    problem: str
    left_out: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """CT, MR, PT..."""
        return str(self.header.get("Modality", "")) or "unknown"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        tiles = max(1, self.frames[0].tiles) if self.frames else 1
        return int(self.header.Rows) // tiles, int(self.header.Columns) // tiles

    @property
    def plane(self) -> str:
        """How the slices lie: axial, coronal or sagittal, and whether oblique; empty if it is not known."""
        if not self.frames or self.frames[0].position is None:
            return ""
        with suppress(BadGeometry, np.linalg.LinAlgError):
            affine = slice_affine(self.frames[0])
            order, _ = reorder(affine)
            axis = int(2 - order.index(2))
            angle = np.degrees(np.arccos(min(1.0, abs(float(affine[axis, 2])))))
            return _PLANES[axis] + (f" ({angle:.0f}° oblique)" if angle >= 1 else "")
        return ""

    @property
    def description(self) -> str:
        """What its maker called it, without what names the patient."""
        told = str(self.header.get("SeriesDescription") or self.header.get("ProtocolName") or "")
        return _without_patient(told, self.header)

    @property
    def words(self) -> tuple[str, str, str, str, str, str]:
        """Modality, description, date, slices, plane and spacing, to choose it by; none of them names the patient."""
        date = str(self.header.get("SeriesDate") or self.header.get("StudyDate") or "")
        dashed = f"{date[:4]}-{date[4:6]}-{date[6:8]}" if re.fullmatch(r"\d{8}", date) else ""
        return self.modality, self.description, dashed, self._extent, self.plane, self._spacing

    @property
    def label(self) -> str:
        """One line to choose it by; it does not name the patient."""
        return ", ".join(word for word in self.words if word) + (f": {self.problem}" if self.problem else "")

    @property
    def name(self) -> str:
        """For the names of results: modality, number and description; it does not name the patient."""
        number = str(self.header.get("SeriesNumber") or "")
        words = [self.modality, number, self.description]
        return (
            re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(word for word in words if word)).strip("-.") or "series"
        )

    @property
    def tag(self) -> str:
        """Six letters and digits that tell series of one name apart."""
        return hashlib.sha256(self.uid.encode()).hexdigest()[:6]

    @property
    def _extent(self) -> str:
        if self.stack is None or len(self.stack.volumes) == 1:
            return f"{len(self.frames)} slices" if self.frames else ""
        return f"{len(self.stack.volumes)} volumes of {len(self.stack.depths)} slices"

    @property
    def _spacing(self) -> str:
        if self.stack is None:
            return ""
        rows, columns = self.frames[0].spacing
        return f"{columns:.3g} x {rows:.3g} x {self.stack.step:.3g} mm"


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """What was found in one place.

    Parameters
    ----------
    series
        By their number, then by their UID.
    damaged
        DICOM files that belong to no series, because their headers cannot be read, and why.
    """

    series: tuple[Series, ...]
    damaged: tuple[str, ...]

    @property
    def readable(self) -> tuple[Series, ...]:
        """Those that can be read as a scan."""
        return tuple(each for each in self.series if not each.problem)


def list_series(path: Path) -> Listing:
    """List the series in a folder and those below it, beside a DICOMDIR, in a .zip, or that of a single file.

    Of a single file, the files beside it that belong to the same series are found.

    Parameters
    ----------
    path
        Folder or file.

    Raises
    ------
    UnreadableScan
        If there is no DICOM file.
    """
    with quiet(), opener() as open_place:
        instances = list(_asked(path, open_place))
        damaged = tuple(f"{each.place.name}: {each.problem}" for each in instances if not each.header)
        by_uid: dict[str, list[Instance]] = {}
        for instance in instances:
            if instance.header:
                by_uid.setdefault(str(instance.header.SeriesInstanceUID), []).append(instance)
        found = [each for uid, members in by_uid.items() for each in _parts(uid, members, open_place)]
    if not found:
        what = f" Damaged: {'; '.join(damaged[:5])}." if damaged else ""
        kind = "is a folder without DICOM images" if path.is_dir() else "holds no DICOM image"
        raise UnreadableScan(f"{path} {kind}.{what} Choose a folder or a file of a series, or another scan.")
    found.sort(key=lambda each: (_number(each.header), each.uid))
    return Listing(tuple(found), damaged)


def _asked(path: Path, open_place: Opener) -> Iterator[Instance]:
    places = places_in(path)
    single = len(places) == 1 and places[0] == Place(path)
    if not single:
        yield from instances_in(places, open_place)
        return
    wanted = None
    for instance in instances_in(places, open_place):
        wanted = str(instance.header.get("SeriesInstanceUID", ""))
        if not wanted:
            yield instance
    if wanted:
        beside = [Place(other) for other in sorted(path.parent.iterdir()) if other.is_file()]
        for instance in instances_in(beside, open_place):
            # A damaged file beside it may belong to the series: it is named, too.
            if str(instance.header.get("SeriesInstanceUID", "")) in (wanted, ""):
                yield instance


def _parts(uid: str, members: list[Instance], open_place: Opener) -> Iterator[Series]:
    """Split a DICOM series where orientation, size or kind change, and look what each part is."""
    whole, copies = _without_copies(members, open_place)
    kept: list[list[tuple[Frame, Instance]]] = []
    out: list[str] = list(copies)
    for instance in whole:
        problem = instance.problem or _problem(instance.header)
        if problem or not instance.frames:
            out.append(f"{instance.place.name}: {problem or 'its frames have no place in space'}")
            continue
        for frame in instance.frames:
            home = next((part for part in kept if _together(part[0], (frame, instance))), None)
            if home is None:
                kept.append(home := [])
            home.append((frame, instance))
    if not kept:
        yield Series(uid, whole[0].header, (), None, _brief(out))
    for part in kept:
        yield _series(uid, part[0][1].header, tuple(frame for frame, _ in part), tuple(out))


def _series(uid: str, header: Dataset, frames: tuple[Frame, ...], left_out: tuple[str, ...]) -> Series:
    if frames[0].localiser:
        return Series(uid, header, frames, None, "a localiser, made to plan other scans", left_out)
    try:
        return Series(uid, header, frames, stack(frames), "", left_out)
    except BadGeometry as error:
        return Series(uid, header, frames, None, str(error), left_out)


def _together(one: tuple[Frame, Instance], other: tuple[Frame, Instance]) -> bool:
    """Tell whether two frames can be slices of one volume."""
    (first, header), (second, another) = (one[0], one[1].header), (other[0], other[1].header)
    if header.Rows != another.Rows or header.Columns != another.Columns:
        return False
    if header.get("FrameOfReferenceUID") != another.get("FrameOfReferenceUID"):
        return False
    if first.localiser != second.localiser or first.tiles != second.tiles:
        return False
    numbers = [[*f.across, *f.down, *f.spacing] for f in (first, second)]
    return bool(np.allclose(numbers[0], numbers[1], rtol=0, atol=1e-3, equal_nan=True))


def _problem(header: Dataset) -> str:
    """Say why a file is not a slice of a scan; empty if it is one."""
    kind = str(header.SOPClassUID)
    if kind not in _CLASSES:
        return f"not a CT, MR or PET image but {UID(kind).name}"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "in colour"
    if not str(header.get("PhotometricInterpretation", "MONOCHROME2")).startswith("MONOCHROME"):
        return f"not in grey values but {header.PhotometricInterpretation}"
    if header.get("ModalityLUTSequence"):
        return "its values go through a table (modality LUT), which is not read"
    return ""


def _without_copies(members: list[Instance], open_place: Opener) -> tuple[list[Instance], list[str]]:
    """Drop files that are there twice, byte for byte; two different ones of one UID are both kept."""
    first: dict[str, Instance] = {}
    kept, copies = [], []
    for instance in members:
        uid = str(instance.header.get("SOPInstanceUID", "")) or instance.place.name
        before = first.setdefault(uid, instance)
        if before is not instance and _equal(before.place, instance.place, open_place):
            copies.append(f"{instance.place.name}: a copy of {before.place.name}")
        else:
            kept.append(instance)
    return kept, copies


def _equal(one: Place, other: Place, open_place: Opener) -> bool:
    with open_place(one) as first, open_place(other) as second:
        return first.read() == second.read()


def _brief(reasons: list[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _number(header: Dataset) -> int:
    with suppress(TypeError, ValueError):
        return int(header.get("SeriesNumber") or 0)
    return 0


def _without_patient(text: str, header: Dataset) -> str:
    """Take out of a text every word of the patient's name and identity."""
    told = " ".join(str(header.get(tag) or "") for tag in ("PatientName", "PatientID", "OtherPatientNames"))
    for word in {word for word in re.split(r"[^\w]+|_", told) if len(word) > 2}:
        text = re.sub(re.escape(word), "", text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"[^\w\s.+/()*-]", " ", text).split()).strip(" -_^")
