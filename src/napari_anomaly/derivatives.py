"""A reading in the layout of BIDS derivatives, where other programs look for masks and tables.

One data set for all scans that are read: ``sub-01/ses-02/anat/sub-01_ses-02_space-orig_desc-...``. Names follow
BIDS 1.9 (https://bids-specification.readthedocs.io, "Derivatives"); a scan that has no name of BIDS gets one
made from its own.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_anomaly.export import LABELS, MaskChoice, to_mask
from napari_anomaly.io.atomic import together
from napari_anomaly.io.formats import source_files, write_staged
from napari_anomaly.report import STATEMENT, Reading, reading_csv, reading_json, report_html

__all__ = ["BidsName", "bids_name", "write_derivatives"]

_BIDS_VERSION = "1.9.0"
_PART = re.compile(r"^[a-zA-Z0-9]+-[a-zA-Z0-9+]+$")
_MASKS: tuple[tuple[MaskChoice, str, str, str], ...] = (
    ("all", "anomaly", "mask", "everything but what the reader judged false positive"),
    ("confirmed", "confirmed", "mask", "what the reader judged real"),
    ("verdicts", "verdicts", "dseg", "a value for each verdict"),
)


@dataclass(frozen=True, slots=True)
class BidsName:
    """The name of a scan as BIDS has it.

    Parameters
    ----------
    entities
        ``sub-01``, ``ses-02``, ... in their order.
    suffix
        ``FLAIR``, ``T1w``, ...; may be empty.
    """

    entities: tuple[str, ...]
    suffix: str

    @property
    def folder(self) -> Path:
        """Where its files lie below the data set."""
        session = (one for one in self.entities if one.startswith("ses-"))
        return Path(self.entities[0], *session, "anat")

    def file(self, desc: str, ending: str, *, gridded: bool = False) -> str:
        """Give the name of a file: with the suffix in its description, so that two contrasts do not collide."""
        space = ("space-orig",) if gridded else ()
        return "_".join((*self.entities, *space, f"desc-{self.suffix}{desc}", ending))


def bids_name(name: str) -> BidsName:
    """Read the name of a scan as BIDS, or make one: ``my scan`` becomes ``sub-myscan``."""
    first, *rest = name.split("_")
    if first.startswith("sub-") and _PART.match(first):
        entities = [first, *(part for part in rest if _PART.match(part) and not part.startswith("desc-"))]
        suffix = re.sub(r"[^a-zA-Z0-9]", "", rest[-1]) if rest and not _PART.match(rest[-1]) else ""
        return BidsName(tuple(entities), suffix)
    return BidsName((f"sub-{re.sub(r'[^a-zA-Z0-9]', '', name) or 'scan'}",), "")


def write_derivatives(reading: Reading, folder: Path) -> list[Path]:
    """Write masks, table, report and everything as JSON, all of it or nothing.

    Parameters
    ----------
    reading
        What was read and said.
    folder
        The data set of derivatives; made if it is not there. Files of other scans in it stay.

    Returns
    -------
    list of Path
        The files of this scan.

    Raises
    ------
    ScanError
        If the disk refuses.
    """
    name = bids_name(reading.scan.name)
    place = folder / name.folder
    texts = dict(_texts(reading, name))
    with together(keep=source_files(reading.scan)) as stage:
        place.mkdir(parents=True, exist_ok=True)
        description = folder / "dataset_description.json"
        if not description.exists():
            stage(description).write_text(_json(_description()), encoding="utf-8")
        paths = []
        for choice, desc, suffix, _ in _MASKS:
            path = place / name.file(desc, f"{suffix}.nii.gz", gridded=True)
            voxels = to_mask(reading.findings, reading.review, choice=choice).voxels
            write_staged(voxels, reading.scan, path, stage(path), kind="mask")
            paths.append(path)
        for file, text in texts.items():
            stage(place / file).write_text(text, encoding="utf-8", newline="")
            paths.append(place / file)
    return paths


def _texts(reading: Reading, name: BidsName) -> list[tuple[str, str]]:
    sidecars = [
        (name.file(desc, f"{suffix}.json", gridded=True), _json(_sidecar(reading, words)))
        for _, desc, suffix, words in _MASKS
    ]
    return [
        *sidecars,
        (name.file("verdicts", "dseg.tsv", gridded=True), _label_table()),
        (name.file("findings", "table.tsv"), _tabbed(reading_csv(reading))),
        (name.file("reading", "table.json"), reading_json(reading)),
        (name.file("findings", "report.html"), report_html(reading)),
    ]


def _sidecar(reading: Reading, words: str) -> dict[str, Any]:
    findings = reading.findings
    return {
        "Description": f"Findings of an anomaly detector: {words}. {STATEMENT}",
        "Type": "Lesion",
        "SpatialReference": "orig",
        "Sources": [f"{reading.scan.name}, SHA-256 of voxels and affine {reading.scan.sha256}"],
        "Detector": f"{reading.anomaly_map.detector}, SHA-256 {reading.anomaly_map.detector_sha256}",
        "Threshold": findings.threshold,
        "SmallestFindingMm3": findings.min_volume_mm3,
        "HysteresisDecades": findings.hysteresis,
        "SnappedToSupervoxels": findings.snapped,
        "Reader": reading.review.reader or "n/a",
    }


def _description() -> dict[str, Any]:
    return {
        "Name": "Findings of an anomaly detector, as they were read",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "napari-anomaly", "Description": STATEMENT}],
    }


def _label_table() -> str:
    names = {
        verdict: "not judged" if verdict is None else verdict.value.replace("_", " ") for verdict in LABELS
    }
    lines = [f"{value}\t{names[verdict]}" for verdict, value in LABELS.items()]
    return "\n".join(["index\tname", *lines]) + "\n"


def _tabbed(text: str) -> str:
    """Turn CSV into the tables of BIDS: tabs, and n/a for what is not known."""
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
    for line in csv.reader(io.StringIO(text)):
        table.writerow([" ".join(cell.split()) or "n/a" for cell in line])
    return out.getvalue()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
