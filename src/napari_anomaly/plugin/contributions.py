"""What the manifest offers to napari: reader, writers, samples, commands."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import napari.viewer
import numpy as np
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QWidget

from napari_anomaly import io
from napari_anomaly.plugin.case import VOLUME, VOLUMES
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.layers import SCAN, LayerTuple, mask_layer, scan_behind, scan_layer, value_of
from napari_anomaly.plugin.series_choice import SeriesChoice
from napari_anomaly.samples import open_sample
from napari_anomaly.scan import Scan

__all__ = [
    "cancel",
    "detect",
    "dock",
    "export_map",
    "export_mask",
    "get_reader",
    "open_file",
    "sample_ms_flair",
    "sample_ms_t1",
    "sample_ms_t2",
    "sample_stroke_t2",
    "write_image",
    "write_labels",
]

Paths: TypeAlias = str | Sequence[str]

_NOTHING: Any = (None,)
"""What a reader gives to napari that opened no layer, and is content with that."""

_DICOM_NAMES = (".dcm", ".dicom", ".ima", ".zip", "dicomdir")
# How people and programs, this one included, end the name of a mask.
_MASK_NAMES = ("_mask", "-mask", "_seg", "_dseg", "_label", "_labels", "-lesions", "_lesions")


def get_reader(path: Paths) -> Callable[[Paths], list[Any]] | None:
    """Offer to read NIfTI, TIFF, NRRD and MetaImage scans, and DICOM series.

    Parameters
    ----------
    path
        One file or several, or a folder; the manifest lets only names with our suffixes, and folders,
        through.

    Returns
    -------
    callable or None
        None for a folder or an archive without DICOM: another plugin may read it; and for a file without a suffix of
        ours that does not begin as DICOM does.
    """
    first = path if isinstance(path, str) else path[0]
    named = io.suffix_of(first) or first.lower().endswith(_DICOM_NAMES)
    if (Path(first).is_dir() or not named) and not io.looks_like_dicom(first):
        return None
    return _read


def _read(path: Paths) -> list[Any]:
    layers: list[LayerTuple] = []
    for each in [path] if isinstance(path, str) else path:
        if not any(_is_part(Path(each), layer) for layer in layers):
            layers += _open_all(each)
    # napari takes an empty list for a failure.
    return layers or [_NOTHING]


def _is_part(path: Path, layer: LayerTuple) -> bool:
    """Tell whether a file is a slice of a series that was read already."""
    scan = layer[1].get("metadata", {}).get(SCAN)
    return isinstance(scan, Scan) and path in scan.source.details.get("partners", ())


def _open_all(path: str) -> list[LayerTuple]:
    """Open a file; of a folder, a disc or an archive the series that the reader chooses, or all where none can."""
    place = Path(path)
    if not place.is_dir() and place.suffix.lower() != ".zip" and place.name.upper() != "DICOMDIR":
        return [open_file(path)]
    found = io.find_series(path)
    window = _window()
    numbers = tuple(range(len(found.rows)))
    if window is not None and len(numbers) > 1:
        asking = SeriesChoice(found, window)
        numbers = asking.chosen if asking.exec() == int(SeriesChoice.DialogCode.Accepted) else ()
        asking.deleteLater()
    elif not numbers:
        found.read(0)  # says why there is none
    return [_layer(found.read(number, volume=0), found.volumes(number)) for number in numbers]


def _window() -> QWidget | None:
    """Give the window that a question can stand before: none in scripts without one, and in other threads."""
    viewer, program = napari.viewer.current_viewer(), QApplication.instance()
    if viewer is None or program is None or QThread.currentThread() is not program.thread():
        return None
    window: QWidget = viewer.window._qt_window
    return window if window.isVisible() else None


def open_file(path: str | Path, *, series: int | None = None) -> LayerTuple:
    """Read a file as a layer: a mask as labels, everything else as an image.

    Of a file with several volumes the first is shown; the dock offers the others.

    Parameters
    ----------
    path
        The file; of DICOM the folder, too.
    series
        Which DICOM series, from 0, where there are several.

    Raises
    ------
    ScanError
        If the file cannot be read as a scan.
    """
    count = io.volumes(path, series=series)
    return _layer(io.read_scan(path, volume=0 if count > 1 else None, series=series), count)


def _layer(scan: Scan, count: int) -> LayerTuple:
    if _is_mask(scan):
        return mask_layer(scan)
    return scan_layer(scan, metadata={VOLUMES: count, VOLUME: 0})


def _is_mask(scan: Scan) -> bool:
    if scan.voxels.dtype.kind not in "iu" or int(scan.voxels.min()) < 0:
        return False
    highest = int(scan.voxels.max())
    return highest <= 1 or (scan.name.lower().endswith(_MASK_NAMES) and highest < 1 << 16)


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write labels on exactly the grid of the scan that they were made on.

    Parameters
    ----------
    path
        Ends in ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, ``.nrrd`` or ``.mha``.
    data
        Whole numbers (z, y, x).
    meta
        Attributes of the layer, as napari gives them.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ScanError
        If it cannot be written there.
    """
    labels = np.asarray(data)
    # A mask is uint8; more labels than that fit into no mask, and stay exact as float32 up to 16 million.
    fits = labels.size == 0 or int(labels.max()) < 256
    io.write_like(labels, _scan_behind(labels, meta), path, kind="mask" if fits else "image")
    return [path]


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write an image on exactly the grid of the scan that it was made on; of a map its scores.

    Parameters
    ----------
    path, data, meta
        See `write_labels`.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ScanError
        If it cannot be written there.
    """
    score = value_of(meta.get("metadata", {}))
    image = np.asarray(data) if score is None else score
    kind: io.Kind = "image" if score is None else "map"
    io.write_like(image, _scan_behind(image, meta), path, kind=kind)
    return [path]


def _scan_behind(array: np.ndarray, meta: Mapping[str, Any]) -> Scan:
    viewer = napari.viewer.current_viewer()
    return scan_behind(array, meta, list(viewer.layers) if viewer is not None else [])


def _sample(name: str) -> list[LayerTuple]:
    return [scan_layer(open_sample(name))]


def sample_ms_flair() -> list[LayerTuple]:
    """Open the FLAIR scan of a patient with multiple sclerosis."""
    return _sample("ms-flair")


def sample_ms_t1() -> list[LayerTuple]:
    """Open the T1 scan of a patient with multiple sclerosis."""
    return _sample("ms-t1")


def sample_ms_t2() -> list[LayerTuple]:
    """Open the T2 scan of a patient with multiple sclerosis."""
    return _sample("ms-t2")


def sample_stroke_t2() -> list[LayerTuple]:
    """Open the T2 scan of a patient with a chronic stroke."""
    return _sample("stroke-t2")


def dock(viewer: napari.viewer.Viewer) -> DetectPanel:
    """Give the dock of a viewer; it is opened if it is not open yet."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-anomaly", "Detect")
    if not isinstance(panel, DetectPanel):
        raise TypeError(
            f"the manifest must name DetectPanel as the widget Detect, got {type(panel).__name__}"
        )
    return panel


def detect(viewer: napari.viewer.Viewer) -> None:
    """Look for what is unusual in the chosen scan."""
    dock(viewer).detect()


def cancel(viewer: napari.viewer.Viewer) -> None:
    """Stop looking."""
    dock(viewer).cancel()


def export_mask(viewer: napari.viewer.Viewer) -> None:
    """Ask where to, and write the mask."""
    dock(viewer).export.ask_mask()


def export_map(viewer: napari.viewer.Viewer) -> None:
    """Ask where to, and write the map."""
    dock(viewer).export.ask_map()
