"""The lower end of the reading dock: what leaves the building, and where the review is kept."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_anomaly import io
from napari_anomaly.agreement import agreement, agreement_csv, read_review
from napari_anomaly.derivatives import write_derivatives
from napari_anomaly.errors import AnomalyError, MissingExtra, ReviewError
from napari_anomaly.export import MaskChoice
from napari_anomaly.journal import journals_of, reader_name
from napari_anomaly.plugin.case import Case, header_of, writing_mask
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.parts import row, words
from napari_anomaly.plugin.report_pdf import report_pdf
from napari_anomaly.plugin.review_place import choose_folder, chosen_folder, folder_for
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.report import Reading, reading_csv, reading_json, report_html, write_text
from napari_anomaly.review import Review

__all__ = ["ReviewExport", "writing_agreement", "writing_archive", "writing_derivatives", "writing_reading"]

_IMAGES = "NIfTI (*.nii.gz *.nii);;TIFF (*.tif *.tiff)"
_MASKS: tuple[tuple[MaskChoice, str, str], ...] = (
    ("all", "Mask: all but false positives...", "mask"),
    ("confirmed", "Mask: confirmed findings only...", "confirmed"),
    ("verdicts", "Mask: a value for each verdict...", "verdicts"),
)


Make: TypeAlias = Callable[[Reading], str | bytes]

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
    """

    def __init__(self, desk: Desk, message: Message) -> None:
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
        self.kept = words("Where your verdicts, notes and corrections are; every step is on the disk at once")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        buttons = row(self.button, self.folder)
        buttons.setStretch(0, 1)
        buttons.setStretch(1, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.kept)

    def _fill(self) -> None:
        for choice, text, kind in _MASKS:
            self.menu.addAction(text, partial(self._ask_mask, choice, kind))
        self.menu.addSeparator()
        for text, kind, kinds, make in _TEXTS:
            self.menu.addAction(text, partial(self._ask_text, kind, kinds, make))
        self.menu.addSeparator()
        self.menu.addAction("BIDS derivatives...", lambda: self._ask_derivatives())
        self.menu.addAction("Agreement of readers (CSV)...", lambda: self._ask_agreement())
        self.archive: Any = self.menu.addAction("For the archive (DICOM)...", lambda: self._ask_archive())

    def refresh(self) -> None:
        """Show where the review is kept."""
        case = self._desk.case
        # What was not read from DICOM has no study to go back to.
        self.archive.setEnabled(case is not None and case.scan.source.format == "dicom")
        if case is None or case.session.map is None:
            self.kept.setText("")
        elif case.closed_to_review:
            self.kept.setText("not kept here: open in another window")
        elif case.journal is None or case.journal.is_new:
            self.kept.setText("nothing to keep yet")
        else:
            self.kept.setText(f"every step is kept in {case.journal.path.parent.name}")
            self.kept.setToolTip(f"Every step is in {case.journal.path}")

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return all(jobs.idle for jobs in self._jobs)

    def write_mask(self, choice: MaskChoice, path: Path) -> None:
        """Write the mask beside the window."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing_mask(case, path, choice))

    def _ask_mask(self, choice: MaskChoice, kind: str) -> None:
        case = self._desk.case
        path = self._ask("Export mask", case.default_path(kind), _IMAGES) if case is not None else None
        if path is not None:
            self.write_mask(choice, path if path.suffix else path.with_name(path.name + ".nii.gz"))

    def write_reading(self, make: Make, path: Path) -> None:
        """Write a table or a report beside the window."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing_reading(case, path, make))

    def _ask_text(self, kind: str, kinds: str, make: Make) -> None:
        case = self._desk.case
        if case is None:
            return
        suffix = kinds.split("*")[1].rstrip(")")
        default = case.default_path(kind)
        path = self._ask("Export", default.with_name(f"{case.scan.name}_{kind}{suffix}"), kinds)
        if path is not None:
            self.write_reading(make, path if path.suffix else path.with_name(path.name + suffix))

    def write_archive(self, folder: Path) -> None:
        """Write segmentation, map, report and key images as DICOM beside the window."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing_archive(case, folder))

    def _ask_archive(self) -> None:
        case = self._desk.case
        if case is None:
            return
        beside = str(case.default_path("mask").parent)
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the DICOM files", beside)
        if chosen:
            self.write_archive(Path(chosen))

    def write_derivatives(self, folder: Path) -> None:
        """Write masks, table and report in the layout of BIDS beside the window."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing_derivatives(case, folder))

    def _ask_derivatives(self) -> None:
        case = self._desk.case
        if case is None:
            return
        beside = str(case.default_path("mask").parent)
        chosen = QFileDialog.getExistingDirectory(self, "Folder of BIDS derivatives", beside)
        if chosen:
            self.write_derivatives(Path(chosen))

    def write_agreement(self, path: Path) -> None:
        """Write what all readers said of this scan beside the window."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._beside(writing_agreement(case, path))

    def _ask_agreement(self) -> None:
        case = self._desk.case
        if case is None:
            return
        default = case.default_path("agreement").with_name(f"{case.scan.name}_agreement.csv")
        path = self._ask("Agreement of readers", default, "CSV (*.csv)")
        if path is not None:
            self.write_agreement(path if path.suffix else path.with_name(path.name + ".csv"))

    def _ask(self, title: str, default: Path, kinds: str) -> Path | None:
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(default), kinds)
        return Path(chosen) if chosen else None

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


def writing_reading(case: Case, path: Path, make: Make) -> Steps[Path]:
    """Write what was read and said; call it in the window's thread, the generator may run in another.

    Parameters
    ----------
    case
        Which scan.
    path
        Where to.
    make
        What to write: a report or a table.
    """
    read, scan = _reader_of(case), case.scan

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing")
        reading = read()
        return path if reading is None else write_text(make(reading), scan, path)

    return steps()


def _reader_of(case: Case) -> Callable[[], Reading | None]:
    """Note what is read now, in the window's thread; what is given makes a reading of it in any."""
    case.take_strokes()
    session, scan, window = case.session, case.scan, case.layer.contrast_limits
    anomaly_map, question = session.map, session.question
    findings = session.findings if session.has_findings else None
    said = session.review
    limits = (float(window[0]), float(window[1]))
    name = next((one.name for one in case.windows if np.allclose(one.limits, limits)), "")

    def read() -> Reading | None:
        if anomaly_map is None or question is None:
            return None
        review = said or Review.of(scan, anomaly_map, reader=reader_name())
        found = question.answer() if findings is None else findings
        return Reading(scan, anomaly_map, found, review, limits, name)

    return read


