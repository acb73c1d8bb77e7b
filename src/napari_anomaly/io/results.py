"""A case on disk: the files that a detection leaves beside each other."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.errors import GridMismatch, ScanError
from napari_anomaly.export import COLUMNS, Mask, findings_rows, to_mask
from napari_anomaly.findings import Findings
from napari_anomaly.geometry import Geometry
from napari_anomaly.io.atomic import together
from napari_anomaly.io.formats import extra_module, source_files, write_staged
from napari_anomaly.io.pseudonyms import Pseudonyms
from napari_anomaly.review import Review
from napari_anomaly.scan import Scan

__all__ = ["PRODUCT", "findings_csv", "save_case", "save_dicom"]

PRODUCT = "napari-anomaly"
"""What a manifest of ours says under ``"product"``."""

_DICOM = ("mask.seg.dcm", "anomaly.pm.dcm", "report.sr.dcm", "key[0-9]*.sc.dcm")


def save_case(
    folder: str | Path,
    scan: Scan,
    detection_map: AnomalyMap,
    supervoxels: Supervoxels,
    findings: Findings,
    manifest: Mapping[str, Any],
    *,
    review: Review | None = None,
    second_opinion: Float32[np.ndarray, "_ _ _"] | None = None,
    dicom: bool = False,
    pseudonyms: Pseudonyms | None = None,
) -> list[Path]:
    """Write the results of one scan into a folder: all of them, or none.

    ``<name>_anomaly`` (float32), ``<name>_mask`` (uint8) and ``<name>_proxy`` (float32) on the grid of the
    scan's file, as ``.nii.gz``, or as ``.tif`` if the scan was a TIFF, and ``<name>_residual`` (float32) where
    there is a second opinion; ``<name>_findings.csv`` and ``<name>_manifest.json``; of a scan from DICOM
    ``<name>_mask.seg.dcm``, too, and what `save_dicom` writes where `dicom` asks for it.

    Parameters
    ----------
    folder
        Made if it is not there.
    scan, detection_map, supervoxels, findings
        What was found, and in what.
    manifest
        What JSON can hold; ``"product"`` is added.
    review
        Where given, it decides what the mask holds.
    second_opinion
        Share of normal voxels with a lower residual, 0 to 1, on the grid of the scan.
    dicom
        Whether a scan from DICOM gets its map, report and key images as DICOM, too.
    pseudonyms
        What stands in DICOM files in place of the patient; they carry the patient's identity if left out.

    Returns
    -------
    list of Path
        The files, in the order above.

    Raises
    ------
    GridMismatch
        If map, supervoxels or findings do not lie on the grid of the scan.
    ScanError
        If a file of that name is there that an earlier detection did not write, or the disk refuses; or, when
        all else was written, if the DICOM files cannot be made.
    """
    folder = Path(folder)
    _check_grids(scan, detection_map.geometry, supervoxels.geometry, findings.geometry)
    suffix = ".tif" if scan.source.format == "tiff" else ".nii.gz"
    mask = to_mask(findings, review)
    images = {
        "anomaly": (detection_map.score, "map"),
        "mask": (mask.voxels, "mask"),
        "proxy": (supervoxels.image, "image"),
    }
    if second_opinion is not None:
        images["residual"] = (second_opinion, "map")
    texts = {
        "findings.csv": findings_csv(findings, scan),
        "manifest.json": json.dumps({"product": PRODUCT, **manifest}, indent=1, allow_nan=False) + "\n",
    }
    residual = folder / f"{scan.name}_residual{suffix}"
    sent, failure = _sent(
        mask, findings, detection_map, scan, review=review, whole=dicom, pseudonyms=pseudonyms
    )
    made = _make(folder)
    try:
        endings = [f"{what}{suffix}" for what in (*images, "residual")] + [*texts, *sent, *_DICOM[:1]]
        _check_free(folder, scan.name, endings)
        stale = _stale(folder, scan.name, sent)
        with together(keep=source_files(scan)) as stage:
            paths = []
            for what, (array, kind) in images.items():
                paths.append(folder / f"{scan.name}_{what}{suffix}")
                write_staged(array, scan, paths[-1], stage(paths[-1]), kind=kind)  # type: ignore[arg-type]
            for what, text in texts.items():
                paths.append(folder / f"{scan.name}_{what}")
                stage(paths[-1]).write_text(text, encoding="utf-8", newline="")
            paths += _stage_dicom(sent, folder, scan, stage)
    except BaseException:
        for empty in made:
            empty.rmdir()
        raise
    for path in stale if second_opinion is not None else [*stale, residual]:
        path.unlink(missing_ok=True)
    if failure is not None:
        raise ScanError(f"{failure} All other results were written to {folder}.") from failure
    return paths


def save_dicom(
    folder: str | Path,
    scan: Scan,
    detection_map: AnomalyMap,
    findings: Findings,
    *,
    review: Review | None = None,
    whole: bool = True,
    pseudonyms: Pseudonyms | None = None,
) -> list[Path]:
    """Write what goes back to the archive into a folder: all of it, or nothing.

    ``<name>_mask.seg.dcm`` (segmentation), ``<name>_anomaly.pm.dcm`` (parametric map), ``<name>_report.sr.dcm``
    (measurement report with the verdicts) and ``<name>_key1.sc.dcm``... (key images).

    Parameters
    ----------
    folder
        Made if it is not there.
    scan
        Read from DICOM.
    detection_map, findings
        What was found.
    review
        What the reader said.
    whole
        Whether map and key images are among it, or segmentation and report alone.
    pseudonyms
        What stands in place of the patient; then the reader's name and free words are left out, too.

    Returns
    -------
    list of Path
        The files, in the order above.

    Raises
    ------
    GridMismatch
        If map or findings do not lie on the grid of the scan.
    ScanError
        If the scan is not from DICOM, or its files lack what a result must refer to; or the disk refuses.
    """
    folder = Path(folder)
    _check_grids(scan, detection_map.geometry, findings.geometry)
    if not scan.source.details.get("referable"):
        raise ScanError(
            f"{scan.name} was not read from DICOM files that a DICOM result can refer to. Export the mask and the "
            "map as NIfTI or TIFF, or open the series itself."
        )
    module = extra_module("dicom_out")
    make = module.everything if whole else module.segmentation_and_report
    made = make(findings, detection_map, scan, review=_words_of(review, pseudonyms))
    made = _pseudonymised(made, pseudonyms)
    _make(folder)
    stale = _stale(folder, scan.name, made)
    with together(keep=source_files(scan)) as stage:
        paths = _stage_dicom(made, folder, scan, stage)
    for path in stale:
        path.unlink(missing_ok=True)
    return paths


def _sent(
    mask: Mask,
    findings: Findings,
    detection_map: AnomalyMap,
    scan: Scan,
    *,
    review: Review | None,
    whole: bool,
    pseudonyms: Pseudonyms | None,
) -> tuple[Mapping[str, Any], ScanError | None]:
    """Make the DICOM objects of a scan from DICOM, by the endings of their names, or say why there are none."""
    if not scan.source.details.get("referable"):
        return {}, None
    module = extra_module("dicom_out")
    told = _words_of(review, pseudonyms)
    try:
        if whole:
            made = module.everything(findings, detection_map, scan, mask=mask, review=told)
        else:
            made = module.segmentation_alone(findings, detection_map, scan, mask=mask)
        return _pseudonymised(made, pseudonyms), None
    except ScanError as error:
        return {}, error


def _words_of(review: Review | None, pseudonyms: Pseudonyms | None) -> Review | None:
    return review if review is None or pseudonyms is None else review.without_words()


def _pseudonymised(made: Mapping[str, Any], pseudonyms: Pseudonyms | None) -> Mapping[str, Any]:
    if pseudonyms is None:
        return made
    found: Mapping[str, Any] = extra_module("dicom_identity").without_identity(made, pseudonyms)
    return found


def _stage_dicom(
    made: Mapping[str, Any], folder: Path, scan: Scan, stage: Callable[[Path], Path]
) -> list[Path]:
    paths = [folder / f"{scan.name}_{ending}" for ending in made]
    for path, each in zip(paths, made.values(), strict=True):
        extra_module("dicom_out").save(each, stage(path))
    return paths


def _stale(folder: Path, name: str, made: Mapping[str, Any]) -> list[Path]:
    """Find DICOM results of an earlier detection that would contradict the new ones."""
    new = {f"{name}_{ending}" for ending in made}
    there = [path for ending in _DICOM for path in folder.glob(f"{escape(name)}_{ending}")]
    return [path for path in there if path.name not in new]


def findings_csv(findings: Findings, scan: Scan) -> str:
    """Write the table of findings as CSV text, with the columns `napari_anomaly.export.COLUMNS`.

    Parameters
    ----------
    findings
        What was found.
    scan
        Whose file the voxel columns count in.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    for row in findings_rows(findings, scan.source):
        table.writerow(
            {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        )
    return text.getvalue()


def _check_grids(scan: Scan, *others: Geometry) -> None:
    for other in others:
        if not scan.geometry.same_grid(other):
            raise GridMismatch(
                f"A result lies on another grid {other.shape} than {scan.name} {scan.geometry.shape}. "
                "Run the detector again on this scan."
            )


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; give the new ones, deepest first."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScanError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another one."
        ) from error
    return new


def _check_free(folder: Path, name: str, endings: list[str]) -> None:
    """Refuse to replace files that only look like ours: a rater's ``x_mask.nii.gz`` is not to be lost."""
    there = [ending for ending in endings if (folder / f"{name}_{ending}").exists()]
    if there and not _ours(folder / f"{name}_manifest.json"):
        raise ScanError(
            f"{folder / f'{name}_{there[0]}'} is there already and was not written by {PRODUCT}. "
            "Choose another folder for the results, or move that file away."
        )


def _ours(manifest: Path) -> bool:
    try:
        written = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and written.get("product") == PRODUCT
