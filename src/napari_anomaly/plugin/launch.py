"""The whole main job with one call: open napari with a scan, and detect."""

from pathlib import Path

import napari
from qtpy.QtCore import QTimer

from napari_anomaly.errors import AnomalyError, ScanError
from napari_anomaly.plugin.contributions import dock, open_file
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.layers import LayerTuple, scan_layer
from napari_anomaly.samples import list_samples, open_sample

__all__ = ["open_and_detect", "show"]

# A draw or two must have happened before there is something to save.
_DRAWN_AFTER_MS = 500


def open_and_detect(source: str | Path = "ms-flair", *, screenshot: Path | None = None) -> None:
    """Open napari with a scan and the dock, and begin to detect; returns when the window is closed.

    Parameters
    ----------
    source
        Name of a bundled sample, or a file.
    screenshot
        Where to save a picture of the window when the findings are there; the window then closes by itself.

    Raises
    ------
    ScanError
        If there is no such sample, or the file cannot be read.
    AnomalyError
        With `screenshot`, if the detection failed; without, the dock says so.
    """
    layer = _layer(source)
    viewer = napari.Viewer(title="napari-anomaly")
    viewer.window.resize(1400, 900)
    panel = show(viewer, layer)
    problems: list[str] = []
    if screenshot is not None:

        def finish(problem: str) -> None:
            problems.append(problem)
            findings = panel.case.session.findings if panel.case is not None and not problem else None
            if findings is not None and len(findings):
                panel.go_to(findings.items[0])
            QTimer.singleShot(_DRAWN_AFTER_MS, save)

        def save() -> None:
            try:
                if not problems[0]:
                    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
            finally:
                viewer.close()

        panel.ended.connect(finish)
    panel.detect()
    napari.run()
    if problems and problems[0]:
        raise AnomalyError(problems[0])


def show(viewer: napari.Viewer, layer: LayerTuple) -> DetectPanel:
    """Show a scan and the dock beside it.

    Parameters
    ----------
    viewer
        Where.
    layer
        The scan as a layer.
    """
    data, keywords, kind = layer
    if kind != "image":
        raise ScanError(
            f"{keywords['name']} holds a mask, and a scan is needed. Open the scan that it was made on."
        )
    viewer.add_image(data, **keywords)
    return dock(viewer)


def _layer(source: str | Path) -> LayerTuple:
    if str(source) in list_samples():
        return scan_layer(open_sample(str(source)))
    return open_file(source)
