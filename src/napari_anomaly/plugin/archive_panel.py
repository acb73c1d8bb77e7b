"""The dock of the archive: search the hospital's PACS, fetch series, open them, and send results back."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import napari.viewer
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFileDialog, QInputDialog, QProgressBar, QVBoxLayout, QWidget

from napari_anomaly import pacs
from napari_anomaly.errors import AnomalyError, ArchiveError
from napari_anomaly.pacs.archive import Address, pacs_module
from napari_anomaly.plugin.archive_form import ArchiveForm
from napari_anomaly.plugin.archive_place import ArchivePlace, fetched_folder, unsent_folder
from napari_anomaly.plugin.archive_sending import SendSection
from napari_anomaly.plugin.archive_sign_in import SignIn
from napari_anomaly.plugin.archive_table import ArchiveTable
from napari_anomaly.plugin.archive_work import (
    adding,
    archive_words,
    bringing,
    forgetting,
    keeping,
    reading_series,
    searching,
    sending,
)
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.desk import Desk, desk_of
from napari_anomaly.plugin.jobs import Jobs, Listener
from napari_anomaly.plugin.key_choice import ask_key
from napari_anomaly.plugin.layers import LayerTuple
from napari_anomaly.plugin.message import Message
from napari_anomaly.plugin.parts import WIDTH, button, row, words
from napari_anomaly.plugin.review_writing import writing_results
from napari_anomaly.progress import Progress, Steps

__all__ = ["ArchivePanel"]

_WIDE = 430
_SEARCH, _FETCH, _SEND = "search", "fetch", "send"
_STOPPED = {
    _FETCH: "Cancelled. Of a series that had not arrived whole nothing is kept.",
    _SEND: "Cancelled. What the archive had taken by then stays there.",
}


class ArchivePanel(QWidget):
    """Series out of the archive, results into it.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock belongs to.

    Attributes
    ----------
    place
        Where the archive is, and where its series go.
    signing
        The question for a password that is open, or was last.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari hands out a proxy whose layers are proxies too, and those cannot be compared by identity.
        self.viewer: ViewerModel = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.desk = desk_of(self.viewer)
        self.place = ArchivePlace.read()
        self.moving = Jobs()
        self.signing: SignIn | None = None
        self._jobs = [self.moving]
        # What was found lies in the archive that was asked, whatever the field says by now.
        self._asked = self.place
        self._doing = ""
        self._seat = object()
        self._build()
        self._lay_out()
        desk = self.desk
        desk.enter(self._seat, (desk.case_changed, self._show), (desk.result_changed, self._show))
        self.destroyed.connect(partial(_release, desk, self._seat, self._jobs))
        self._show()

    def _build(self) -> None:
        self.setWindowTitle("Archive")
        self.form = ArchiveForm(self.place.url)
        self.form.search_wanted.connect(self.search)
        self.form.sign_in_wanted.connect(self.sign_in)
        self.form.sign_out_wanted.connect(self.sign_out)
        menu = self.form.menu
        menu.addAction("Certificates of the hospital (PEM)...", self.ask_certificates)
        self.no_certificates: Any = menu.addAction(
            "Certificates of this system", partial(self._remember, ca=None)
        )
        menu.addAction("Our own certificate and key (PEM)...", self.ask_own)
        self.no_own: Any = menu.addAction(
            "No certificate of our own", partial(self._remember, certificate=None)
        )
        menu.addAction("Our own title (DIMSE)...", self.ask_title)
        menu.addAction("Port for series (DIMSE, C-MOVE)...", self.ask_port)
        menu.addSeparator()
        menu.addAction("Folder for fetched series...", self.ask_folder)
        self.copies: Any = menu.addAction("Copies without the patient...", self.ask_copies)
        self.bar = QProgressBar()
        self.bar.setToolTip("How many files have arrived, or were stored")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.status = words("What is being done")
        self.stop = button("Cancel", "Stop; nothing that is not whole is kept (Esc)", self.cancel)
        self.message = Message()
        self.count = words("How many series were found")
        self.table = ArchiveTable()
        self.table.chosen.connect(lambda match: self._bring([match]))
        self.table.changed.connect(self._show)
        self.fetch = button(
            "&Fetch",
            "Copy the selected series to this machine; a single one is opened, too",
            lambda: self._bring(self.table.selected),
        )
        self.open = button("&Open", "Open the selected series that is here already", self.open_selected)
        self.add = button(
            "Add to worklist...",
            "Put the selected series that are here on a worklist, where they wait for the detector",
            self.ask_worklist,
        )
        self.results = SendSection(self.desk, self._address)
        self.results.agreed.connect(self._send)
        self.results.problem.connect(self._on_failed)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        self.running = QWidget()
        beside = QVBoxLayout()
        beside.setSpacing(1)
        beside.addWidget(self.status)
        beside.addWidget(self.bar)
        place = row(self.stop)
        place.addLayout(beside, 1)
        self.running.setLayout(place)
        for widget in (self.form, self.running, self.message, self.count):
            layout.addWidget(widget)
        layout.addWidget(self.table, 1)
        layout.addLayout(row(self.fetch, self.open, self.add, stretch=2))
        layout.addWidget(self.results)
        self.setMinimumWidth(WIDTH)

    # What can be done now

    def _show(self) -> None:
        busy, selected = self.busy, self.table.selected
        here = bool(self._here(selected))
        self.running.setVisible(busy)
        for widget in (self.form.search, self.form.sign_in, self.form.sign_out, self.form.more):
            widget.setEnabled(not busy)
        self.fetch.setEnabled(bool(selected) and not busy)
        self.open.setEnabled(here and not busy)
        self.add.setEnabled(here and not busy)
        self.results.refresh(busy=busy)
        self.copies.setEnabled(bool(selected) and not busy)
        self.no_certificates.setEnabled(self.place.ca is not None)
        self.no_own.setEnabled(self.place.certificate is not None)

    def _here(self, matches: Sequence[pacs.Match]) -> dict[pacs.Match, Path]:
        """Give the folders of those series that are here already."""
        folder = self.place.folder
        places = {} if folder is None else {match: folder / match.folder for match in matches}
        return {match: place for match, place in places.items() if place.is_dir()}

    def _mark(self) -> None:
        self.table.matches.set_here(self._here(self.table.matches.matches))
        self._show()

    @property
    def busy(self) -> bool:
        """Whether something runs that the reader waits for."""
        return bool(self._doing)

    @property
    def idle(self) -> bool:
        """Whether nothing runs any more, not even what nobody waits for."""
        return all(jobs.idle for jobs in self._jobs)

    def _begin(
        self, doing: str, jobs: Jobs, make: Callable[[], Steps[Any]], done: Callable[[Any], object]
    ) -> None:
        self._doing = doing
        self.message.clear_text()
        self.bar.setRange(0, 0)
        self.status.setText("")
        self._show()
        listener: Listener[Any] = Listener(
            done=partial(self._on_done, done),
            failed=self._on_failed,
            progress=self._on_progress,
            stopped=self._on_stopped,
        )
        jobs.start(make, listener)

    def _asking(self) -> Jobs:
        """Give what can ask at once, though an archive may still keep an earlier question waiting."""
        self._jobs[:] = [self.moving, *(jobs for jobs in self._jobs[1:] if not jobs.idle), Jobs(listed=False)]
        return self._jobs[-1]

    def _on_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        self.status.setText(progress.text)

    def _on_done(self, done: Callable[[Any], object], result: Any) -> None:
        self._doing = ""
        done(result)
        self._mark()

    def _on_failed(self, error: Exception) -> None:
        self._doing = ""
        self.message.error(archive_words(error))
        self._mark()

    def _on_stopped(self) -> None:
        self.message.note(_STOPPED.get(self._doing, "Cancelled."))
        self._doing = ""
        self._mark()

    def cancel(self) -> None:
        """Stop what runs; nothing that is not whole is kept."""
        stopped = [jobs.cancel() for jobs in self._jobs]
        if any(stopped):
            self._on_stopped()

    # The archive

    def _address(self) -> Address:
        """Give the address in the field, and remember it."""
        place = self.place.changed(address=self.form.address.text().strip())
        address = Address.of(place.url)
        if place != self.place:
            self.place = place
            place.write()
        return address

    def _remember(self, **values: str | int | Path | None) -> None:
        self.place = self.place.changed(**values)
        self._heard(self.place.write)
        self._mark()

    def _heard(self, act: Callable[[], object]) -> None:
        try:
            act()
        except AnomalyError as error:
            self._on_failed(error)

    def ask_certificates(self) -> None:
        """Ask which certificates to trust."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Certificates of the hospital's authority", "", "PEM (*.pem *.crt *.cer);;All files (*)"
        )
        if chosen:
            self._remember(ca=Path(chosen))

    def ask_own(self) -> None:
        """Ask for our own certificate, which an archive may want to see."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Our own certificate with its key", "", "PEM (*.pem);;All files (*)"
        )
        if chosen:
            self._remember(certificate=Path(chosen))

    def ask_title(self) -> None:
        """Ask by which title the archive knows this machine."""
        title, given = QInputDialog.getText(
            self, "Our own title", "Application entity title, up to 16 letters", text=self.place.calling
        )
        if given and title.strip():
            self._remember(calling=title.strip())

    def ask_port(self) -> None:
        """Ask for the port of this machine to which an archive sends series, where it refuses C-GET."""
        port, given = QInputDialog.getInt(
            self,
            "Port for series",
            "Port of this machine; 0 for none (C-GET)",
            self.place.move_port or 0,
            0,
            65535,
        )
        if given:
            self._remember(move_port=port or None)

    def ask_folder(self) -> Path | None:
        """Ask where fetched series go, and remember it; None where the reader thinks better of it."""
        proposed = self.place.folder or fetched_folder()
        is_new = not proposed.exists()
        with suppress(OSError):
            proposed.mkdir(parents=True, exist_ok=True)
        chosen = QFileDialog.getExistingDirectory(self, "Folder for fetched series", str(proposed))
        if is_new and Path(chosen) != proposed:
            with suppress(OSError):  # it stays if something is in it by now
                proposed.rmdir()
        if not chosen:
            return None
        self._remember(folder=Path(chosen))
        return Path(chosen)

    def sign_in(self) -> None:
        """Ask for a password or a token, and keep it in the keyring."""
        try:
            address = self._address()
            if address.title:
                raise ArchiveError(
                    f"{address.name} speaks DIMSE, which knows no passwords: it must know our title, "
                    f"{self.place.calling} (More > Our own title)."
                )
            pacs_module("credentials").refuse_in_the_open(address)
        except AnomalyError as error:
            self._on_failed(error)
            return
        self.signing = SignIn(f"{address.host}:{address.port}", self)
        self.signing.given.connect(partial(self._keep, address))
        self.signing.open()

    def _keep(self, address: Address, user: str, secret: str) -> None:
        said = "Kept in the keyring of this system. Search goes on with it."
        self._begin(
            "keys", self._asking(), partial(keeping, address, user, secret), lambda _: self.message.note(said)
        )

    def sign_out(self) -> None:
        """Take the password or token out of the keyring."""

        def say(was_there: bool) -> None:
            self.message.note("Taken out of the keyring." if was_there else "There was none in the keyring.")

        self._heard(lambda: self._begin("keys", self._asking(), partial(forgetting, self._address()), say))

    # Series

    def search(self) -> None:
        """List the series that fit."""
        if self.busy:
            return
        try:
            query, _ = self.form.query, self._address()
        except AnomalyError as error:
            self._on_failed(error)
            return
        self._asked = self.place
        self.table.set_matches(())
        self.count.setText("")
        self._begin(_SEARCH, self._asking(), partial(searching, self.place, query), self._on_found)

    def _on_found(self, matches: list[pacs.Match]) -> None:
        self.table.set_matches(matches)
        self.count.setText(f"{len(matches)} series")
        if matches:
            self.table.setFocus()
        else:
            self.message.note(
                "The archive holds no such series. Ask for less: a part of the name, more days."
            )

    def _bring(self, matches: Sequence[pacs.Match]) -> None:
        if self.busy or not matches:
            return
        folder = self.place.folder or self.ask_folder()
        if folder is not None:
            fetching = partial(bringing, self._asked, tuple(matches), folder)
            self._begin(_FETCH, self.moving, fetching, self._on_fetched)

    def _on_fetched(self, folders: list[Path]) -> None:
        if len(folders) == 1:
            self._open(folders[0])
        else:
            self.message.note(f"{len(folders)} series are in {folders[0].parent}. Select one, and Open it.")

    def ask_copies(self) -> None:
        """Ask for a key and a folder, and fetch the selected series without the patient, who never reaches the disk."""
        matches = tuple(self.table.selected)
        key = ask_key(self, self.place.key) if matches and not self.busy else None
        if key is None:
            return
        folder = QFileDialog.getExistingDirectory(
            self, "Folder for copies without the patient", str(key.parent)
        )
        if folder:
            self._remember(key=key)
            copying = partial(bringing, self._asked, matches, Path(folder), key=key)
            self._begin(_FETCH, self.moving, copying, partial(self._on_copied, key))

    def _on_copied(self, key: Path, folders: list[Path]) -> None:
        self.message.note(
            f"{len(folders)} series without the patient are in {folders[0].parent}. Look at them before they leave the "
            f"building: pixels are not searched for words. Keep {key.name} apart from them."
        )

    def open_selected(self) -> None:
        """Open the first of the selected series that is here."""
        here = list(self._here(self.table.selected).values())
        if here and not self.busy:
            self._open(here[0])

    def _open(self, folder: Path) -> None:
        self._begin("open", self.moving, partial(reading_series, folder), partial(self._on_read, folder))

    def _on_read(self, folder: Path, layers: list[LayerTuple]) -> None:
        for data, keywords, kind in layers:
            self.viewer.add_layer(Layer.create(data, dict(keywords), kind))
        self.message.note(
            f"{', '.join(keywords['name'] for _, keywords, _ in layers)} is open, from {folder}"
        )

    # The worklist

    def ask_worklist(self) -> None:
        """Ask for a worklist, and put the selected series that are here on it."""
        here = list(self._here(self.table.selected).values())
        if not here:
            return
        proposed = self.place.worklist or here[0].parent / "worklist.sqlite"
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Add to a worklist, or begin one",
            str(proposed),
            "Worklists (*.sqlite *.db);;All files (*)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if chosen:
            file = Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.sqlite")
            self._remember(worklist=file)
            done = partial(self._on_added, file, here[0].parent)
            self._begin("add", self._asking(), partial(adding, file, tuple(here)), done)

    def _on_added(self, file: Path, folder: Path, count: int) -> None:
        if count == 0:
            self.message.note(f"They are on {file.name} already.")
            return
        waiting = "1 new scan waits" if count == 1 else f"{count} new scans wait"
        self.message.note(
            f"{waiting} on {file.name}. Have the detector look: "
            f"napari-anomaly screen {folder} --worklist {file}"
        )

    # Results

    def _send(self, case: Case, name: str) -> None:
        folder = unsent_folder() / f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(3)}"
        make = partial(sending, self.place, writing_results(case, folder), folder)
        self._begin(_SEND, self.moving, make, partial(self._on_sent, case.scan.name, name))

    def _on_sent(self, scan: str, name: str, count: int) -> None:
        self.message.note(f"{count} files of {scan}, segmentation and report, are stored in {name}.")

    # The window

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Ask for room for names and descriptions; a dock that is narrower shows less of them."""
        return QSize(_WIDE, super().sizeHint().height())

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Cancel with Escape, from anywhere in the dock."""
        if event.key() == Qt.Key.Key_Escape and self.busy:
            self.cancel()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Stop what runs; nothing of it may arrive in a dock that is gone."""
        _release(self.desk, self._seat, self._jobs)
        super().closeEvent(event)


def _release(desk: Desk, seat: object, jobs: Sequence[Jobs], _: object = None) -> None:
    for each in jobs:
        each.close()
    desk.leave(seat)
