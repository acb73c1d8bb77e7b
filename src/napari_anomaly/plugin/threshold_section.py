"""The middle part of the dock: how unusual something must be, and how large, to count as a finding."""

from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QSlider, QVBoxLayout, QWidget

from napari_anomaly.anomaly import to_decades
from napari_anomaly.geometry import Unit
from napari_anomaly.plugin.display import TOP, step_of, threshold_of
from napari_anomaly.plugin.parts import caption, row, words

__all__ = ["ThresholdSection", "format_score"]

_REST_MS = 150


def format_score(score: float) -> str:
    """Write a calibrated score with as many digits as its decade needs: ``.950``, ``.996``, ``.99987``."""
    if score >= 1.0:
        return "1"
    digits = min(max(3, int(float(to_decades(score)) + 1e-6) + 1), 5)
    # Cut, not rounded: no score may look higher than it is.
    cut = int(score * 10**digits + 1e-6) / 10**digits
    return f"{cut:.{digits}f}".removeprefix("0")


class ThresholdSection(QWidget):
    """Sensitivity, expected false findings, smallest finding, snap, extend.

    Attributes
    ----------
    moved
        Signal with the step, at every move of the slider: only what is instant may follow.
    settled
        Signal without arguments, on release or after 150 ms of rest, and when the smallest finding has
        changed.
    snap_changed, extend_changed
        Signals with the new state.
    """

    moved = Signal(int)
    settled = Signal()
    snap_changed = Signal(bool)
    extend_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._build()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._on_rest)
        self._exact: float | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row(caption("Se&nsitivity", self.slider), self.slider, self.value, stretch=1))
        layout.addWidget(self.false_findings)
        layout.addLayout(row(caption("S&mallest", self.smallest), self.smallest, stretch=1))
        layout.addLayout(row(caption(""), self.snap, stretch=1))
        layout.addLayout(row(caption(""), self.extend, stretch=1))
        self.show_settings(0.995, 30.0, False, "mm")

    def _build(self) -> None:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(1, TOP)
        self.slider.setPageStep(17)
        # More sensitive is to the right and up, and that is a lower threshold.
        self.slider.setInvertedAppearance(True)
        self.slider.setInvertedControls(True)
        self.slider.setToolTip(
            "To the right: more findings, more of them false. To the left: only what is most unusual.\n"
            "Arrow keys move it in small steps."
        )
        self.slider.valueChanged.connect(self._on_value)
        self.slider.sliderReleased.connect(self._on_rest)
        self.value = QLabel()
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance(".99999 "))
        self.value.setToolTip(
            "Share of voxels of normal scans that score lower: "
            "at .995, one normal voxel in 200 is this unusual"
        )
        self.false_findings = words(
            "How many findings this detector makes, at these settings, on a scan that is normal; "
            "measured on normal scans that it was not trained on"
        )
        self.smallest = QDoubleSpinBox()
        self.smallest.setRange(0, 1_000_000)
        self.smallest.setDecimals(0)
        self.smallest.setSingleStep(10)
        self.smallest.setKeyboardTracking(False)
        self.smallest.setToolTip("Findings smaller than this are left out")
        self.smallest.valueChanged.connect(lambda _: self.settled.emit())
        self.snap = QCheckBox("snap to superpixels")
        self.snap.setToolTip(
            "Borders follow the image: a superpixel is in or out as a whole, by its mean score"
        )
        self.snap.toggled.connect(lambda on: self.snap_changed.emit(on))
        self.extend = QCheckBox("extend to faint borders")
        self.extend.setToolTip(
            "From the voxels that reach the threshold, a finding goes on to those nearly as unusual"
        )
        self.extend.toggled.connect(lambda on: self.extend_changed.emit(on))

    @property
    def step(self) -> int:
        """The step of the slider, 1 (most sensitive) to 255."""
        return int(self.slider.value())

    @property
    def threshold(self) -> float:
        """The calibrated score: exactly the one that was set, until the slider is moved."""
        return threshold_of(self.step) if self._exact is None else self._exact

    @property
    def min_volume_mm3(self) -> float:
        """The smallest finding."""
        return float(self.smallest.value())

    def set_step(self, step: int) -> None:
        """Move the slider, as a hand would."""
        self.slider.setValue(step)
        self._show_value()

    def show_settings(
        self, threshold: float, min_volume_mm3: float, snap: bool, unit: Unit, *, extend: bool | None = None
    ) -> None:
        """Show settings without signals.

        Parameters
        ----------
        threshold
            Calibrated score; kept exactly, though the slider shows the nearest step.
        min_volume_mm3, snap
            See `napari_anomaly.session.Session`.
        unit
            What volumes are counted in.
        extend
            See `napari_anomaly.session.Session`; None where the map proposes no extent.
        """
        for widget in (self.slider, self.smallest, self.snap, self.extend):
            widget.blockSignals(True)
        self.slider.setValue(step_of(threshold))
        self._exact = threshold
        self.smallest.setSuffix(" mm³" if unit == "mm" else " voxels")
        self.smallest.setValue(min_volume_mm3)
        self.snap.setChecked(snap)
        self.extend.setEnabled(extend is not None)
        self.extend.setChecked(bool(extend))
        for widget in (self.slider, self.smallest, self.snap, self.extend):
            widget.blockSignals(False)
        self._show_value()

    def show_false_findings(self, expected: float | None) -> None:
        """Show the expected number of false findings per normal scan; nothing where it was not measured."""
        if expected is None:
            self.false_findings.setText("")
            return
        amount = f"{expected:.1f}" if expected < 9.95 else f"{expected:.0f}"
        amount = "fewer than 0.1" if expected < 0.05 else f"about {amount}"
        self.false_findings.setText(f"{amount} false findings per normal scan")

    def _on_value(self, step: int) -> None:
        self._exact = None
        self._show_value()
        self.moved.emit(step)
        self._rest.start()

    def _on_rest(self) -> None:
        self._rest.stop()
        self.settled.emit()

    def _show_value(self) -> None:
        self.value.setText(format_score(self.threshold))
