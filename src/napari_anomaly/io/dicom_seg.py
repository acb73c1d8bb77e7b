"""Findings as DICOM SEG: one segment for each, on the slices that the scan was read from.

highdicom builds the object; it carries patient, study and frame of reference of its source, as the standard
asks, and refers to each source image.

Source: DICOM PS3.3 2024, A.51 (Segmentation IOD); PS3.16, CID 7150, CID 7162.
"""

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from jaxtyping import UInt16
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.export import Mask
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.io.dicom import to_slices
from napari_anomaly.io.dicom_codes import algorithm, sites
from napari_anomaly.io.dicom_sources import Sources, making, save, sources_of
from napari_anomaly.scan import Scan

__all__ = ["MOST_SEGMENTS", "PAINTED", "save", "segmentation"]

MOST_SEGMENTS = 100
"""More findings than this go into one segment: a viewer's list of them would help no one."""

PAINTED = "Painted by the reader"
"""Name of the segment that no finding gave."""

_SERIES_OFFSET = 9000


def segmentation(
    mask: Mask,
    findings: Findings,
    anomaly_map: AnomalyMap,
    scan: Scan,
    *,
    sources: Sources | None = None,
) -> Dataset:
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
        It names the detector, and says where findings lie.
    scan
        Read from DICOM.
    sources
        Headers of its files, where they were read already.

    Raises
    ------
    ScanError
        If the source files lack what a segmentation must refer to, or are no longer there.
    """
    labels, named = _segments(mask, findings)
    sources = sources_of(scan) if sources is None else sources
    stored = np.ascontiguousarray(to_slices(labels, scan))
    with making("DICOM segmentation", scan):
        described = [
            _description(number, name, _regions(finding, findings, anomaly_map), anomaly_map)
            for number, (name, finding) in enumerate(named, start=1)
        ]
        made: Dataset = highdicom.seg.Segmentation(
            source_images=sources.datasets,
            pixel_array=stored,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            content_label="ANOMALY",
            content_description="Unusual regions; research software",
            series_description="napari-anomaly findings (research)",
            omit_empty_frames=bool(stored.any()),
            **sources.about(anomaly_map, offset=_SERIES_OFFSET),
        )
        sources.renumber(made)
    return made


def _segments(
    mask: Mask, findings: Findings
) -> tuple[UInt16[np.ndarray, "z y x"], list[tuple[str, Finding | None]]]:
    """Number the voxels of a mask by segment, from 1 without a gap, and name the segments."""
    inside = mask.voxels > 0
    held = [finding for finding in findings if np.any(inside & (findings.labels == finding.rank))]
    painted = bool(np.any(inside & (findings.labels == 0)))
    if not held and not painted:
        return np.zeros(mask.voxels.shape, np.uint16), [("No finding", None)]
    if len(held) > MOST_SEGMENTS:
        return inside.astype(np.uint16), [(f"{len(held)} findings", None)]
    number = np.zeros(len(findings) + 1, np.uint16)
    number[[finding.rank for finding in held]] = np.arange(1, len(held) + 1)
    number[0] = len(held) + 1
    labels = np.where(inside, number[findings.labels], 0).astype(np.uint16)
    named: list[tuple[str, Finding | None]] = [(f"Finding {finding.rank}", finding) for finding in held]
    return labels, named + ([(PAINTED, None)] if painted else [])


def _regions(finding: Finding | None, findings: Findings, anomaly_map: AnomalyMap) -> list[Code]:
    found = [] if finding is None else sites(finding, findings, anomaly_map)
    return list(dict.fromkeys(code for code, _ in found))


def _description(number: int, name: str, regions: list[Code], anomaly_map: AnomalyMap) -> SegmentDescription:
    painted = name == PAINTED
    kind = SegmentAlgorithmTypeValues.MANUAL if painted else SegmentAlgorithmTypeValues.AUTOMATIC
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=kind,
        algorithm_identification=None if painted else algorithm(anomaly_map),
        tracking_uid=highdicom.UID(),
        tracking_id=name,
        anatomic_regions=regions or None,
    )
