"""What leaves the building: the mask, and the table of findings."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8

from napari_anomaly.findings import Finding, Findings
from napari_anomaly.geometry import Geometry
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Source

__all__ = ["COLUMNS", "LABELS", "REVIEW_COLUMNS", "Mask", "MaskChoice", "findings_rows", "to_mask"]

MaskChoice: TypeAlias = Literal["all", "confirmed", "verdicts"]
"""Which findings a mask holds: see `to_mask`."""

LABELS: Mapping[Verdict | None, int] = MappingProxyType(
    {Verdict.REAL: 1, Verdict.UNSURE: 2, Verdict.FALSE_POSITIVE: 3, None: 4}
)
"""Values of a mask by verdict; 4 stands for what nobody has judged."""

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
    "stability",
    "where",
)
"""Columns of the table of findings, in their order."""

REVIEW_COLUMNS = ("verdict", "reason", "note", "judged")
"""Columns that a review adds: verdict, reason, note, and the time of the verdict in UTC."""


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


def to_mask(findings: Findings, review: Review | None = None, *, choice: MaskChoice = "all") -> Mask:
    """Turn findings, and what the reader said of them, into a mask.

    Parameters
    ----------
    findings
        What was found.
    review
        Where given, findings that are judged false positive leave the mask, and painted corrections enter it.
    choice
        ``"all"``: 1 for everything but false positives. ``"confirmed"``: 1 for what was judged real, and
        nothing else; corrections of other findings stay behind. ``"verdicts"``: everything, with the values
        `LABELS`.

    Returns
    -------
    Mask
        All findings without a review.
    """
    values = np.zeros(len(findings) + 1, dtype=np.uint8)
    for finding in findings:
        values[finding.rank] = _value(review.verdict(finding.id) if review is not None else None, choice)
    voxels = values[findings.labels]
    edits = review.edits(findings.geometry.shape) if review is not None else None
    if edits is not None:
        if choice != "confirmed":
            voxels[(edits.strokes > 0) & (findings.labels == 0)] = _value(None, choice)
        voxels[edits.strokes < 0] = 0
    return Mask(voxels, findings.geometry)


def _value(verdict: Verdict | None, choice: MaskChoice) -> int:
    if choice == "verdicts":
        return LABELS[verdict]
    return int(verdict is Verdict.REAL if choice == "confirmed" else verdict is not Verdict.FALSE_POSITIVE)


def findings_rows(findings: Findings, source: Source, review: Review | None = None) -> list[dict[str, Any]]:
    """Make the table of findings: one dictionary per finding, worst first, with the keys `COLUMNS`.

    Parameters
    ----------
    findings
        What was found.
    source
        Where the scan came from: ``_i``, ``_j``, ``_k`` are voxels of that file, counted from 0 along its own
        axes (NIfTI: as nibabel indexes; TIFF: plane, row, column).
    review
        Where given, the keys `REVIEW_COLUMNS` follow.

    Returns
    -------
    list of dict
        Millimetres are RAS+. Where the size of a voxel is not known, everything in mm is None.
    """
    known = findings.geometry.unit == "mm"
    rows = [_row(finding, source, known=known) for finding in findings]
    if review is not None:
        rows = [row | _said(review, finding.id) for row, finding in zip(rows, findings, strict=True)]
    return rows


def _said(review: Review, finding_id: int) -> dict[str, Any]:
    judgement = review.verdicts.get(finding_id)
    if judgement is None:
        return dict.fromkeys(REVIEW_COLUMNS, "")
    verdict = judgement.verdict.value if judgement.verdict is not None else ""
    when = judgement.when.isoformat(timespec="seconds") if verdict else ""
    said = (verdict, judgement.reason, judgement.note, when)
    return dict(zip(REVIEW_COLUMNS, said, strict=True))


def _row(finding: Finding, source: Source, *, known: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rank": finding.rank,
        "id": finding.id,
        "volume_mm3": finding.volume_mm3 if known else None,
        "peak": finding.peak,
        "mean": finding.mean,
        "voxels": finding.voxels,
        "diameter_mm": finding.diameter_mm if known else None,
        "stability": finding.stability,
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
