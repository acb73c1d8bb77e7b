"""What is shown, in which plane, in which window."""

from collections.abc import Mapping, Sequence

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QPushButton, QSlider, QSpinBox, QVBoxLayout, QWidget

from napari_anomaly.plugin.layers import Role
from napari_anomaly.plugin.parts import caption, row, slim_combo
from napari_anomaly.plugin.view import Plane
from napari_anomaly.plugin.windows import Window

__all__ = ["ShowSection"]

_LAYERS: dict[Role, tuple[str, str]] = {
    "map": ("map", "How unusual every voxel is, above the threshold: dark red is unusual, yellow most"),
    "mask": ("mask", "The outline of the findings, as they would be exported"),
    "proxies": ("proxies", "The superpixel image: every superpixel in its mean intensity"),
    "residual": (
        "second",
        "The second opinion: what could not be rebuilt from normal patterns, from one normal voxel in ten (teal) to "
        "none (yellow)",
    ),
}
_PLANES: dict[Plane, tuple[str, str]] = {
    "axial": ("A", "Axial: front is up, the patient's right is on the left"),
    "coronal": ("C", "Coronal: head is up, the patient's right is on the left"),
    "sagittal": ("S", "Sagittal: head is up, front is on the left"),
    "3d": ("3", "In 3D, as a maximum intensity projection: turn it with the mouse"),
}

_CHECKED = "QPushButton { padding: 2px; min-width: 24px; } QPushButton:checked { background-color: #4560c8; }"


class ShowSection(QWidget):
    """Layers, opacity, planes, windows.

    Attributes
    ----------
    layer_toggled
        Signal with the role and whether to show it.
    opacity_changed
        Signal with the opacity, 0 to 1.
    plane_chosen
        Signal with the plane.
    linked_toggled
        Signal with whether to show all three planes at once.
    window_chosen
        Signal with the window.
    slab_chosen
        Signal with the thickness of the slab, in mm.
    marks_toggled
        Signal with whether to show orientation letters and a scale bar.
    """

    layer_toggled = Signal(str, bool)
    opacity_changed = Signal(float)
    plane_chosen = Signal(str)
    linked_toggled = Signal(bool)
    window_chosen = Signal(Window)
    slab_chosen = Signal(int)
    marks_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._windows: tuple[Window, ...] = ()
        self.boxes = {role: self._box(role) for role in _LAYERS}
        self.marks = QCheckBox("letters")
        self.marks.setToolTip("At the edges, which side of the patient lies there, and a scale bar in mm")
        self.marks.setChecked(True)
        self.marks.toggled.connect(lambda on: self.marks_toggled.emit(on))
        self.slab = QSpinBox()
        self.slab.setRange(0, 60)
        self.slab.setSingleStep(5)
        self.slab.setPrefix("slab ")
        self.slab.setSuffix(" mm")
        self.slab.setSpecialValueText("no slab")
        self.slab.setAccessibleName("slab")
        # wheel, arrow keys and typing do without the buttons, for which there is no room
        self.slab.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.slab.setFixedWidth(self.slab.fontMetrics().horizontalAdvance("slab 60 mm") + 24)
        self.slab.setToolTip(
            "Highest intensity and highest score of a slab of this thickness around the slice"
        )
        self.slab.valueChanged.connect(lambda thickness: self.slab_chosen.emit(thickness))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        self.opacity.setValue(80)
        self.opacity.setToolTip("How much the map and the proxies cover the scan")
        self.opacity.valueChanged.connect(lambda percent: self.opacity_changed.emit(percent / 100))
        self.planes = {plane: self._plane(plane) for plane in _PLANES}
        self._group = QButtonGroup(self)
        for made in self.planes.values():
            self._group.addButton(made)
        self.linked = _checkable("All", "All three planes at once, linked by a crosshair")
        self.linked.setAccessibleName("linked planes")
        self.linked.toggled.connect(lambda on: self.linked_toggled.emit(on))
        self.window_ = slim_combo("Which intensities run from black to white")
        self.window_.setPlaceholderText("custom")
        self.window_.activated.connect(self._on_window)
        self._place()

    def _box(self, role: Role) -> QCheckBox:
        text, tooltip = _LAYERS[role]
        box = QCheckBox(text)
        box.setToolTip(tooltip)
        box.toggled.connect(lambda on: self.layer_toggled.emit(role, on))
        return box

    def _plane(self, plane: Plane) -> QPushButton:
        text, tooltip = _PLANES[plane]
        made = _checkable(text, tooltip)
        made.setAccessibleName(plane)
        made.clicked.connect(lambda: self.plane_chosen.emit(plane))
        return made

    def _place(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        boxes = list(self.boxes.values())
        for title, part in (("Show", boxes[:3]), ("", [*boxes[3:], self.marks])):
            layout.addLayout(row(caption(title), *part, QWidget(), stretch=1 + len(part)))
        layout.addLayout(row(caption("&Opacity", self.opacity), self.opacity, stretch=1))
        planes = row(caption("Planes"), *self.planes.values(), self.linked)
        for place in range(1, planes.count()):
            planes.setStretch(place, 1)
        layout.addLayout(planes)
        layout.addLayout(row(caption("W&indow", self.window_), self.window_, self.slab, stretch=1))

    def show_layers(self, visible: Mapping[Role, bool]) -> None:
        """Show which layers are visible, without signals; those that do not exist are greyed out."""
        for role, box in self.boxes.items():
            box.blockSignals(True)
            box.setEnabled(role in visible)
            box.setChecked(visible.get(role, False))
            box.blockSignals(False)
        self.opacity.setEnabled(bool(visible))

    def show_plane(self, plane: Plane | None) -> None:
        """Show which plane is on the screen; None for another view."""
        self._group.setExclusive(False)
        for name, made in self.planes.items():
            made.setChecked(name == plane)
        self._group.setExclusive(True)

    def show_linked(self, on: bool) -> None:
        """Show whether all planes are on the screen, without signals."""
        self.linked.blockSignals(True)
        self.linked.setChecked(on)
        self.linked.blockSignals(False)

    def set_windows(self, windows: Sequence[Window], limits: tuple[float, float] | None) -> None:
        """Offer windows.

        Parameters
        ----------
        windows
            The presets.
        limits
            What is shown now.
        """
        self._windows = tuple(windows)
        self.window_.clear()
        for place, window in enumerate(windows):
            self.window_.addItem(window.name)
            self.window_.setItemData(place, window.text, int(Qt.ItemDataRole.ToolTipRole))
        self.show_limits(limits)

    def show_limits(self, limits: tuple[float, float] | None) -> None:
        """Show the preset that these limits are, or that they are none."""
        matches = (
            place
            for place, window in enumerate(self._windows)
            if limits is not None
            and all(abs(a - b) <= 1e-6 * max(1.0, abs(b)) for a, b in zip(limits, window.limits, strict=True))
        )
        self.window_.setCurrentIndex(next(matches, -1))

    def _on_window(self, place: int) -> None:
        self.window_chosen.emit(self._windows[place])


def _checkable(text: str, tooltip: str) -> QPushButton:
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(True)
    made.setFixedHeight(24)
    made.setStyleSheet(_CHECKED)
    return made
