"""One scan in the window: its session, its layers, and what may be done with it."""

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from napari_anomaly import io
from napari_anomaly.export import to_mask
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import scan_layer, scan_of
from napari_anomaly.plugin.result_layers import ResultLayers
from napari_anomaly.plugin.windows import Window, windows_for
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan
from napari_anomaly.session import Session

__all__ = ["Case", "VOLUME", "VOLUMES", "reading", "writing_map", "writing_mask"]

VOLUMES = "napari_anomaly_volumes"
VOLUME = "napari_anomaly_volume"


class Case:
    """A scan's layer, what is known of it, and the layers of its result.

    Parameters
    ----------
    viewer
        Where it is shown.
    layer
        The layer of the scan.
    """

    def __init__(self, viewer: ViewerModel, layer: Image) -> None:
        self.layer = layer
        self.session = Session()
        self.layers = ResultLayers(viewer, layer)
        self.session.open(scan_of(layer))
        self.windows: tuple[Window, ...] = windows_for(self.scan)

    @property
    def scan(self) -> Scan:
        """The scan as the layer shows it now."""
        scan = self.session.scan
        if scan is None:
            raise RuntimeError("a case always has a scan")
        return scan

    def refresh(self) -> Scan:
        """Take over what another plugin did to the layer since; the result of the scan before leaves.

        Raises
        ------
        ScanError
            If the layer no longer holds a scan.
        """
        scan = scan_of(self.layer)
        if scan is not self.scan and not _same(scan, self.scan):
            self.session.open(scan)
            self.windows = windows_for(scan)
        return self.scan

    def show_volume(self, scan: Scan, volume: int) -> None:
        """Show another volume of the same file in place of the one before; its result leaves."""
        self.session.open(scan)
        self.windows = windows_for(scan)
        data, keywords, _ = scan_layer(scan)
        self.layer.data = data
        self.layer.metadata.update(keywords["metadata"])
        self.layer.metadata[VOLUME] = volume
        self.layer.contrast_limits = keywords["contrast_limits"]
        self.layers.hide()

    def show_result(self, outcome: Outcome) -> None:
        """Show what the detector made of the scan."""
        self.session.set_result(outcome.result)
        self.layers.show_snap(self.session.snap)
        self.layers.show(outcome.display, self.scan)

    @property
    def volumes(self) -> int:
        """How many volumes the file of the scan holds."""
        return int(self.layer.metadata.get(VOLUMES, 1))

    @property
    def volume(self) -> int:
        """Which of them is shown, from 0."""
        return int(self.layer.metadata.get(VOLUME, 0))

    @property
    def badge(self) -> str:
        """What is special about the place of the scan, in a few words; mostly empty."""
        geometry = self.scan.geometry
        if geometry.unit == "voxel":
            return "size of a voxel unknown: shown in voxels"
        angle = geometry.obliquity
        return f"oblique {angle:.0f}°: planes follow the scan" if angle >= 0.5 else ""

    def default_path(self, kind: str) -> Path:
        """Suggest where to export to: beside the scan, in its own format, under its own name."""
        source = self.scan.source
        folder = source.path.parent if source.path is not None else Path.cwd()
        suffix = ".tif" if source.format == "tiff" else ".nii.gz"
        return folder / f"{self.scan.name}_{kind}{suffix}"


def reading(path: Path, volume: int) -> Steps[Scan]:
    """Read one volume of a file."""
    yield Progress(0, 0, "reading")
    return io.read_scan(path, volume=volume)


def writing_mask(case: Case, path: Path) -> Steps[Path]:
    """Write the mask as the window shows it, painted corrections included.

    Call it in the window's thread; the generator may run in another.
    """
    session, scan = case.session, case.scan
    painted = case.layers.mask.data > 0 if case.layers.painted and case.layers.mask is not None else None
    question, review = session.question, session.review
    findings = session.findings if session.has_findings else None

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing the mask")
        voxels: Any = painted
        if voxels is None and question is not None:
            voxels = to_mask(question.answer() if findings is None else findings, review).voxels
        io.write_like(voxels, scan, path, kind="mask")
        return path

    return steps()


def writing_map(case: Case, path: Path) -> Steps[Path]:
    """Write the calibrated scores; call it in the window's thread, as `writing_mask`."""
    anomaly_map, scan = case.session.map, case.scan

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing the map")
        if anomaly_map is not None:
            io.write_like(anomaly_map.score, scan, path, kind="map")
        return path

    return steps()


def _same(one: Scan, other: Scan) -> bool:
    # A layer of another plugin gives a new Scan each time, on the same array.
    return (
        one.voxels.shape == other.voxels.shape
        and one.voxels.__array_interface__["data"] == other.voxels.__array_interface__["data"]
        and one.geometry.same_grid(other.geometry)
    )
