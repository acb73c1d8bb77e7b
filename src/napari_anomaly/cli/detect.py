"""``napari-anomaly detect``: scans in; map, mask, proxy, table and manifest out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_anomaly import io, samples
from napari_anomaly.cli.batch import Names, each, once
from napari_anomaly.cli.detecting import Detecting, add_detecting
from napari_anomaly.cli.flags import numbers
from napari_anomaly.cli.pseudonymise import add_pseudonyms, pseudonyms_of
from napari_anomaly.detector.detect import Detection
from napari_anomaly.errors import AnomalyError, ScanError
from napari_anomaly.findings import Findings
from napari_anomaly.manifest import Manifest, refuse_other_scan
from napari_anomaly.scan import Scan
from napari_anomaly.snapshot import snapshot, write_snapshot


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "detect",
        help="find anomalies in scans",
        description="Find anomalies in scans. For each scan NAME the folder gets NAME_anomaly.nii.gz, "
        "NAME_mask.nii.gz, NAME_proxy.nii.gz, NAME_findings.csv and NAME_manifest.json, and NAME_residual.nii.gz with "
        "--second-opinion; TIFF in gives TIFF, DICOM in gives NAME_mask.seg.dcm too.",
    )
    parser.add_argument(
        "scans",
        nargs="*",
        type=Path,
        metavar="SCAN",
        help="NIfTI file, TIFF stack, or DICOM folder, file or .zip",
    )
    parser.add_argument(
        "--sample", action="append", default=[], metavar="NAME", help="a bundled scan; see info"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--volume", type=int, metavar="N", help="which volume of a 4D file, from 0")
    parser.add_argument(
        "--series",
        type=numbers,
        metavar="N[,N]",
        help="which DICOM series of a folder, from 0; all for each of them",
    )
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write map, report and key images as DICOM, too, for a scan from DICOM: NAME_anomaly.pm.dcm, "
        "NAME_report.sr.dcm, NAME_key1.sc.dcm...",
    )
    add_pseudonyms(parser, "write what is DICOM")
    parser.add_argument("--picture", action="store_true", help="draw the worst slices too: NAME_picture.png")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results of another scan of that name"
    )
    add_detecting(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Detect anomalies in all scans and write what was found; return whether all of it was done."""
    inputs = [_Input(name, _Sample(name)) for name in options.sample]
    inputs += [
        _Input(str(path), _File(path, options.volume, series))
        for path in once(options.scans)
        for series in _series(path, options.series)
    ]
    if not inputs:
        raise ScanError("No scan was given. Name one or more files, or a bundled scan with --sample.")
    detecting, names = Detecting.of(options), Names()
    pseudonyms = pseudonyms_of(options.pseudonymise, shift_dates=options.shift_dates)

    def one(case: _Input) -> None:
        scan = case.place.read()
        if options.dicom and scan.source.format != "dicom":
            raise ScanError(
                f"{scan.name} was not read from DICOM: leave --dicom out, or name its DICOM series."
            )
        # Folders of DICOM are often called by the patient's name.
        scan = names.distinct(scan, case.label, str(scan.source.details.get("tag", case.place.folder)))
        if not options.overwrite:
            refuse_other_scan(options.out, scan)
        detection, findings = detecting.run(scan)
        picture = snapshot(scan, detection.map, findings) if options.picture else None
        manifest = Manifest.of(scan, detection, findings).to_dict()
        io.save_case(
            options.out,
            scan,
            detection.map,
            detection.supervoxels,
            findings,
            manifest,
            second_opinion=detection.second_opinion,
            dicom=options.dicom,
            pseudonyms=pseudonyms,
        )
        if picture is not None:
            write_snapshot(picture, options.out / f"{scan.name}_picture.png")
        print(_summary(scan, detection, findings), f"-> {options.out / scan.name}_*", flush=True)

    return each(inputs, one)


def _series(path: Path, wanted: tuple[int, ...] | None) -> tuple[int | None, ...]:
    """Give the series to read in a place: those that are named, each where none is; None leaves the choice open."""
    if wanted is None:
        return (None,)
    try:
        return wanted or tuple(range(len(io.series_in(path)))) or (None,)
    except AnomalyError:
        # Reading says what is wrong with it, after the scans before it; and a file that is no DICOM has one scan.
        return (None,)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    volume: int | None
    series: int | None

    @property
    def folder(self) -> str:
        return self.path.resolve().parent.name

    def read(self) -> Scan:
        scan = io.read_scan(self.path, volume=self.volume, series=self.series)
        chosen = self.volume is not None and io.volumes(self.path, series=self.series) > 1
        return replace(scan, name=f"{scan.name}_volume{self.volume}") if chosen else scan


@dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    folder: str = "sample"

    def read(self) -> Scan:
        return samples.open_sample(self.name)


@dataclass(frozen=True, slots=True)
class _Input:
    label: str
    place: _File | _Sample


def _looks(contrast: str) -> str:
    return "" if contrast in ("", "free") else f" (it looks like {contrast.upper()})"


def _summary(scan: Scan, detection: Detection, findings: Findings) -> str:
    volume = sum(finding.volume_mm3 for finding in findings) / 1000
    lines = [
        f"{scan.name}: {len(findings)} findings, {volume:.1f} ml; more unusual than "
        f"{100 * detection.map.scan_score:.0f} of 100 normal scans{_looks(detection.contrast)}",
        *(f"  {note}" for note in dict.fromkeys((*scan.notes, *detection.notes))),
    ]
    return "\n".join(lines)