def writing_derivatives(case: Case, folder: Path) -> Steps[Path]:
    """Write masks, table and report in the layout of BIDS; call it in the window's thread.

    Parameters
    ----------
    case
        Which scan.
    folder
        Of the derivatives.
    """
    read = _reader_of(case)

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing BIDS derivatives")
        reading = read()
        return folder if reading is None else write_derivatives(reading, folder)[0].parent

    return steps()


def writing_agreement(case: Case, path: Path) -> Steps[Path]:
    """Write what all readers whose reviews are kept in one place said; call it in the window's thread.

    Parameters
    ----------
    case
        Which scan.
    path
        Where to.
    """
    scan, anomaly_map = case.scan, case.session.map
    kept = folder_for(scan) if case.journal is None else case.journal.path.parent

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "comparing readers")
        if anomaly_map is None:
            return path
        found = journals_of(kept, header_of(scan, anomaly_map))
        if len(found) < 2:
            raise ReviewError(
                f"There is no review of another reader of this scan in {kept}, and two are needed. Keep all reviews "
                "in one folder, or compare files with: napari-anomaly agreement REVIEW REVIEW"
            )
        reviews = [read_review(one) for one in found]
        try:
            compared = agreement(reviews)
        except MissingExtra:
            compared = agreement(reviews, kappa=False)
        return write_text(agreement_csv(compared), scan, path)

    return steps()


def writing_archive(case: Case, folder: Path) -> Steps[Path]:
    """Write what goes back to the archive; call it in the window's thread, as `writing_reading`.

    Parameters
    ----------
    case
        Which scan; it was read from DICOM.
    folder
        Where to.
    """
    case.take_strokes()
    session, scan = case.session, case.scan
    anomaly_map, question, review = session.map, session.question, session.review
    findings = session.findings if session.has_findings else None

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing DICOM")
        if anomaly_map is None or question is None:
            return folder
        found = question.answer() if findings is None else findings
        paths = io.save_dicom(folder, scan, anomaly_map, found, review=review)
        return paths[0].with_name(f"{scan.name}_*.dcm")

    return steps()


def _same(steps: Steps[Path]) -> Steps[Path]:
    return steps
