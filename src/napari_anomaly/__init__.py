"""Find what is unusual in a 3D scan: anomaly maps, findings and masks.

The names below load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_anomaly.anomaly import AnomalyMap, FalseFindings, Supervoxels
    from napari_anomaly.errors import AnomalyError
    from napari_anomaly.export import Mask, findings_rows, to_mask
    from napari_anomaly.findings import Finding, Findings, find
    from napari_anomaly.geometry import Geometry
    from napari_anomaly.io import read_scan, save_case, volumes, write_like
    from napari_anomaly.progress import Progress, drain
    from napari_anomaly.review import Review, Verdict
    from napari_anomaly.samples import open_sample
    from napari_anomaly.scan import Scan, Source

__all__ = [
    "AnomalyError",
    "AnomalyMap",
    "FalseFindings",
    "Finding",
    "Findings",
    "Geometry",
    "Mask",
    "Progress",
    "Review",
    "Scan",
    "Source",
    "Supervoxels",
    "Verdict",
    "drain",
    "find",
    "findings_rows",
    "open_sample",
    "read_scan",
    "save_case",
    "to_mask",
    "volumes",
    "write_like",
]

_HOME = {
    "anomaly": ("AnomalyMap", "FalseFindings", "Supervoxels"),
    "errors": ("AnomalyError",),
    "export": ("Mask", "findings_rows", "to_mask"),
    "findings": ("Finding", "Findings", "find"),
    "geometry": ("Geometry",),
    "io": ("read_scan", "save_case", "volumes", "write_like"),
    "progress": ("Progress", "drain"),
    "review": ("Review", "Verdict"),
    "samples": ("open_sample",),
    "scan": ("Scan", "Source"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
