"""Comparing readers: what the others said of this scan, when the reader wants to see it; none of it is changed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_anomaly.agreement import (
    Agreement,
    Gathered,
    agreement_as_installed,
    gather,
    read_review,
    write_csv,
)
from napari_anomaly.errors import ReviewError
from napari_anomaly.io.formats import source_files
from napari_anomaly.journal import Header, journal_path, journals_beside, reader_name
from napari_anomaly.plugin.agreement_table import finding_at
from napari_anomaly.plugin.agreement_window import AgreementWindow
from napari_anomaly.plugin.case import Case, header_of
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.message import Message, words_for
from napari_anomaly.plugin.review_place import folder_for
from napari_anomaly.plugin.view import jump
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.review import Review, Seen, judged

__all__ = ["CompareReaders"]

_FILES = "Reviews (*.jsonl *.json)"


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is compared, as it is at one moment, so that another thread can do it.

    Parameters
    ----------
    header
        Scan, detector and reader.
    kept
        Folder of the reviews.
    own
        What the reader at this window said; None where another window keeps that.
    chosen
        Files that the reader has added.
    known
        Reviews of the others, where they were read a moment ago.
    """

    header: Header
    kept: Path
    own: Review | None
    chosen: tuple[Path, ...] = ()
    known: Gathered | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """The others' reviews, and what comes of them; `found` is None where there are no others."""

    gathered: Gathered
    found: Agreement | None


class CompareReaders(QPushButton):
    """The button that compares readers, and what it opens.

    Other readers' reviews are read and never written to. What they said is shown when the reader has judged all
    findings, or says that he wants to see it before; then that is noted in the journal first.

    Parameters
    ----------
    desk
        Whose scan.
    message
        Where to say why nothing can be compared.

    Attributes
    ----------
    chosen
        Signal with the id of the finding that the reader has chosen in the table.
    """

    chosen = Signal(int)

    def __init__(self, desk: Desk, message: Message) -> None:
        super().__init__("Compare readers...")
        self.setToolTip("Compare your verdicts with those of other readers of this scan (C)")
        self._desk = desk
        self._message = message
        self._jobs = Jobs(listed=False)
        self._writing = Jobs(listed=False)
        self._files: tuple[Path, ...] = ()
        self._compared: _Compared | None = None
        self._own: Review | None = None
        self._seen: set[tuple[str, str]] = set()
        self._choosing = False
        acts = {"agree": self._agree, "files": self._ask_files, "export": self._ask_export}
        self.beside = AgreementWindow(self, acts)
        self.clicked.connect(lambda: self.open())
        self.beside.table.chosen.connect(self._choose)
        self.beside.table.opened.connect(self._go_to)

    @property
    def idle(self) -> bool:
        """Whether nothing is being compared or written."""
        return self._jobs.idle and self._writing.idle

    def open(self) -> None:
        """Find the reviews of this scan that lie beside each other, and compare them."""
        case = self._desk.case
        if case is None or case.session.map is None or case.shown is None:
            self._message.note("There are no findings yet on which readers could agree. Detect first.")
            return
        self._compared = None
        self.beside.message.clear_text()
        self.beside.show_agreement(None, None, ["comparing..."])
        self.beside.show()
        self.beside.raise_()
        self._compare(case)

    def add(self, files: Iterable[Path]) -> None:
        """Compare with reviews that lie elsewhere, too."""
        case = self._desk.case
        if case is not None and case.session.map is not None:
            self._files = (*self._files, *files)
            self._compared = None
            self._compare(case)

    def refresh(self) -> None:
        """Take in what the reader has just said, and the findings that are shown now."""
        case = self._desk.case
        if case is None or self._compared is None or not self.beside.isVisible():
            return
        if case.session.review is self._own:
            self._show(case)
        else:
            self._compare(case)

    def follow(self, ids: tuple[int, ...]) -> None:
        """Choose in the table what is chosen in the dock."""
        if ids and not self._choosing:
            self.beside.table.select(ids[0])

    def put_away(self) -> None:
        """Close the table: another scan is read, or this one anew."""
        self._jobs.cancel()
        self._files, self._compared = (), None
        self.beside.close()

    def close_window(self) -> None:
        """Stop what runs, and close the table."""
        self._jobs.close()
        self._writing.close()
        self.beside.close()

    # Comparing

    def _compare(self, case: Case) -> None:
        anomaly_map = case.session.map
        if anomaly_map is None:
            return
        self._own = case.session.review
        journal = case.journal
        header = header_of(case.scan, anomaly_map) if journal is None else journal.header
        kept = folder_for(case.scan) if journal is None else journal.path.parent
        own = None
        if not case.closed_to_review:
            own = self._own or Review.of(case.scan, anomaly_map)
            own = own.model_copy(update={"reader": header.reader or reader_name()})
        known = None if self._compared is None else self._compared.gathered
        asked = _Asked(header, kept, own, self._files, known)
        listener = Listener[_Compared](done=partial(self._on_compared, case), failed=self._on_failed)
        self._jobs.start(partial(_comparing, asked), listener)

    def _on_compared(self, case: Case, compared: _Compared) -> None:
        if case is self._desk.case and self.beside.isVisible():
            self._compared = compared
            self._show(case)

    def _on_failed(self, error: Exception) -> None:
        self.beside.message.error(words_for(error))

    def _show(self, case: Case) -> None:
        compared = self._compared
        if compared is None:
            return
        found, window = compared.found, self.beside
        left = 0 if found is None or self._knows(case) else _unjudged(case)
        if found is not None and left:
            window.ask(_question(found.readers[1:], left))
            return
        notes = list(compared.gathered.left_out)
        if found is None:
            notes.insert(0, _alone(case))
        else:
            self._seen.add(_scan_of(case))
            notes = [*found.notes, *notes]
        window.show_agreement(found, case.shown, notes)

    def _knows(self, case: Case) -> bool:
        """Tell whether the reader has seen what others said of this scan, now or before a restart."""
        review = case.session.review
        return _scan_of(case) in self._seen or (review is not None and bool(review.seen))

    def _agree(self) -> None:
        case, compared = self._desk.case, self._compared
        if case is None or compared is None or compared.found is None:
            return
        seen = Seen(readers=compared.found.readers[1:], unjudged=_unjudged(case), when=datetime.now(UTC))
        try:
            # Before it is shown: what was seen and is not in the journal would pass for an independent reading.
            case.session.note_seen(seen)
        except ReviewError as error:
            self._on_failed(error)
            return
        self._seen.add(_scan_of(case))
        # What was compared is there at once; `refresh` adds the note on this look.
        self._show(case)

    # Choosing

    def _choose(self, key: int) -> None:
        case = self._desk.case
        if case is None or case.shown is None:
            return
        known = finding_at(case.shown, key)
        self._choosing = True
        try:
            if known is not None:
                self.chosen.emit(known.id)
            ids = () if known is None else (known.id,)
            if case.chosen != ids:
                # The filter of the dock hides it there; it is outlined all the same.
                case.choose(ids)
        finally:
            self._choosing = False

    def _go_to(self, key: int) -> None:
        case = self._desk.case
        if case is None or not 0 <= key < case.scan.voxels.size:
            return
        self._choose(key)
        # The id of a finding is the place of its peak, in the list or not.
        index = np.unravel_index(key, case.scan.geometry.shape)
        jump(self._desk.viewer, case.layer, [int(i) for i in index])

    # Files

    def _ask_files(self) -> None:
        case = self._desk.case
        if case is not None:
            folder = str(case.default_path("mask").parent)
            chosen, _ = QFileDialog.getOpenFileNames(self.beside, "Reviews of this scan", folder, _FILES)
            if chosen:
                self.add(Path(one) for one in chosen)

    def _ask_export(self) -> None:
        case, compared = self._desk.case, self._compared
        if case is None or compared is None or compared.found is None:
            return
        default = case.default_path("mask").with_name(f"{case.scan.name}_agreement.csv")
        chosen, _ = QFileDialog.getSaveFileName(
            self.beside, "Agreement of readers", str(default), "CSV (*.csv)"
        )
        if chosen:
            path = Path(chosen)
            self.write(compared.found, path if path.suffix else path.with_name(f"{path.name}.csv"))

    def write(self, found: Agreement, path: Path) -> None:
        """Write the table beside the window."""
        case = self._desk.case
        if case is None:
            return
        make: Callable[[], Steps[Path]] = partial(_writing, found, path, tuple(source_files(case.scan)))
        done = self._on_written
        self._writing.start(make, Listener(done=done, failed=self._on_failed))

    def _on_written(self, path: Path) -> None:
        self.beside.message.note(f"Saved {path}")


