"""Findings and verdicts as a DICOM structured report: an imaging measurement report (TID 1500).

Every finding is a group of measurements that points at its segment in the DICOM segmentation; one that has no
segment, since the reader judged it false, points at the source images that it lies on.

Source: DICOM PS3.16 2024, TID 1500, TID 1411, TID 1501; PS3.3, A.35.13 (Comprehensive 3D SR).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import highdicom
import numpy as np
from highdicom import sr
from jaxtyping import Shaped
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.io.dicom import to_slices
from napari_anomaly.io.dicom_codes import RANK, VERDICT, VERDICTS, our_scheme, sites
from napari_anomaly.io.dicom_seg import PAINTED
from napari_anomaly.io.dicom_sources import Sources, making, sources_of
from napari_anomaly.review import Review
from napari_anomaly.scan import Scan

__all__ = ["MOST_GROUPS", "report"]

MOST_GROUPS = 100
"""Findings beyond these, which are less unusual, are counted and not measured one by one."""

_Group: TypeAlias = (
    sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
)

_SERIES_OFFSET = 11000
_PROCEDURES = {
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
}
_STATEMENT = "Research software, not a medical device. No diagnosis."


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What a report is made of."""

    anomaly_map: AnomalyMap
    findings: Findings
    review: Review | None
    segmentation: Dataset
    sources: Sources
    slices: Shaped[np.ndarray, "slices rows columns"]


def report(
    findings: Findings,
    anomaly_map: AnomalyMap,
    scan: Scan,
    segmentation: Dataset,
    *,
    review: Review | None = None,
    sources: Sources | None = None,
) -> Dataset:
    """Make a structured report of what was found, and of what the reader said.

    Parameters
    ----------
    findings
        What was found.
    anomaly_map
        Whose scores are reported; it names the detector, and says where findings lie.
    scan
        Read from DICOM.
    segmentation
        What `napari_anomaly.io.dicom_seg.segmentation` made of the same findings.
    review
        Verdicts, notes, and the name of the reader.
    sources
        Headers of the scan's files, where they were read already.

    Raises
    ------
    ScanError
        If the source files lack what a report must refer to, or are no longer there.
    """
    sources = sources_of(scan) if sources is None else sources
    slices = to_slices(findings.labels, scan)
    case = _Case(anomaly_map, findings, review, segmentation, sources, slices)
    with making("DICOM report", scan):
        content = sr.MeasurementReport(
            observation_context=_observers(case),
            procedure_reported=_PROCEDURES.get(str(scan.modality), codes.cid100.ImagingProcedure),
            imaging_measurements=list(_groups(case)),
            title=codes.DCM.ImagingMeasurementReport,
        )
        about = dict(sources.about(anomaly_map, offset=_SERIES_OFFSET))
        model, versions = about.pop("manufacturer_model_name"), about.pop("software_versions")
        serial = about.pop("device_serial_number")
        made: Dataset = sr.Comprehensive3DSR(
            evidence=[*sources.datasets, segmentation],
            content=content[0],
            is_complete=_complete(case),
            series_description="napari-anomaly report (research)",
            **about,
        )
        made.ManufacturerModelName, made.SoftwareVersions, made.DeviceSerialNumber = model, versions, serial
        made.CodingSchemeIdentificationSequence = [
            *made.get("CodingSchemeIdentificationSequence", ()),
            our_scheme(),
        ]
    return made


def _complete(case: _Case) -> bool:
    """Tell whether a reader has judged everything."""
    review = case.review
    return review is not None and all(review.verdict(finding.id) is not None for finding in case.findings)


def _observers(case: _Case) -> sr.ObservationContext:
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=_detector_uid(case.anomaly_map),
            name="napari-anomaly",
            manufacturer_name="napari-anomaly",
            model_name=case.anomaly_map.detector[:64],
            serial_number=case.anomaly_map.detector_sha256[:16],
        ),
    )
    name = "".join(" " if c in "^=\\" else c for c in case.review.reader).strip() if case.review else ""
    if not name:
        return sr.ObservationContext(observer_device_context=device)
    person = sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name=f"{name[:63]}^"),
    )
    return sr.ObservationContext(observer_person_context=person, observer_device_context=device)


def _detector_uid(anomaly_map: AnomalyMap) -> str:
    """Give a detector the same UID everywhere: 2.25 and a number made of its fingerprint."""
    return f"2.25.{int(anomaly_map.detector_sha256[:32] or '0', 16)}"


def _groups(case: _Case) -> Iterator[_Group]:
    yield _whole(case)
    segments = {str(each.SegmentLabel): each for each in case.segmentation.SegmentSequence}
    for finding in case.findings.items[:MOST_GROUPS]:
        segment = segments.get(f"Finding {finding.rank}")
        yield _finding(finding, case, segment)
    if PAINTED in segments:
        yield _painted(case, segments[PAINTED])


