"""Archives in this process, on loopback: one speaks DICOMweb, one DIMSE. Both hold what was stored into them."""

import io
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from pydicom import Dataset, dcmread, dcmwrite
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

BOUNDARY = "frontier"


class Held(list):
    """Datasets of an archive, in the order in which they came."""

    cancelled = False

    def matching(self, asked: dict[str, str]) -> list[Dataset]:
        return [each for each in self if all(_fits(each, key, value) for key, value in asked.items())]

    def first_of_each(self, keyword: str, asked: dict[str, str]) -> list[Dataset]:
        first: dict[str, Dataset] = {}
        for each in self.matching(asked):
            first.setdefault(str(each.get(keyword)), each)
        return list(first.values())


def _fits(dataset: Dataset, keyword: str, value: str) -> bool:
    found = str(dataset.get("Modality" if keyword == "ModalitiesInStudy" else keyword, ""))
    if keyword == "StudyDate" and "-" in value:
        first, last = value.split("-")
        return (not first or first <= found) and (not last or found <= last)
    return fnmatch(found, value)


def _answer(dataset: Dataset, held: Held, level: str) -> Dataset:
    answer = Dataset()
    words = {
        "STUDY": ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "AccessionNumber"),
        "SERIES": ("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber"),
    }[level]
    for keyword in words:
        setattr(answer, keyword, dataset.get(keyword, ""))
    if level == "SERIES":
        answer.StudyInstanceUID = dataset.StudyInstanceUID
        count = len(held.matching({"SeriesInstanceUID": dataset.SeriesInstanceUID}))
        answer.NumberOfSeriesRelatedInstances = count
    return answer


def _without_kind() -> Dataset:
    """Make a file that cannot be sent."""
    made = Dataset()
    made.Modality = "MR"
    return made


class _Web(BaseHTTPRequestHandler):
    held: Held
    wants: str = ""
    asked: list[str]
    refuse: int = 0

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self._refused():
            return
        parts = urlsplit(self.path)
        names = parts.path.strip("/").split("/")
        asked = {key: value for key, value in parse_qsl(parts.query) if key[0].isupper()}
        if names[-1] == "studies":
            found = self.held.first_of_each("StudyInstanceUID", asked)
            self._json([_answer(each, self.held, "STUDY").to_json_dict() for each in found])
        elif names[-1] == "series":
            found = self.held.first_of_each("SeriesInstanceUID", {**asked, "StudyInstanceUID": names[-2]})
            self._json([_answer(each, self.held, "SERIES").to_json_dict() for each in found])
        else:
            self._files(self.held.matching({"SeriesInstanceUID": names[-1]}))

    def do_POST(self) -> None:
        if self._refused():
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        marker = b"--" + self.headers["Content-Type"].split('boundary="')[1].rstrip('"').encode()
        for part in body.split(marker)[1:-1]:
            self.held.append(dcmread(io.BytesIO(part.split(b"\r\n\r\n", 1)[1][:-2])))
        self._json(Dataset().to_json_dict())

    def _refused(self) -> bool:
        status = self.refuse or (401 if self.headers.get("Authorization", "") != self.wants else 0)
        if status:
            self.send_error(status)
        return bool(status)

    def _json(self, content: object) -> None:
        self._send("application/dicom+json", json.dumps(content).encode())

    def _files(self, found: list[Dataset]) -> None:
        body = b""
        for each in found:
            with io.BytesIO() as file:
                dcmwrite(file, each)
                part = file.getvalue()
            body += f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        self._send(kind, body + f"\r\n--{BOUNDARY}--".encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def web_archive(
    *, wants: str = "", refuse: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, Held, list[str]]]:
    """Run an archive that speaks DICOMweb; give its address, what it holds, and what it was asked for.

    Parameters
    ----------
    wants
        The header of authorization that it asks for.
    refuse
        Status that it answers everything with.
    tls
        What it shows, where it speaks over TLS alone.
    """
    held, asked = Held(), []
    handler = type("Web", (_Web,), {"held": held, "wants": wants, "asked": asked, "refuse": refuse})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # Who shakes no hands is not our mistake.
    server.handle_error = lambda *words: None
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}", held, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Front(socketserver.BaseRequestHandler):
    """Decrypt what comes, pass it on, and encrypt what comes back."""

    port: int
    tls: ssl.SSLContext

    def handle(self) -> None:
        try:
            outside = self.tls.wrap_socket(self.request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with outside, socket.create_connection(("127.0.0.1", self.port)) as inside:
            back = threading.Thread(target=_pass_on, args=(inside, outside))
            back.start()
            _pass_on(outside, inside)
            back.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while content := one.recv(1 << 16):
            other.sendall(content)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@contextmanager
def tls_front(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """Run what speaks TLS in front of a server of this machine that does not; give its port."""
    server = socketserver.ThreadingTCPServer(
        ("127.0.0.1", 0), type("Front", (_Front,), {"port": port, "tls": tls})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def dimse_archive(
    *,
    knows: str = "",
    tls: ssl.SSLContext | None = None,
    sends_to: dict[str, int] | None = None,
    sends_over: ssl.SSLContext | None = None,
    loses: int = 0,
) -> Iterator[tuple[str, Held]]:
    """Run an archive that speaks DIMSE; give its address, and what it holds.

    Parameters
    ----------
    knows
        The only title that it talks to.
    tls
        What it shows, where it speaks over TLS alone.
    sends_to
        Ports of this machine by title, to which it moves files; then it gives none away in another way.
    sends_over
        How it sends there, where that is encrypted.
    loses
        How many files it fails to send.
    """
    held = Held()

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        held.append(dataset)
        return 0x0000

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = {each.keyword: str(each.value) for each in event.identifier if each.value}
        level = asked.pop("QueryRetrieveLevel")
        asked.pop("SpecificCharacterSet", None)
        for each in held.first_of_each(f"{level.capitalize()}InstanceUID", asked):
            yield 0xFF00, _answer(each, held, level)

    def get(event: evt.Event) -> Iterator[object]:
        found = held.matching({"SeriesInstanceUID": str(event.identifier.SeriesInstanceUID)})
        yield len(found)
        for each in found:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, each

    def move(event: evt.Event) -> Iterator[object]:
        port = (sends_to or {}).get(event.move_destination)
        if port is None:
            yield None, None
            return
        yield "127.0.0.1", port, {"tls_args": (sends_over, "127.0.0.1")} if sends_over else {}
        found = held.matching({"SeriesInstanceUID": str(event.identifier.SeriesInstanceUID)})
        yield len(found)
        for number, each in enumerate(found):
            if event.is_cancelled:
                held.cancelled = True
                yield 0xFE00, None
                return
            yield 0xFF00, each if number >= loses else _without_kind()

    entity = AE(ae_title="ARCHIVE")
    if knows:
        entity.require_calling_aet = [knows]
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, scp_role=True, scu_role=True)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    # pynetdicom leaves sockets open whose other side closed them first.
    opened: list[socket.socket] = []
    handlers = [
        (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket)),
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_FIND, find),
        (evt.EVT_C_GET, get),
        (evt.EVT_C_MOVE, move),
    ]
    if sends_to is None:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    else:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        entity.requested_contexts = AllStoragePresentationContexts[:128]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    try:
        yield f"dicom{'s' if tls else ''}://ARCHIVE@127.0.0.1:{server.server_address[1]}", held
    finally:
        talking = server.active_associations
        server.shutdown()
        for association in talking:
            association.join(5.0)
        for each in opened:
            each.close()