def _comparing(asked: _Asked) -> Steps[_Compared]:
    yield Progress(0, 0, "comparing readers")
    header = asked.header
    mine = journal_path(asked.kept, header)
    own = read_review(mine) if asked.own is None else asked.own
    gathered = asked.known
    if gathered is None:
        files = {path.resolve(): path for path in (*journals_beside(asked.kept, header), *asked.chosen)}
        files.pop(mine.resolve(), None)
        gathered = gather(
            files.values(), scan_sha256=header.scan_sha256, detector_sha256=header.detector_sha256
        )
    if not gathered.reviews:
        return _Compared(gathered, None)
    return _Compared(gathered, agreement_as_installed((own, *gathered.reviews)))


def _writing(found: Agreement, path: Path, keep: tuple[Path, ...]) -> Steps[Path]:
    yield Progress(0, 0, "writing")
    return write_csv(found, path, keep=keep)


def _scan_of(case: Case) -> tuple[str, str]:
    anomaly_map = case.session.map
    return case.scan.sha256, "" if anomaly_map is None else anomaly_map.detector_sha256


def _unjudged(case: Case) -> int:
    findings = () if case.shown is None else case.shown
    return len(findings) - len(judged(case.session.review, (one.id for one in findings)))


def _question(others: tuple[str, ...], left: int) -> str:
    findings = "One finding has" if left == 1 else f"{left} findings have"
    return (
        f"This scan was also read by {', '.join(others)}.\n\n{findings} no verdict of yours yet. What others said "
        "can sway you: what you judge after you have seen it is no independent reading any more."
    )


def _alone(case: Case) -> str:
    kept = folder_for(case.scan) if case.journal is None else case.journal.path.parent
    return (
        f"There is no review of another reader of this scan in {kept.name}. Keep all reviews in one folder, or "
        "choose those that lie elsewhere."
    )