def _whole(case: _Case) -> _Group:
    """Say how unusual the scan is as a whole, and what was looked for."""
    findings = case.findings
    more = "" if len(findings) <= MOST_GROUPS else f", of which the first {MOST_GROUPS} are listed"
    words = (
        f"{len(findings)} findings{more}, at threshold {findings.threshold:.6g}, smallest "
        f"{findings.min_volume_mm3:.6g} mm3. The scan is more unusual than "
        f"{100 * case.anomaly_map.scan_score:.0f} of 100 normal scans. {_STATEMENT}"
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=highdicom.UID(), identifier="Whole scan"),
        measurements=[_rank(case.anomaly_map.scan_score)],
        source_images=[sr.SourceImageForMeasurementGroup(*_reference(case.sources, 0))],
    )
    return _with_comment(group, words)


def _finding(finding: Finding, case: _Case, segment: Dataset | None) -> _Group:
    review = case.review
    told = {
        "finding_type": codes.SCT.Lesion,
        "finding_category": codes.SCT.MorphologicallyAbnormalStructure,
        "finding_sites": [
            sr.FindingSite(code, laterality=side)
            for code, side in sites(finding, case.findings, case.anomaly_map)
        ],
        "algorithm_id": sr.AlgorithmIdentification(
            name=f"napari-anomaly {case.anomaly_map.detector}"[:64],
            version=case.anomaly_map.detector_sha256[:12],
        ),
        "measurements": _measurements(finding, case.findings),
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(VERDICT, VERDICTS[review.verdict(finding.id) if review else None])
        ],
    }
    words = [finding.where]
    if review is not None:
        words += [review.reason(finding.id), review.note(finding.id)]
    comment = ". ".join(word for word in words if word)
    if segment is not None:
        group: _Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(segment), referenced_segment=_segment(segment, case), **told
        )
    else:
        name = f"Finding {finding.rank}"
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=highdicom.UID(), identifier=name),
            source_images=_images(finding, case),
            **told,
        )
    return _with_comment(group, comment)


def _painted(case: _Case, segment: Dataset) -> _Group:
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(segment),
        referenced_segment=_segment(segment, case),
        finding_type=codes.SCT.Lesion,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
    )
    return _with_comment(group, PAINTED)


def _measurements(finding: Finding, findings: Findings) -> list[sr.Measurement]:
    ranks = [
        _rank(finding.peak, derivation=codes.SCT.Maximum),
        _rank(finding.mean, derivation=codes.SCT.Mean),
    ]
    if findings.geometry.unit != "mm":
        return ranks
    return [
        sr.Measurement(codes.SCT.Volume, round(finding.volume_mm3, 3), codes.UCUM.CubicMillimeter),
        sr.Measurement(
            codes.SCT.Diameter,
            round(finding.diameter_mm, 3),
            codes.UCUM.Millimeter,
            derivation=codes.SCT.Maximum,
        ),
        *ranks,
    ]


def _rank(score: float, *, derivation: Code | None = None) -> sr.Measurement:
    return sr.Measurement(RANK, round(100 * float(score), 6), codes.UCUM.Percent, derivation=derivation)


def _tracking(segment: Dataset) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=segment.TrackingUID, identifier=str(segment.TrackingID))


def _segment(segment: Dataset, case: _Case) -> sr.ReferencedSegment:
    return sr.ReferencedSegment(
        sop_class_uid=case.segmentation.SOPClassUID,
        sop_instance_uid=case.segmentation.SOPInstanceUID,
        segment_number=int(segment.SegmentNumber),
        source_series=sr.SourceSeriesForSegmentation(
            referenced_series_instance_uid=str(case.sources.datasets[0].SeriesInstanceUID)
        ),
    )


def _images(finding: Finding, case: _Case) -> list[sr.SourceImageForMeasurementGroup]:
    """Give the source images that a finding lies on."""
    on = np.flatnonzero((case.slices == finding.rank).any(axis=(1, 2)))
    return [sr.SourceImageForMeasurementGroup(*_reference(case.sources, int(number))) for number in on]


def _reference(sources: Sources, number: int) -> tuple[str, str, list[int] | None]:
    source, frame = sources.of_slice(number)
    return str(source.SOPClassUID), str(source.SOPInstanceUID), None if frame is None else [frame]


def _with_comment(group: _Group, words: str) -> _Group:
    """Add free words to a group of measurements; the template allows them, highdicom has no place for them."""
    if words:
        comment = sr.TextContentItem(
            name=codes.DCM.Comment, value=words, relationship_type=sr.RelationshipTypeValues.CONTAINS
        )
        group[0].ContentSequence.append(comment)
    return group
