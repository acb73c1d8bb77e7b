"""The lower end of the dock: what leaves the building."""

from collections.abc import Callable
from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_anomaly.plugin.parts import button, row

__all__ = ["ExportSection"]

_FILES = "NIfTI (*.nii.gz *.nii);;TIFF (*.tif *.tiff);;NRRD (*.nrrd);;MetaImage (*.mha)"


class ExportSection(QWidget):
    """Export mask, export map.

    Parameters
    ----------
    default_path
        Called with ``"mask"`` or ``"anomaly"``: suggests a file; None where there is nothing to export.

    Attributes
    ----------
    mask_wanted, map_wanted
        Signals with the file that the reader chose.
    """

    mask_wanted = Signal(Path)
    map_wanted = Signal(Path)

    def __init__(self, default_path: Callable[[str], Path | None]) -> None:
        super().__init__()
        self._default_path = default_path
        self.mask_button = button(
            "E&xport mask...", "Save the findings on exactly the grid of the scan's file", self.ask_mask
        )
        self.map_button = button(
            "Export ma&p...",
            "Save the scores as numbers, on exactly the grid of the scan's file",
            self.ask_map,
        )
        self.setLayout(row(self.mask_button, self.map_button))

    def ask_mask(self) -> None:
        """Ask where to write the mask."""
        path = self._ask("mask", "Export mask")
        if path is not None:
            self.mask_wanted.emit(path)

    def ask_map(self) -> None:
        """Ask where to write the map."""
        path = self._ask("anomaly", "Export map")
        if path is not None:
            self.map_wanted.emit(path)

    def _ask(self, kind: str, title: str) -> Path | None:
        default = self._default_path(kind)
        if default is None:
            return None
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(default), _FILES)
        if not chosen:
            return None
        path = Path(chosen)
        return path if path.suffix else path.with_name(path.name + ".nii.gz")
