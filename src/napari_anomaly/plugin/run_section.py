"""The upper part of the dock: which scan, which detector, on what, and how far it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QProgressBar, QSpinBox, QVBoxLayout, QWidget

from napari_anomaly.plugin.engine import AUTOMATIC, Device
from napari_anomaly.plugin.parts import button, caption, row, slim_combo, words
from napari_anomaly.plugin.preferences import Preferences, preferences
from napari_anomaly.progress import Progress

__all__ = ["RunSection"]

_FROM_FILE = "From file..."


class RunSection(QWidget):
    """Scan, detector, device, Detect, progress, Cancel.

    Attributes
    ----------
    scan_chosen, volume_chosen, detect_pressed, cancel_pressed, devices_wanted
        Signals: the reader chose a layer, or a volume (counted from 0), pressed a button, or opened the list
        of devices.
    """

    scan_chosen = Signal()
    volume_chosen = Signal(int)
    detect_pressed = Signal()
    cancel_pressed = Signal()

    def __init__(self, detectors: Sequence[str]) -> None:
        super().__init__()
        self._layers: list[Image] = []
        self._last_detector = 0
        self._build_choices(detectors)
        self._build_buttons()
        self._build_places()
        self._prefer(preferences())
        self.show_idle()

    def _build_choices(self, detectors: Sequence[str]) -> None:
        self.scan = slim_combo("The scan to look at: every 3D greyscale image that is open")
        self.scan.currentIndexChanged.connect(lambda _: self.scan_chosen.emit())
        self.badge = words(
            "The scan was taken at an angle. Planes follow its own axes; millimetres in the status bar and "
            "in all exports are true."
        )
        self.volume = QSpinBox()
        self.volume.setToolTip(
            "The file holds several volumes (points in time, contrasts): which one to read"
        )
        self.volume.setPrefix("volume ")
        self.volume.setKeyboardTracking(False)
        self.volume.valueChanged.connect(lambda value: self.volume_chosen.emit(value - 1))
        self.detector = slim_combo("What to look with: a detector that came along, or one that you trained")
        for name in detectors:
            self.detector.addItem(name, name)
        self.detector.addItem(_FROM_FILE)
        self.second = QCheckBox("second opinion")
        self.second.setToolTip(
            "Ask another method, too, one that rebuilds the scan from normal patterns: what it cannot rebuild becomes "
            "a layer of its own. Takes a few seconds more"
        )
        self.detector.activated.connect(self._on_detector)
        self.device = slim_combo("What to compute on. Automatic takes the fastest that works")
        self.device.addItem("automatic", AUTOMATIC)

    def _build_buttons(self) -> None:
        self.detect = button(
            "&Detect",
            "Look for what is unusual in this scan; go on reading meanwhile (Alt+D)",
            self._on_detect,
        )
        self.cancel = button(
            "Cancel", "Stop looking; the scan stays as it is (Esc)", lambda: self.cancel_pressed.emit()
        )
        self.bar = QProgressBar()
        self.bar.setToolTip("How far it is, and the time left")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.progress = words("What is being done, and the time left")

    def _build_places(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        grid.addWidget(caption("Scan", self.scan), 0, 0)
        grid.addWidget(self.scan, 0, 1)
        self.extras = QWidget()
        self.extras.setLayout(row(self.badge, self.volume, stretch=0))
        grid.addWidget(self.extras, 1, 1)
        grid.addWidget(caption("Detector", self.detector), 2, 0)
        grid.addWidget(self.detector, 2, 1)
        grid.addWidget(self.second, 3, 1)
        grid.addWidget(caption("Device", self.device), 4, 0)
        grid.addWidget(self.device, 4, 1)
        running = QVBoxLayout()
        running.setSpacing(1)
        running.addWidget(self.progress)
        running.addWidget(self.bar)
        buttons = row(self.detect, self.cancel)
        buttons.addLayout(running, 1)
        grid.addLayout(buttons, 5, 0, 1, 2)

    # What is chosen

    @property
    def layer(self) -> Image | None:
        """The layer of the chosen scan."""
        place = self.scan.currentIndex()
        return self._layers[place] if 0 <= place < len(self._layers) else None

    @property
    def chosen_detector(self) -> str | Path | None:
        """Name or file of the chosen detector; None where there is none."""
        chosen: str | Path | None = self.detector.currentData()
        return chosen

    @property
    def chosen_device(self) -> str:
        """Name of the chosen device."""
        return str(self.device.currentData())

    @property
    def second_opinion(self) -> bool:
        """Whether a second opinion is wanted."""
        return self.second.isChecked()

    def set_layers(self, layers: Sequence[Image], choose: Image | None = None) -> None:
        """Offer these scans; the choice stays where it can.

        Parameters
        ----------
        layers
            What there is.
        choose
            What to choose instead of the scan before.
        """
        before = self.layer
        wanted = choose if choose is not None else before
        self.scan.blockSignals(True)
        self._layers = list(layers)
        self.scan.clear()
        for layer in layers:
            self.scan.addItem(layer.name)
        self.scan.setCurrentIndex(self._layers.index(wanted) if wanted in self._layers else len(layers) - 1)
        self.scan.blockSignals(False)
        self.detect.setEnabled(bool(layers) and not self.bar.isVisibleTo(self))
        if self.layer is not before:
            self.scan_chosen.emit()

    def choose(self, layer: Image) -> None:
        """Choose a scan that is offered."""
        if layer in self._layers:
            self.scan.setCurrentIndex(self._layers.index(layer))

    def _prefer(self, wishes: Preferences) -> None:
        """Begin with the detector and the device that the reader prefers; what is not there is told on Detect."""
        if wishes.detector:
            known = self.detector.findData(wishes.detector) >= 0
            self.choose_detector(wishes.detector if known else Path(wishes.detector).expanduser())
        if wishes.device != AUTOMATIC:
            self.device.addItem(wishes.device, wishes.device)
            self.device.setCurrentIndex(1)

    def choose_detector(self, name: str | Path) -> None:
        """Choose a detector by name or file."""
        place = self.detector.findData(name)
        if place < 0:
            place = self.detector.count() - 1
            self.detector.insertItem(place, Path(name).name, name)
            self.detector.setItemData(place, str(name), int(Qt.ItemDataRole.ToolTipRole))
        self.detector.setCurrentIndex(place)
        self._last_detector = place

    def set_devices(self, devices: Sequence[Device]) -> None:
        """Offer these devices; the choice stays."""
        chosen = self.chosen_device
        self.device.clear()
        for device in devices:
            self.device.addItem(device.text, device.name)
            self.device.setItemData(self.device.count() - 1, device.text, int(Qt.ItemDataRole.ToolTipRole))
        self.device.setCurrentIndex(max(0, self.device.findData(chosen)))
        self.device.setToolTip(f"What to compute on. {self.device.currentText()}")

    def show_extras(self, badge: str, volumes: int, volume: int) -> None:
        """Show what is special about the scan: a badge, and the choice of volume where there are several.

        Parameters
        ----------
        badge
            Words; empty for none.
        volumes, volume
            How many there are, and which one is shown, from 0.
        """
        self.badge.setText(badge)
        self.badge.setVisible(bool(badge))
        self.volume.blockSignals(True)
        self.volume.setRange(1, volumes)
        self.volume.setSuffix(f" of {volumes}")
        self.volume.setValue(volume + 1)
        self.volume.blockSignals(False)
        self.volume.setVisible(volumes > 1)
        self.extras.setVisible(bool(badge) or volumes > 1)

    # How far it is

    def show_idle(self, text: str = "") -> None:
        """Show that nothing runs.

        Parameters
        ----------
        text
            How the last run ended.
        """
        self.bar.hide()
        self.cancel.hide()
        self.detect.setEnabled(self.layer is not None)
        self.progress.setText(text)

    def show_running(self) -> None:
        """Show that a detection has begun."""
        self.bar.setRange(0, 0)
        self.bar.show()
        self.cancel.show()
        self.detect.setEnabled(False)
        self.progress.setText("starting")

    def show_progress(self, progress: Progress, left: str) -> None:
        """Show how far it is.

        Parameters
        ----------
        progress
            The latest news.
        left
            The time left, in words; may be empty.
        """
        if progress.total > 0:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * progress.fraction))
            share = f"{progress.fraction:.0%}"
            self.progress.setText(f"{share}, {left}" if left else f"{share}, {progress.text}")
        else:
            self.bar.setRange(0, 0)
            self.progress.setText(progress.text)
        self.progress.setToolTip(progress.text)

    def _on_detect(self) -> None:
        self.detect_pressed.emit()

    def _on_detector(self, place: int) -> None:
        if self.detector.itemText(place) != _FROM_FILE:
            self._last_detector = place
            return
        self.detector.setCurrentIndex(self._last_detector)
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a detector", "", "Detectors (*.safetensors);;All files (*)"
        )
        if path:
            self.choose_detector(Path(path))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Press Detect with Return, wherever in this part the keyboard is."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.detect.isEnabled():
            self.detect.click()
        else:
            super().keyPressEvent(event)
