"""Findings as DICOM SEG: one segment for each, on the slices that the scan was read from.

highdicom builds the object; it carries patient, study and frame of reference of its source, as the standard
asks, and refers to each source image.

Source: DICOM PS3.3 2024, A.51 (Segmentation IOD); PS3.16, CID 7150, CID 7162.
"""

import warnings
from importlib import metadata
from pathlib import Path
from zipfile import BadZipFile

import highdicom
import numpy as np
import pydicom
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from jaxtyping import UInt16
from pydicom import Dataset
from pydicom.sr.codedict import codes

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ScanError
from napari_anomaly.export import Mask
from napari_anomaly.findings import Findings
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.io.instances import Frame, opener, quiet
from napari_anomaly.scan import Scan

__all__ = ["MOST_SEGMENTS", "save", "segmentation"]

MOST_SEGMENTS = 100
"""More findings than this go into one segment: a viewer's list of them would help no one."""

_SERIES_OFFSET = 9000
# Must be there, if empty, and are missing from many files that were made anonymous.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_PAINTED = "Painted by the reader"


def segmentation(mask: Mask, findings: Findings, anomaly_map: AnomalyMap, scan: Scan) -> Dataset:
    """Make of a mask a binary DICOM segmentation of the series that a scan was read from.

    Where the scan was resampled (gantry tilt, uneven slices), each source pixel takes the nearest voxel. A
    mask without a voxel gives one empty segment, so that the archive has an answer, too.

    Parameters
    ----------
    mask
        What leaves the building.
    findings
        Whose numbers the segments carry; voxels of the mask outside of them were painted by the reader.
    anomaly_map
        It names the detector.
    scan
        Read from DICOM.

    Raises
    ------
    ScanError
        If the source files lack what a segmentation must refer to, or are no longer there.
    """
    labels, names = _segments(mask, findings)
    try:
        sources = _sources(frames_of(scan))
    except (OSError, KeyError, BadZipFile) as error:
        raise ScanError(
            f"No DICOM segmentation of {scan.name} can be made: its source files cannot be read again. "
            "They must stay where they were until the results are written; open the scan once more."
        ) from error
    stored = _on_sources(to_slices(labels, scan), frames_of(scan), sources)
    with warnings.catch_warnings():
        # highdicom warns of odd values in the source's header, and quotes them.
        warnings.simplefilter("ignore")
        try:
            return _segmentation(stored, names, sources, anomaly_map)
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            raise ScanError(
                f"No DICOM segmentation of {scan.name} can be made: {_plain(error)}. "
                "Its source files lack what a segmentation must refer to; export the series again from its archive."
            ) from error


def save(made: Dataset, path: Path) -> None:
    """Write a segmentation to a file."""
    with quiet():
        made.save_as(path, enforce_file_format=True)


def _segments(mask: Mask, findings: Findings) -> tuple[UInt16[np.ndarray, "z y x"], list[str]]:
    """Number the voxels of a mask by segment, from 1 without a gap, and name the segments."""
    inside = mask.voxels > 0
    ranks = [finding.rank for finding in findings if np.any(inside & (findings.labels == finding.rank))]
    painted = bool(np.any(inside & (findings.labels == 0)))
    if not ranks and not painted:
        return np.zeros(mask.voxels.shape, np.uint16), ["No finding"]
    if len(ranks) > MOST_SEGMENTS:
        return inside.astype(np.uint16), [f"{len(ranks)} findings"]
    number = np.zeros(len(findings) + 1, np.uint16)
    number[ranks] = np.arange(1, len(ranks) + 1)
    number[0] = len(ranks) + 1
    labels = np.where(inside, number[findings.labels], 0).astype(np.uint16)
    return labels, [f"Finding {rank}" for rank in ranks] + ([_PAINTED] if painted else [])


def _sources(frames: tuple[Frame, ...]) -> list[Dataset]:
    """Read the headers of the source files again, whole, in the order of the slices."""
    places = dict.fromkeys(frame.place for frame in frames)
    with quiet(), opener() as open_place:
        found: list[Dataset] = []
        for place in places:
            with open_place(place) as file:
                found.append(pydicom.dcmread(file, stop_before_pixels=True, force=True))
            for keyword in _MAY_BE_EMPTY:
                if keyword not in found[-1]:
                    setattr(found[-1], keyword, "")
    _share(found[0], frames[0])
    return found


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


def _on_sources(
    slices: UInt16[np.ndarray, "slices rows columns"], frames: tuple[Frame, ...], sources: list[Dataset]
) -> UInt16[np.ndarray, "frames rows columns"]:
    """Lay slices where the source files have them; other frames of an enhanced file stay empty."""
    if len(sources) > 1 or "NumberOfFrames" not in sources[0]:
        return np.ascontiguousarray(slices)
    stored = np.zeros((int(sources[0].NumberOfFrames), *slices.shape[1:]), np.uint16)
    stored[[frame.index for frame in frames]] = slices
    return stored


def _segmentation(
    stored: UInt16[np.ndarray, "frames rows columns"],
    names: list[str],
    sources: list[Dataset],
    anomaly_map: AnomalyMap,
) -> Dataset:
    version = metadata.version("napari-anomaly")
    made: Dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=stored,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(n, name, anomaly_map) for n, name in enumerate(names, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_OFFSET + int(sources[0].get("SeriesNumber") or 0) % 1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="napari-anomaly",
        manufacturer_model_name="napari-anomaly",
        software_versions=version,
        device_serial_number=anomaly_map.detector_sha256[:16],
        content_label="ANOMALY",
        content_description="Unusual regions; research software",
        series_description="napari-anomaly findings (research)",
        omit_empty_frames=bool(stored.any()),
    )
    return made


def _description(number: int, name: str, anomaly_map: AnomalyMap) -> SegmentDescription:
    painted = name == _PAINTED
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"napari-anomaly {anomaly_map.detector}"[:64],
        family=codes.cid7162.ArtificialIntelligence,
        version=anomaly_map.detector_sha256[:12],
        source="napari-anomaly",
    )
    kind = SegmentAlgorithmTypeValues.MANUAL if painted else SegmentAlgorithmTypeValues.AUTOMATIC
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=kind,
        algorithm_identification=None if painted else algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=name,
    )


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
