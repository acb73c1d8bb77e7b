"""The dock of the training: a folder of normal scans in, a detector out, watched, stopped and gone on with."""

from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
from magicgui.widgets import Container, create_widget
from napari.components import ViewerModel
from pydantic import ValidationError
from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_anomaly.errors import AnomalyError
from napari_anomaly.extras import torch_needed
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.parts import WIDTH, button, row, words
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.survey import Survey, survey

__all__ = ["TrainPanel"]

_FIELDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "normals": ("Normals", Path, {"mode": "d"}),
    "label_maps": ("Label maps", Path, {"mode": "d", "nullable": True}),
    "region": ("Region", None, {"choices": ("brain", "body")}),
    "minutes": ("Minutes", float, {"min": 1.0, "max": 100_000.0, "step": 10.0}),
    "name": ("Name", str, {}),
    "out": ("Detector", Path, {"mode": "w", "filter": "*.safetensors"}),
}
"""Settings that the form shows, of `TrainSettings`; the command line has all."""


def training(settings: TrainSettings) -> Steps[Path]:
    """Train; torch is loaded in the worker's thread."""
    yield Progress(0, 0, "loading the networks")
    with torch_needed("Training"):
        from napari_anomaly.training.train import train

        return (yield from train(settings))


def surveying(folders: tuple[tuple[Path, bool], ...]) -> Steps[tuple[Survey, ...]]:
    """Look at folders, each with whether it holds label maps."""
    seen: list[Survey] = []
    for folder, are_labels in folders:
        yield Progress(len(seen), len(folders), f"looking at {folder.name}")
        seen.append(survey(folder, are_labels=are_labels))
    return tuple(seen)


class TrainPanel(QWidget):
    """Trains a detector on a folder of normal scans.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock belongs to.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._window = napari_viewer.window
        self.jobs = Jobs()
        self.made: Path | None = None
        self._drawn = 0
        self._build()
        self.destroyed.connect(partial(_release, self.jobs))

    def _build(self) -> None:
        self.setWindowTitle("Train")
        fields = TrainSettings.model_fields
        self.form: Container[Any] = Container(labels=True)
        for name, (label, annotation, options) in _FIELDS.items():
            self.form.append(
                create_widget(
                    name=name,
                    label=label,
                    annotation=annotation,
                    options={**options, "tooltip": fields[name].description},
                )
            )
        self.form["minutes"].value = 60.0
        self.form["out"].value = Path.home() / "detector.safetensors"
        self.form["name"].value = "my-detector"
        self.check = button(
            "Check", "Look at the folders: how many scans, how fine, which stand out", self.look
        )
        self.start = button("Train", "Train; what was stopped goes on where it was", self.train)
        self.stop = button("Stop", "Stop within one step; nothing that was learned is lost", self.halt)
        self.use = button("Use this detector", "Choose the new detector in the dock Detect", self.use_it)
        self.bar = QProgressBar()
        self.bar.setToolTip("How far the training is, by time")
        self.status = words("What the training does, and how long it will take")
        self.curve = QLabel()
        self.curve.setToolTip("Loss (blue) and Dice on painted slices (red) against steps")
        self.curve.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message = Message()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addWidget(self.form.native)
        layout.addLayout(row(self.check, self.start, self.stop))
        for widget in (self.bar, self.status, self.curve, self.message, self.use):
            layout.addWidget(widget)
        layout.addStretch(1)
        self.setMinimumWidth(WIDTH)
        self.setMaximumWidth(WIDTH + 8)
        self._show(running=False)

    def _show(self, *, running: bool) -> None:
        self.form.enabled = not running
        self.check.setEnabled(not running)
        self.start.setEnabled(not running)
        self.stop.setEnabled(running)
        self.bar.setVisible(running)
        self.use.setVisible(self.made is not None and not running)
        if not running:
            self.status.setText("")

    @property
    def settings(self) -> TrainSettings:
        """What the form says.

        Raises
        ------
        AnomalyError
            If a folder is missing, or a value is out of its bounds.
        """
        given: dict[str, Any] = {name: self.form[name].value for name in _FIELDS}
        folder = given.pop("normals")
        labels = given.pop("label_maps")
        has_folder, has_labels = (path is not None and Path(path) != Path() for path in (folder, labels))
        if not (has_folder or has_labels):
            raise AnomalyError("Choose a folder with normal scans first.")
        try:
            return TrainSettings(
                normals=(Path(folder),) if has_folder else (),
                label_maps=Path(labels) if has_labels else None,
                steps=1_000_000,
                **given,
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise AnomalyError(f"{first['loc'][0]}: {first['msg']}.") from error

    # Checking

    def look(self) -> None:
        """Look at the folders."""
        try:
            settings = self.settings
        except AnomalyError as error:
            self._on_failed(error)
            return
        folders = [(folder, False) for folder in settings.normals]
        folders += [(settings.label_maps, True)] if settings.label_maps is not None else []
        self.message.clear_text()
        self._show(running=True)
        self.jobs.start(
            partial(surveying, tuple(folders)),
            Listener(
                done=self._on_surveyed, failed=self._on_failed, progress=self._on_progress, stopped=self.halt
            ),
        )

    def _on_surveyed(self, surveys: tuple[Survey, ...]) -> None:
        self._show(running=False)
        self.message.note("\n".join(one.text() for one in surveys))

    # Training

    def train(self) -> None:
        """Train, or go on with a training that was stopped."""
        try:
            settings = self.settings
        except AnomalyError as error:
            self._on_failed(error)
            return
        self.made = None
        self.message.clear_text()
        self._show(running=True)
        self.jobs.start(
            partial(training, settings),
            Listener(
                done=self._on_trained, failed=self._on_failed, progress=self._on_progress, stopped=self.halt
            ),
        )

    def halt(self) -> None:
        """Stop; what was learned is in the checkpoint beside the detector."""
        if self.jobs.cancel():
            self.message.note("Stopped. The same settings go on where it was.")
        self._show(running=False)

    def _on_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        self.status.setText(progress.text)
        self._show_curve()

    def _show_curve(self) -> None:
        path = Path(self.form["out"].value).with_suffix(".png")
        drawn = path.stat().st_mtime_ns if path.is_file() else 0
        if drawn == self._drawn:
            return
        self._drawn = drawn
        picture = QPixmap(str(path))
        if not picture.isNull():
            self.curve.setPixmap(
                picture.scaledToWidth(WIDTH - 16, Qt.TransformationMode.SmoothTransformation)
            )

    def _on_trained(self, path: Path) -> None:
        self.made = path
        self._show(running=False)
        self.message.note(f"The detector is in {path}.")

    def use_it(self) -> None:
        """Choose the new detector in the dock Detect."""
        if self.made is None:
            return
        _, panel = self._window.add_plugin_dock_widget("napari-anomaly", "Detect")
        panel.run.choose_detector(self.made)
        self.message.note(f"The dock Detect looks with {self.made.name} now.")

    def _on_failed(self, error: Exception) -> None:
        self._show(running=False)
        self.message.error(words_for(error))


def _release(jobs: Jobs, *_: object) -> None:
    jobs.close()
