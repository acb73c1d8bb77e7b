"""Everything that goes back to the archive: segmentation, map, report and key images of one scan."""

from collections.abc import Mapping

from pydicom import Dataset

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.export import Mask, to_mask
from napari_anomaly.findings import Findings
from napari_anomaly.io.dicom_map import parametric_map
from napari_anomaly.io.dicom_pictures import key_images
from napari_anomaly.io.dicom_report import report
from napari_anomaly.io.dicom_seg import segmentation
from napari_anomaly.io.dicom_sources import save, sources_of
from napari_anomaly.review import Review
from napari_anomaly.scan import Scan

__all__ = ["everything", "save", "segmentation_alone", "segmentation_and_report"]


def everything(
    findings: Findings,
    anomaly_map: AnomalyMap,
    scan: Scan,
    *,
    mask: Mask | None = None,
    review: Review | None = None,
) -> Mapping[str, Dataset]:
    """Make all DICOM objects of one scan, which refer to one another and to the source images.

    Parameters
    ----------
    findings
        What was found.
    anomaly_map
        On the grid of the scan.
    scan
        Read from DICOM.
    mask
        What the segmentation holds; all findings but those judged false, if left out.
    review
        Verdicts, notes and corrections.

    Returns
    -------
    mapping
        Objects by the ending of their file's name.

    Raises
    ------
    ScanError
        If the source files lack what a result must refer to, or are no longer there.
    """
    sources = sources_of(scan)
    mask = to_mask(findings, review) if mask is None else mask
    seg = segmentation(mask, findings, anomaly_map, scan, sources=sources)
    pictures = key_images(findings, anomaly_map, scan, review=review, sources=sources)
    return {
        "mask.seg.dcm": seg,
        "anomaly.pm.dcm": parametric_map(anomaly_map, scan, sources=sources),
        "report.sr.dcm": report(findings, anomaly_map, scan, seg, review=review, sources=sources),
        **{f"key{number}.sc.dcm": picture for number, picture in enumerate(pictures, start=1)},
    }


def segmentation_and_report(
    findings: Findings, anomaly_map: AnomalyMap, scan: Scan, *, review: Review | None = None
) -> Mapping[str, Dataset]:
    """Make what every archive files and shows: segmentation and report, without map and key images.

    See `everything`.
    """
    sources = sources_of(scan)
    seg = segmentation(to_mask(findings, review), findings, anomaly_map, scan, sources=sources)
    told = report(findings, anomaly_map, scan, seg, review=review, sources=sources)
    return {"mask.seg.dcm": seg, "report.sr.dcm": told}


def segmentation_alone(
    findings: Findings, anomaly_map: AnomalyMap, scan: Scan, *, mask: Mask
) -> Mapping[str, Dataset]:
    """Make the segmentation of one scan, and nothing else; see `everything`."""
    return {"mask.seg.dcm": segmentation(mask, findings, anomaly_map, scan)}
