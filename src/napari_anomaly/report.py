"""What a reading leaves: a report to look at, and the same as a table and as JSON.

The report is one HTML file that needs nothing else: it opens in every browser, prints, and can be mailed. It
holds pictures of the scan, and so it must be guarded like the scan itself; no name, date of birth or other
field of a patient is read for it.
"""

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8
from jinja2 import Environment, StrictUndefined, select_autoescape
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.export import COLUMNS, REVIEW_COLUMNS, findings_rows, to_mask
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.io.atomic import together
from napari_anomaly.io.formats import source_files
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan

__all__ = [
    "STATEMENT",
    "Reading",
    "key_images",
    "print_html",
    "reading_csv",
    "reading_json",
    "report_html",
    "write_text",
]

STATEMENT = (
    "Research software, not a medical device. The findings were proposed by a program that misses lesions and "
    "marks healthy tissue; this page is no diagnosis."
)
MOST_PICTURED = 40
"""Findings with pictures; those after them, which are less unusual, stand in the table alone."""

_SIDE = 230
_TEXT = (225, 225, 225)
_COLOURS: Mapping[Verdict | None, tuple[int, int, int]] = {
    Verdict.REAL: (86, 180, 233),
    Verdict.UNSURE: (230, 159, 0),
    Verdict.FALSE_POSITIVE: (154, 154, 154),
    None: (240, 228, 66),
}
_WORDS: Mapping[Verdict | None, str] = {
    Verdict.REAL: "real",
    Verdict.UNSURE: "unsure",
    Verdict.FALSE_POSITIVE: "false positive",
    None: "not judged",
}


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One scan as it was read.

    Parameters
    ----------
    scan, anomaly_map, findings
        What was read.
    review
        What was said.
    window
        Intensities shown as black and as white.
    window_name
        What the reader calls that window; may be empty.
    """

    scan: Scan
    anomaly_map: AnomalyMap
    findings: Findings
    review: Review
    window: tuple[float, float]
    window_name: str = ""


def reading_csv(reading: Reading) -> str:
    """Write the findings and what was said of them as CSV: `COLUMNS`, then `REVIEW_COLUMNS`."""
    text = io.StringIO()
    table = csv.DictWriter(text, (*COLUMNS, *REVIEW_COLUMNS))
    table.writeheader()
    table.writerows(_rounded(row) for row in _rows(reading))
    return text.getvalue()


def reading_json(reading: Reading) -> str:
    """Write scan, detector, settings, findings and the whole review as JSON."""
    anomaly_map, scan = reading.anomaly_map, reading.scan
    content = {
        "product": "napari-anomaly reading",
        "schema_version": 1,
        "software": _version(),
        "statement": STATEMENT,
        "scan": {
            "name": scan.name,
            "sha256": scan.sha256,
            "modality": scan.modality,
            "shape": scan.geometry.shape,
            "spacing": scan.geometry.spacing,
            "unit": scan.geometry.unit,
        },
        "scan_score": anomaly_map.scan_score,
        "detector": {"name": anomaly_map.detector, "sha256": anomaly_map.detector_sha256},
        "settings": {
            "threshold": reading.findings.threshold,
            "min_volume_mm3": reading.findings.min_volume_mm3,
            "hysteresis": reading.findings.hysteresis,
            "snap": reading.findings.snapped,
        },
        "findings": [_rounded(row) for row in _rows(reading)],
        "review": json.loads(reading.review.to_json()),
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def report_html(reading: Reading, *, made: datetime | None = None) -> str:
    """Write the report of a reading as one HTML page.

    Parameters
    ----------
    reading
        What was read and said.
    made
        Time of the report, in UTC; now if left out.
    """
    return _page("report.html.j2", reading, made)


def print_html(reading: Reading, *, made: datetime | None = None) -> str:
    """Write the report for a printer that knows tables, but no style sheets: see `report_html`."""
    return _page("report_print.html.j2", reading, made)


def _page(template: str, reading: Reading, made: datetime | None) -> str:
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = resources.files("napari_anomaly").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        statement=STATEMENT,
        title=reading.scan.name,
        facts=list(_facts(reading, made or datetime.now(UTC))),
        rows=_table(reading),
        cards=list(_cards(reading)),
        unpictured=max(0, len(reading.findings) - MOST_PICTURED),
        known=reading.scan.geometry.unit == "mm",
        software=_version(),
    )


def write_text(text: str | bytes, scan: Scan, path: Path) -> Path:
    """Write a file whole or not at all, never over the scan, and give back its path.

    Parameters
    ----------
    text
        What it holds: words, written as UTF-8, or a document that is no text, such as a PDF.
    scan
        Whose file must stay.
    path
        Where to.

    Raises
    ------
    ScanError
        If the disk refuses, or the path is the scan's.
    """
    with together(keep=source_files(scan)) as stage:
        stage(path).write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def key_images(reading: Reading, finding: Finding) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Draw a finding on the axial, coronal and sagittal slice through its peak, outlined by its verdict.

    Head or front is up, the patient's right is on the left; the sagittal slice has the front on the left.
    """
    colour = _COLOURS[reading.review.verdict(finding.id)]
    scan, peak = reading.scan, finding.peak_index
    mine = _Region(reading.findings.labels, finding)
    pictures = []
    for axis, letters in ((0, "RA"), (1, "RS"), (2, "AS")):
        plane = np.take(scan.voxels, peak[axis], axis=axis)
        inside = mine.plane(axis, peak[axis])
        if axis != 0:
            plane, inside = plane[::-1], inside[::-1]
        spacing = [step for other, step in enumerate(scan.geometry.spacing) if other != axis]
        pictures.append(_picture(plane, inside, spacing, reading.window, colour, letters))
    return pictures[0], pictures[1], pictures[2]


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    labels: np.ndarray
    finding: Finding

    def plane(self, axis: int, place: int) -> Bool[np.ndarray, "rows columns"]:
        inside: Bool[np.ndarray, "rows columns"] = np.take(self.labels, place, axis=axis) == self.finding.rank
        return inside


