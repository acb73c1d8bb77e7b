"""What a detector made of a scan, in one file: to be read elsewhere, without the detector and at once."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Num
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_anomaly.anatomy import Anatomy
from napari_anomaly.anomaly import AnomalyMap, FalseFindings, Supervoxels
from napari_anomaly.errors import ScanError, StaleReview
from napari_anomaly.io.atomic import together
from napari_anomaly.scan import Scan

__all__ = ["Stored", "load_detection", "save_detection"]

_HEADER = "detection.json"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A detection that was read from a file.

    Parameters
    ----------
    map, supervoxels
        What the detector made.
    notes
        What it said of the run.
    """

    map: AnomalyMap
    supervoxels: Supervoxels
    notes: tuple[str, ...] = ()


class _FalseFindings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: tuple[float, ...]
    volumes_mm3: tuple[float, ...]
    per_scan: tuple[tuple[float, ...], ...]


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    product: Literal["napari-anomaly detection"] = "napari-anomaly detection"
    schema_version: Literal[1] = 1
    scan_sha256: str
    map_sha256: str
    scan_score: float
    detector: str
    detector_sha256: str
    default_threshold: float
    default_min_volume_mm3: float
    hysteresis: float = 0.0
    false_findings: _FalseFindings | None = None
    notes: tuple[str, ...] = ()


def save_detection(
    path: Path, scan: Scan, anomaly_map: AnomalyMap, supervoxels: Supervoxels, notes: tuple[str, ...] = ()
) -> None:
    """Write a detection, whole or not at all.

    Parameters
    ----------
    path
        Ends in ``.zip``: arrays as NumPy writes them, and what they mean as JSON.
    scan, anomaly_map, supervoxels
        What was looked at, and what was made of it.
    notes
        What the detector said of the run.

    Raises
    ------
    ScanError
        If the disk refuses.
    """
    table = anomaly_map.false_findings
    header = _Header(
        scan_sha256=scan.sha256,
        map_sha256=anomaly_map.sha256,
        scan_score=anomaly_map.scan_score,
        detector=anomaly_map.detector,
        detector_sha256=anomaly_map.detector_sha256,
        default_threshold=anomaly_map.default_threshold,
        default_min_volume_mm3=anomaly_map.default_min_volume_mm3,
        hysteresis=anomaly_map.hysteresis,
        false_findings=None
        if table is None
        else _FalseFindings(
            thresholds=table.thresholds, volumes_mm3=table.volumes_mm3, per_scan=table.per_scan
        ),
        notes=notes,
    )
    arrays: dict[str, Num[np.ndarray, "z y x"]] = {
        "score": anomaly_map.score,
        "ids": supervoxels.ids,
        "image": supervoxels.image,
    }
    optional = {"raw": anomaly_map.raw, "least": anomaly_map.least}
    if anomaly_map.anatomy is not None:
        optional |= {"structures": anomaly_map.anatomy.labels, "near": anomaly_map.anatomy.near}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    with (
        together() as stage,
        zipfile.ZipFile(stage(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
    ):
        file.writestr(_HEADER, header.model_dump_json(indent=1))
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def load_detection(path: Path, scan: Scan) -> Stored:
    """Read a detection of a scan.

    Raises
    ------
    ScanError
        If the file cannot be read.
    StaleReview
        If it was made on another scan.
    """
    try:
        with zipfile.ZipFile(path) as file:
            header = _Header.model_validate_json(file.read(_HEADER))
            arrays = {name[:-4]: _array(file, name) for name in file.namelist() if name.endswith(".npy")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ValidationError) as error:
        raise ScanError(
            f"{path} is no detection that this version can read ({type(error).__name__}). Screen the scan again."
        ) from error
    if header.scan_sha256 != scan.sha256:
        raise StaleReview(
            f"{path.name} was made on another scan ({header.scan_sha256[:12]}) than {scan.name} "
            f"({scan.sha256[:12]}). Screen the scan again."
        )
    return _stored(header, arrays, scan)


def _stored(header: _Header, arrays: Mapping[str, np.ndarray], scan: Scan) -> Stored:
    table = header.false_findings
    anomaly_map = AnomalyMap(
        arrays["score"],
        scan.geometry,
        header.scan_score,
        header.detector,
        header.detector_sha256,
        header.default_threshold,
        header.default_min_volume_mm3,
        None if table is None else FalseFindings(table.thresholds, table.volumes_mm3, table.per_scan),
        arrays.get("raw"),
        anatomy=Anatomy(arrays["structures"], arrays["near"], scan.geometry) if "near" in arrays else None,
        hysteresis=header.hysteresis,
        least=arrays.get("least"),
    )
    return Stored(anomaly_map, Supervoxels(arrays["ids"], arrays["image"], scan.geometry), header.notes)


def _array(file: zipfile.ZipFile, name: str) -> Any:
    with file.open(name) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)
