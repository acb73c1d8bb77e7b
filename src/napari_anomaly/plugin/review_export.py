"""The lower end of the reading dock: what leaves the building, and where the review is kept."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_anomaly.errors import AnomalyError
from napari_anomaly.export import MaskChoice
from napari_anomaly.plugin.case import Case, writing_mask
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.key_choice import ask_key
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.parts import row, words
from napari_anomaly.plugin.report_pdf import report_pdf
from napari_anomaly.plugin.review_place import choose_folder, chosen_folder, folder_for
from napari_anomaly.plugin.review_writing import (
    Make,
    writing_agreement,
    writing_archive,
    writing_derivatives,
    writing_reading,
)
from napari_anomaly.progress import Steps
from napari_anomaly.report import reading_csv, reading_json, report_html

__all__ = ["ReviewExport"]

_IMAGES = "NIfTI (*.nii.gz *.nii);;TIFF (*.tif *.tiff);;NRRD (*.nrrd);;MetaImage (*.mha)"
_MASKS: tuple[tuple[MaskChoice, str, str], ...] = (
    ("all", "Mask: all but false positives...", "mask"),
    ("confirmed", "Mask: confirmed findings only...", "confirmed"),
    ("verdicts", "Mask: a value for each verdict...", "verdicts"),
)
# A disk that is well has answered by then.
_DISK_AFTER_MS = 1000
_TEXTS: tuple[tuple[str, str, str, Make], ...] = (
    ("Report...", "report", "Web page (*.html)", report_html),
    ("Report (PDF)...", "report", "PDF (*.pdf)", report_pdf),
    ("Table (CSV)...", "findings", "CSV (*.csv)", reading_csv),
    ("Everything (JSON)...", "reading", "JSON (*.json)", reading_json),
)


class ReviewExport(QWidget):
    """Export, and the folder of reviews.

    Parameters
    ----------
    desk
        Whose review.
    message
        Where to say what was done.
    *more
        Buttons that stand between the two of this one.
    """

    def __init__(self, desk: Desk, message: Message, *more: QWidget) -> None:
        super().__init__()
        self._desk = desk
        self._message = message
        self._jobs: list[Jobs] = []
        self.button = QPushButton("Export")
        self.button.setToolTip("Save the mask, the table or a report of this scan")
        self.menu = QMenu(self)
        self.button.setMenu(self.menu)
        self._fill()
        self.folder = QPushButton("Kept in...")
        self.folder.setToolTip(
            "Choose the folder in which your reviews are kept; they are saved at every step"
        )
        self.places = QMenu(self)
        self.places.addAction("Beside each scan", lambda: self._choose(None))
        self.places.addAction("In a folder...", self._ask_folder)
        self.folder.setMenu(self.places)
        self._look_again = QTimer(self)
        self._look_again.setSingleShot(True)
        self._look_again.setInterval(_DISK_AFTER_MS)
        self._look_again.timeout.connect(self._check_kept)
        self.kept = words("Where your verdicts, notes and corrections are; every step is on the disk at once")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        buttons = row(self.button, *more, self.folder)
        for place in range(buttons.count()):
            buttons.setStretch(place, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.kept)

    def _fill(self) -> None:
        for choice, text, kind in _MASKS:
            self.menu.addAction(text, partial(self._ask_mask, choice, kind))
        self.menu.addSeparator()
        for text, kind, kinds, make in _TEXTS:
            self.menu.addAction(text, partial(self._ask_text, kind, kinds, make))
        self.menu.addSeparator()
        self.menu.addAction(
            "BIDS derivatives...",
            partial(self._ask_into, "Folder of BIDS derivatives", self.write_derivatives),
        )
        self.menu.addAction("Agreement of readers (CSV)...", self._ask_agreement)
        self.archive: Any = self.menu.addAction(
            "For the archive (DICOM)...",
            partial(self._ask_into, "Folder for the DICOM files", self.write_archive),
        )
        self.nameless: Any = self.menu.addAction("DICOM without the patient...", self._ask_nameless)

    def refresh(self) -> None:
        """Show where the review is kept."""
        case = self._desk.case
        # What was not read from DICOM has no study to go back to.
        for action in (self.archive, self.nameless):
            action.setEnabled(case is not None and case.scan.source.format == "dicom")
        if case is None or case.session.map is None:
            self.kept.setText("")
        elif case.closed_to_review:
            self.kept.setText("not kept here: open in another window")
        elif case.journal is None or case.journal.is_new:
            self.kept.setText("nothing to keep yet")
        else:
            self.kept.setText(f"every step is kept in {case.journal.path.parent.name}")
            self.kept.setToolTip(f"Every step is in {case.journal.path}")
            self._look_again.start()

    def _check_kept(self) -> None:
        """Say so where what was handed to the system did not reach the disk: a share was pulled, a disk is broken."""
        journal = self._desk.case.journal if self._desk.case is not None else None
        if journal is not None and journal.problem:
            self.kept.setText("the last step may not be on the disk")
            self._message.error(journal.problem)

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return all(jobs.idle for jobs in self._jobs)

    def write_mask(self, choice: MaskChoice, path: Path) -> None:
        """Write the mask beside the window."""
        self._write(partial(writing_mask, path=path, choice=choice))

    def write_reading(self, make: Make, path: Path) -> None:
        """Write a table or a report beside the window."""
        self._write(partial(writing_reading, path=path, make=make))

    def write_archive(self, folder: Path, key: Path | None = None) -> None:
        """Write segmentation, map, report and key images as DICOM beside the window; with a key without the patient."""
        self._write(partial(writing_archive, folder=folder, key=key))

    def write_derivatives(self, folder: Path) -> None:
        """Write masks, table and report in the layout of BIDS beside the window."""
        self._write(partial(writing_derivatives, folder=folder))

    def write_agreement(self, path: Path) -> None:
        """Write what all readers said of this scan beside the window."""
        self._write(partial(writing_agreement, path=path))

    def _write(self, writing: Callable[[Case], Steps[Path]]) -> None:
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing(case))

    def _ask_mask(self, choice: MaskChoice, kind: str) -> None:
        self._ask_file("Export mask", f"{kind}.nii.gz", _IMAGES, partial(self.write_mask, choice))

    def _ask_text(self, kind: str, kinds: str, make: Make) -> None:
        suffix = kinds.split("*")[1].rstrip(")")
        self._ask_file("Export", kind + suffix, kinds, partial(self.write_reading, make))

    def _ask_agreement(self) -> None:
        self._ask_file("Agreement of readers", "agreement.csv", "CSV (*.csv)", self.write_agreement)

    def _ask_file(self, title: str, ending: str, kinds: str, write: Callable[[Path], None]) -> None:
        case = self._desk.case
        if case is None:
            return
        kind, _, suffix = ending.partition(".")
        default = case.default_path(kind)
        if suffix != "nii.gz":  # images are proposed in the format of the scan
            default = default.with_name(f"{case.scan.name}_{ending}")
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(default), kinds)
        if chosen:
            path = Path(chosen)
            write(path if path.suffix else path.with_name(f"{path.name}.{suffix}"))

    def _ask_nameless(self) -> None:
        key = ask_key(self)
        if key is not None:
            self._ask_into("Folder for the DICOM files", partial(self.write_archive, key=key))

    def _ask_into(self, title: str, write: Callable[[Path], None]) -> None:
        case = self._desk.case
        if case is None:
            return
        chosen = QFileDialog.getExistingDirectory(self, title, str(case.default_path("mask").parent))
        if chosen:
            write(Path(chosen))

    def _beside(self, steps: Steps[Path]) -> None:
        jobs = Jobs(listed=False)
        self._jobs = [other for other in self._jobs if not other.idle] + [jobs]
        make: Callable[[], Steps[Path]] = partial(_same, steps)
        jobs.start(make, Listener(done=self._on_written, failed=self._on_failed))

    def _on_written(self, path: Path) -> None:
        self._message.note(f"Saved {path}")

    def _on_failed(self, error: Exception) -> None:
        self._message.error(words_for(error))

    # The folder of reviews

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Folder for reviews", str(chosen_folder() or Path.home())
        )
        if chosen:
            self._choose(Path(chosen))

    def _choose(self, folder: Path | None) -> None:
        case = self._desk.case
        try:
            choose_folder(folder)
        except AnomalyError as error:
            self._message.error(str(error))
            return
        if case is not None:
            self._say_where(case)

    def _say_where(self, case: Case) -> None:
        self._message.note(
            f"From the next scan that is opened, reviews are kept in {folder_for(case.scan)}. "
            "Those that are there already stay where they are."
        )


def _same(steps: Steps[Path]) -> Steps[Path]:
    return steps
