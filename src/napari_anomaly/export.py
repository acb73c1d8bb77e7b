"""What leaves the building: the mask, and the table of findings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from napari_anomaly.findings import Finding, Findings
from napari_anomaly.geometry import Geometry
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Source

__all__ = ["COLUMNS", "Mask", "findings_rows", "to_mask"]

COLUMNS = (
    "rank",
    "id",
    "volume_mm3",
    "peak",
    "mean",
    "voxels",
    "diameter_mm",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "peak_x_mm",
    "peak_y_mm",
    "peak_z_mm",
    "centroid_i",
    "centroid_j",
    "centroid_k",
    "peak_i",
    "peak_j",
    "peak_k",
    "where",
)
"""Columns of the table of findings, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Voxels that leave the building.

    Parameters
    ----------
    voxels
        1 inside, 0 outside.
    geometry
        The scan's own.
    """

    voxels: UInt8[np.ndarray, "z y x"]
    geometry: Geometry


def to_mask(findings: Findings, review: Review | None = None) -> Mask:
    """Turn findings, and what the reader said of them, into a mask.

    Parameters
    ----------
    findings
        What was found.
    review
        Where given, findings that are judged false positive leave the mask, and painted corrections enter it.

    Returns
    -------
    Mask
        All findings without a review.
    """
    if review is None:
        return Mask(findings.mask, findings.geometry)
    keep = np.ones(len(findings) + 1, dtype=np.uint8)
    keep[0] = 0
    for finding in findings:
        if review.verdict(finding.id) is Verdict.FALSE_POSITIVE:
            keep[finding.rank] = 0
    voxels = keep[findings.labels]
    edits = review.edits(findings.geometry.shape)
    if edits is not None:
        voxels[(edits.strokes > 0) & (findings.labels == 0)] = 1
        voxels[edits.strokes < 0] = 0
    return Mask(voxels, findings.geometry)


def findings_rows(findings: Findings, source: Source) -> list[dict[str, Any]]:
    """Make the table of findings: one dictionary per finding, worst first, with the keys `COLUMNS`.

    Parameters
    ----------
    findings
        What was found.
    source
        Where the scan came from: ``_i``, ``_j``, ``_k`` are voxels of that file, counted from 0 along its own
        axes (NIfTI: as nibabel indexes; TIFF: plane, row, column).

    Returns
    -------
    list of dict
        Millimetres are RAS+. Where the size of a voxel is not known, everything in mm is None.
    """
    return [_row(finding, source, known=findings.geometry.unit == "mm") for finding in findings]


def _row(finding: Finding, source: Source, *, known: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rank": finding.rank,
        "id": finding.id,
        "volume_mm3": finding.volume_mm3 if known else None,
        "peak": finding.peak,
        "mean": finding.mean,
        "voxels": finding.voxels,
        "diameter_mm": finding.diameter_mm if known else None,
        "where": finding.where,
    }
    places = {
        "centroid": (finding.centroid_mm, source.index_to_file(np.array(finding.centroid_index))),
        "peak": (finding.peak_mm, source.index_to_file(np.array(finding.peak_index))),
    }
    for name, (mm, voxel) in places.items():
        values |= {
            f"{name}_{axis}_mm": value if known else None for axis, value in zip("xyz", mm, strict=True)
        }
        values |= {f"{name}_{axis}": value for axis, value in zip("ijk", voxel.tolist(), strict=True)}
    return {column: values[column] for column in COLUMNS}
