"""C-MOVE: the archive sends a series to a port of ours, which is open for as long as that takes.

Source: DICOM PS3.4 2024, C.4.2 (C-MOVE); PS3.7, 9.3.4 (responses and C-CANCEL).
"""

import ssl
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from socketserver import BaseServer
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address

__all__ = ["Moving"]

_MODEL = StudyRootQueryRetrieveInformationModelMove
_WAITING = 32  # files that have come and are not written yet; the archive waits then
_DONE, _PENDING, _CANCELLED = 0x0000, (0xFF00, 0xFF01), 0xFE00
_TAKEN, _NO_ROOM, _NOT_ASKED_FOR = 0x0000, 0xA700, 0xA900
_UNKNOWN_DESTINATION = 0xA801
_MESSAGE = 1
_PATIENCE = 0.2  # seconds between two looks at whether all is over
_GOODBYE = 2.0  # seconds for an archive that has sent everything to end the talk


@dataclass(slots=True)
class Moving:
    """One series that an archive sends to a port of ours.

    Parameters
    ----------
    address
        Where the archive is.
    calling
        Our own title, which the archive must know together with this machine and the port.
    port
        Where files come in.
    contexts
        What may come in: kinds, and the transfer syntaxes of each.
    timeout
        Seconds without a word from the archive after which it is given up.
    secured
        What we show, and whom we trust, where files come encrypted; None where they come in the open.
    """

    address: Address
    calling: str
    port: int
    contexts: Sequence[tuple[UID, Sequence[str]]]
    timeout: float
    secured: ssl.SSLContext | None = None
    _arrived: Queue[Dataset | ArchiveError | None] = field(default_factory=lambda: Queue(_WAITING))
    _over: threading.Event = field(default_factory=threading.Event)

    def files(self, association: Any, asked: Dataset) -> Generator[Dataset, None, None]:
        """Give the files of a series as they come; closing it cancels the transfer and closes the port.

        Parameters
        ----------
        association
            With the archive, in which C-MOVE was agreed upon.
        asked
            Which series, by its UIDs.

        Raises
        ------
        ArchiveError
            If the port is taken, or the archive refuses, does not know it, or cannot send all files.
        """
        # It may be silent for as long as files come in.
        association.dimse_timeout = association.network_timeout = None
        server = self._open(str(asked.SeriesInstanceUID))
        asking = threading.Thread(target=self._ask, args=(association, asked), daemon=True)
        asking.start()
        try:
            while (arrived := self._next()) is not None:
                yield arrived
        finally:
            self._over.set()
            if asking.is_alive() and association.is_established:
                with suppress(RuntimeError, ValueError):
                    association.send_c_cancel(_MESSAGE, query_model=_MODEL)
                asking.join(2.0)
            server.close()

    def _next(self) -> Dataset | None:
        try:
            arrived = self._arrived.get(timeout=self.timeout)
        except Empty:
            raise ArchiveError(
                f"{self.address.name} has sent nothing for {self.timeout:g} seconds. It must reach this machine at "
                f"port {self.port}: look at the firewall, or wait longer with --timeout SECONDS."
            ) from None
        if isinstance(arrived, ArchiveError):
            raise arrived
        return arrived

    def _open(self, series: str) -> Any:
        def take(event: Any) -> int:
            dataset = event.dataset
            if str(dataset.get("SeriesInstanceUID", "")) != series:
                return _NOT_ASKED_FOR
            dataset.file_meta = event.file_meta
            return _TAKEN if self._put(dataset) else _NO_ROOM

        entity = AE(ae_title=self.calling)
        entity.require_called_aet = True
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout
        for kind, syntaxes in self.contexts:
            entity.add_supported_context(kind, list(syntaxes))
        # An archive on this very machine needs no port that others could reach.
        place = "127.0.0.1" if self.address.local else ""
        try:
            server = entity.make_server(
                (place, self.port),
                secured=self.secured,
                evt_handlers=[(evt.EVT_C_STORE, take)],
                server_class=_Door,
            )
        except (OSError, OverflowError) as error:
            raise ArchiveError(
                f"Port {self.port} of this machine cannot be opened ({error}). Choose another one, and have it made "
                "known to the archive."
            ) from error
        threading.Thread(target=server.serve_forever, args=(_PATIENCE,), daemon=True).start()
        return server

    def _put(self, arrived: Dataset | ArchiveError | None) -> bool:
        """Hand something over; false if it is no longer wanted."""
        while not self._over.is_set():
            with suppress(Full):
                self._arrived.put(arrived, timeout=_PATIENCE)
                return True
        return False

    def _ask(self, association: Any, asked: Dataset) -> None:
        """Follow what the archive says of its work, to the end."""
        end: ArchiveError | None = ArchiveError(
            f"{self.address.name} breaks off. Check the network, and try again."
        )
        try:
            for status, _ in association.send_c_move(asked, self.calling, _MODEL, msg_id=_MESSAGE):
                code = status.get("Status")
                if code in _PENDING:
                    continue
                end = self._problem(code, int(status.get("NumberOfFailedSuboperations") or 0))
        # pynetdicom says in many ways that the talk is over.
        except (RuntimeError, ValueError, AttributeError):
            pass
        self._put(end)

    def _problem(self, code: int | None, failed: int) -> ArchiveError | None:
        if code in (_DONE, _CANCELLED) and not failed:
            return None
        if code is None:
            return ArchiveError(f"{self.address.name} breaks off. Check the network, and try again.")
        known = f"that {self.calling} is this machine, at port {self.port}"
        if code == _UNKNOWN_DESTINATION:
            return ArchiveError(
                f"{self.address.name} does not know where to send files to, or does not reach it. Have it told "
                f"{known}, and let no firewall lie between."
            )
        what = f"could not send {failed} files" if failed else f"refuses (status {code:04X})"
        return ArchiveError(
            f"{self.address.name} {what}. It must know {known}, and no firewall may lie between; ask where your "
            "archive is looked after."
        )


class _Door(ThreadedAssociationServer):
    """Lets callers in, each in a thread of its own, so that one who stays silent keeps nobody waiting."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *words: Any, secured: ssl.SSLContext | None, **named: Any) -> None:
        # pynetdicom would shake hands with one caller after the other, and wait for each without end.
        super().__init__(*words, **named)
        self._secured = secured
        self._inside: list[Any] = []

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Talk to a caller; one who is not trusted, or speaks in the open, is not listened to."""
        if self._secured is not None:
            request.settimeout(self.ae.network_timeout)
            try:
                request = self._secured.wrap_socket(request, server_side=True)
            except (OSError, ValueError):
                request.close()
                return
        self._inside.append(request)
        super().finish_request(request, client_address)

    def close(self) -> None:
        """Let those who are inside say good-bye, and close."""
        BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            association.join(_GOODBYE)
        # pynetdicom leaves those open whose other side was faster.
        for each in self._inside:
            each.close()