def _picture(
    plane: Num[np.ndarray, "rows columns"],
    inside: Bool[np.ndarray, "rows columns"],
    spacing: Sequence[float],
    window: tuple[float, float],
    colour: tuple[int, int, int],
    letters: str,
) -> Image.Image:
    rows, columns = (n * step for n, step in zip(plane.shape, spacing, strict=True))
    scale = _SIDE / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    grey = Image.fromarray(_grey(plane, window)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    large = np.asarray(Image.fromarray(inside).resize(size, Image.Resampling.NEAREST))
    grey.paste(colour, mask=Image.fromarray(large & ~binary_erosion(large)))
    picture = Image.new("RGB", (_SIDE, _SIDE))
    picture.paste(grey, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((4, _SIDE // 2 - 8), letters[0], fill=_TEXT, font=font)
    draw.text((_SIDE // 2 - 4, 2), letters[1], fill=_TEXT, font=font)
    return picture


def _grey(
    plane: Num[np.ndarray, "rows columns"], window: tuple[float, float]
) -> UInt8[np.ndarray, "rows columns"]:
    low, high = window
    share = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-9), 0.0, 1.0)
    return np.asarray(np.nan_to_num(share * 255)).astype(np.uint8)


def _rows(reading: Reading) -> list[dict[str, Any]]:
    return findings_rows(reading.findings, reading.scan.source, reading.review)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}


def _facts(reading: Reading, made: datetime) -> Iterator[tuple[str, str]]:
    """Give what stands at the head of the report: name and value."""
    scan, found, findings = reading.scan, reading.anomaly_map, reading.findings
    geometry, (low, high) = scan.geometry, reading.window
    shape = " x ".join(str(n) for n in geometry.shape)
    spacing = " x ".join(f"{step:.3g}" for step in geometry.spacing)
    yield "Scan", f"{scan.name}{', ' + scan.modality if scan.modality else ''}"
    yield (
        "Grid (z, y, x)",
        f"{shape} voxels" + (f" of {spacing} mm" if geometry.unit == "mm" else ", size unknown"),
    )
    yield "Fingerprint of the scan", scan.sha256[:16]
    yield "Window", f"{low:.4g} to {high:.4g}" + (f" ({reading.window_name})" if reading.window_name else "")
    yield "Detector", f"{found.detector}, fingerprint {found.detector_sha256[:16]}"
    smallest = f"{findings.min_volume_mm3:.0f} {'mm³' if geometry.unit == 'mm' else 'voxels'}"
    extended = f", extended by {findings.hysteresis:.2g} decades" if findings.hysteresis else ""
    snapped = ", snapped to superpixels" if findings.snapped else ""
    yield "Settings", f"threshold {findings.threshold:.5g}{extended}, smallest finding {smallest}{snapped}"
    if found.false_findings is not None:
        expected = found.false_findings.expected(findings.threshold, findings.min_volume_mm3)
        yield "To expect", f"{expected:.1f} false findings per normal scan at these settings"
    yield "Whole scan", f"more unusual than {int(100 * found.scan_score + 1e-6)} of 100 normal scans"
    yield "Findings", _summary(reading)
    yield "Reader", reading.review.reader or "not named"
    yield "Made", made.strftime("%Y-%m-%d %H:%M UTC")


def _summary(reading: Reading) -> str:
    counts = dict.fromkeys(_WORDS, 0)
    for finding in reading.findings:
        counts[reading.review.verdict(finding.id)] += 1
    parts = ", ".join(f"{count} {_WORDS[verdict]}" for verdict, count in counts.items() if count)
    voxels = int(np.count_nonzero(to_mask(reading.findings, reading.review).voxels))
    size = f"{voxels} voxels"
    if reading.scan.geometry.unit == "mm":
        size = f"{voxels * reading.scan.geometry.voxel_volume / 1000:.1f} ml"
    painted = "; corrected by hand" if reading.review.strokes else ""
    return f"{len(reading.findings)} ({parts or 'none'}); mask without false positives {size}{painted}"


def _table(reading: Reading) -> list[dict[str, Any]]:
    review = reading.review
    return [
        {
            "rank": finding.rank,
            "peak": f"{finding.peak:.5f}",
            "mean": f"{finding.mean:.4f}",
            "again": "" if finding.stability is None else f"{finding.stability:.0%}",
            "volume": f"{finding.volume_mm3:.0f}",
            "diameter": f"{finding.diameter_mm:.0f}",
            "place": _place(reading, finding),
            "verdict": _WORDS[review.verdict(finding.id)],
            "reason": review.reason(finding.id),
            "note": review.note(finding.id),
        }
        for finding in reading.findings
    ]


def _place(reading: Reading, finding: Finding) -> str:
    if reading.scan.geometry.unit == "mm":
        pairs = zip(("RL", "AP", "SI"), finding.peak_mm, strict=True)
        # RAS+: the first letter of a pair is where the millimetres grow.
        return " ".join(f"{pair[0] if mm >= 0 else pair[1]}{abs(mm):.0f}" for pair, mm in pairs)
    return "voxel " + " ".join(str(i) for i in finding.peak_index)


def _cards(reading: Reading) -> Iterator[dict[str, Any]]:
    for row, finding in zip(_table(reading), reading.findings.items[:MOST_PICTURED], strict=False):
        colour = "#{:02x}{:02x}{:02x}".format(*_COLOURS[reading.review.verdict(finding.id)])
        pictures = zip(("axial", "coronal", "sagittal"), key_images(reading, finding), strict=True)
        yield row | {"colour": colour, "pictures": [(name, _encoded(one)) for name, one in pictures]}


def _encoded(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _version() -> str:
    try:
        return f"napari-anomaly {metadata.version('napari-anomaly')}"
    except metadata.PackageNotFoundError:
        return "napari-anomaly"
