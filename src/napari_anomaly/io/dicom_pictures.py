"""Key images as Secondary Captures: the slice on which a finding is largest, with its outline.

They are for viewers that show no segmentation. Nothing that names the patient is drawn.

Source: DICOM PS3.3 2024, A.8.1 (Secondary Capture IOD), C.7.6.1.1.4 (source image sequence).
"""

from typing import Any

import highdicom
import numpy as np
from jaxtyping import Bool, Num, UInt8
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.sr.codedict import codes
from scipy.ndimage import binary_erosion

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.io.dicom import to_slices
from napari_anomaly.io.dicom_sources import Sources, fill_laterality, making, sources_of
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan

__all__ = ["MOST_PICTURES", "key_images"]

MOST_PICTURES = 10
"""Findings beyond these, which are less unusual, get no picture."""

_SERIES_OFFSET = 12000
_SIDE = 768  # pixels along the longer side
_OUTLINE = (0, 229, 255)
_TEXT = (235, 235, 235)
_EQUIPMENT = ("manufacturer_model_name", "software_versions", "device_serial_number")
_STATEMENT = "Research software, not a medical device."


def key_images(
    findings: Findings,
    anomaly_map: AnomalyMap,
    scan: Scan,
    *,
    review: Review | None = None,
    sources: Sources | None = None,
) -> list[Dataset]:
    """Draw the worst findings, each on the slice where it is largest; what was judged false is left out.

    Parameters
    ----------
    findings
        What was found.
    anomaly_map
        It names the detector.
    scan
        Read from DICOM.
    review
        Verdicts.
    sources
        Headers of the scan's files, where they were read already.

    Returns
    -------
    list of Dataset
        One series; empty where there is nothing to show.

    Raises
    ------
    ScanError
        If the source files lack what an image must refer to, or are no longer there.
    """
    shown = [each for each in findings if not _false(each, review)][:MOST_PICTURES]
    sources = sources_of(scan) if sources is None else sources
    labels = to_slices(findings.labels, scan)
    slices = to_slices(scan.voxels, scan)
    limits = _window(scan)
    about = dict(sources.about(anomaly_map, offset=_SERIES_OFFSET))
    made: list[Dataset] = []
    for finding in shown:
        areas = np.count_nonzero(labels == finding.rank, axis=(1, 2))
        if not areas.any():
            # after resampling, a voxel or two may lie between all source slices
            continue
        number = int(areas.argmax())
        about |= {"sop_instance_uid": highdicom.UID(), "instance_number": len(made) + 1}
        spacing = sources.frames[number].spacing
        picture = _drawn(slices[number], labels[number] == finding.rank, limits, spacing)
        _caption(picture, _words(finding, number, findings))
        with making("DICOM key image", scan):
            made.append(_capture(np.asarray(picture), sources, number, about))
    return made


def _false(finding: Finding, review: Review | None) -> bool:
    return review is not None and review.verdict(finding.id) is Verdict.FALSE_POSITIVE


def _window(scan: Scan) -> tuple[float, float]:
    """Give the limits of grey: the window of the header, or what holds nearly all of the scan."""
    for window in scan.source.details.get("windows", ()):
        if window["width"] > 1:
            return window["center"] - window["width"] / 2, window["center"] + window["width"] / 2
    sample = scan.voxels.reshape(-1)[:: max(1, scan.voxels.size // 200_000)].astype(np.float32)
    inside = sample[sample > sample.min()]
    if not inside.size:
        return float(sample.min()), float(sample.min()) + 1.0
    low, high = np.percentile(inside, [1.0, 99.7])
    return float(low), float(max(high, low + 1e-6))


def _drawn(
    plane: Num[np.ndarray, "rows columns"],
    inside: Bool[np.ndarray, "rows columns"],
    limits: tuple[float, float],
    spacing: tuple[float, float],
) -> Image.Image:
    share = np.clip((plane.astype(np.float32) - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)
    grey: UInt8[np.ndarray, "rows columns"] = np.rint(share * 255).astype(np.uint8)
    height, width = plane.shape[0] * spacing[0], plane.shape[1] * spacing[1]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(grey).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    large = np.asarray(Image.fromarray(inside).resize(size, Image.Resampling.NEAREST))
    edge = large & ~binary_erosion(large, iterations=2)
    picture.paste(_OUTLINE, mask=Image.fromarray(edge))
    return picture


def _caption(picture: Image.Image, lines: tuple[str, ...]) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for number, line in enumerate(lines):
        draw.text((8, 6 + 20 * number), line, fill=_TEXT, font=font, stroke_width=2, stroke_fill=(0, 0, 0))


def _words(finding: Finding, number: int, findings: Findings) -> tuple[str, ...]:
    size = (
        f", {finding.volume_mm3:.0f} mm3, {finding.diameter_mm:.0f} mm"
        if findings.geometry.unit == "mm"
        else ""
    )
    lines = (f"Finding {finding.rank}{size}, slice {number + 1}", finding.where, _STATEMENT)
    return tuple(line for line in lines if line)


def _capture(
    picture: UInt8[np.ndarray, "rows columns 3"],
    sources: Sources,
    number: int,
    about: dict[str, Any],
) -> Dataset:
    source, frame = sources.of_slice(number)
    told = {key: value for key, value in about.items() if key not in _EQUIPMENT}
    made: Dataset = highdicom.sc.SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=_orientation(sources, number),
        **told,
    )
    made.ManufacturerModelName = about["manufacturer_model_name"]
    made.SoftwareVersions = about["software_versions"]
    made.DeviceSerialNumber = about["device_serial_number"]
    made.SeriesDescription = "napari-anomaly key images (research)"
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.DerivationDescription = "Slice with the outline of a finding"
    # The words in the image name no one; what was burnt into the source stays in it.
    made.BurnedInAnnotation = "YES" if source.get("BurnedInAnnotation") == "YES" else "NO"
    fill_laterality(made)
    made.SourceImageSequence = [_reference(source, frame)]
    return made


def _orientation(sources: Sources, number: int) -> tuple[str, str]:
    """Say towards where rows and columns run, in one letter each."""
    frame = sources.frames[number]
    return _letter(frame.across), _letter(frame.down)


def _letter(vector: Num[np.ndarray, "3"]) -> str:
    axis = int(np.abs(vector).argmax())
    return ("LR", "PA", "HF")[axis][int(vector[axis] < 0)]


def _reference(source: Dataset, frame: int | None) -> Dataset:
    reference, purpose = Dataset(), Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodeMeaning = code.value, code.meaning
    purpose.CodingSchemeDesignator = code.scheme_designator
    reference.PurposeOfReferenceCodeSequence = [purpose]
    return reference
