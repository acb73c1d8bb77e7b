"""Encrypted ways to an archive: who is trusted, who is not, and that no secret goes in the open."""

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from archives import dimse_archive, web_archive
from dicoms import classic, ramp
from napari_anomaly import pacs
from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address
from napari_anomaly.pacs.credentials import Credential, keep
from napari_anomaly.progress import drain
from orthanc import free_port

SLICES = ramp((3, 6, 5))
WAYS = {"web": web_archive, "dimse": dimse_archive}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def shown(authority, host, *, asks=False):
    """Make what a server shows that the authority knows under a name; it may ask for the same of us."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def own(authority, tmp_path):
    """Give our own certificate with its key, made out to this machine."""
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    return tmp_path / "own.pem"


@pytest.fixture
def ca(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.mark.parametrize("way", WAYS)
def test_an_authority_that_is_named_is_trusted(ring, authority, ca, tmp_path, way):
    with WAYS[way](tls=shown(authority, "127.0.0.1")) as (address, *_):
        archive = pacs.connect(address, ca=ca, timeout=20)
        drain(pacs.storing(archive, classic(tmp_path / "in", SLICES)))
        (match,) = archive.search(pacs.Query(patient_id="ID4711"))
        (folder,) = drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("way", WAYS)
def test_nobody_else_is_trusted(ring, authority, tmp_path, monkeypatch, way):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with WAYS[way](tls=shown(authority, "127.0.0.1")) as (address, held, *_):
        for ca in (None, other):
            with pytest.raises(ArchiveError, match="certificate that is not trusted") as caught:
                pacs.connect(address, ca=ca, timeout=20).search(pacs.Query(patient_id="ID4711"))
            assert "ID4711" not in str(caught.value)
    assert held == []


def test_who_is_named_counts_and_not_the_environment(ring, authority, ca, tmp_path, monkeypatch):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with web_archive(tls=shown(authority, "127.0.0.1")) as (address, _, _):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        assert pacs.connect(address, ca=ca).search(pacs.Query()) == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca))
        with pytest.raises(ArchiveError, match="not trusted"):
            pacs.connect(address, ca=other).search(pacs.Query())


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_of_another_machine_is_refused(ring, authority, ca, way):
    with (
        WAYS[way](tls=shown(authority, "pacs.example")) as (address, *_),
        pytest.raises(ArchiveError, match="certificate of another machine"),
    ):
        pacs.connect(address, ca=ca, timeout=20).search(pacs.Query())


@pytest.mark.parametrize("way", WAYS)
def test_a_port_for_talk_in_the_open_is_told(ring, ca, way):
    with WAYS[way]() as (address, *_):
        secured = address.replace("http:", "https:").replace("dicom:", "dicoms:")
        with pytest.raises(ArchiveError, match=r"does not agree on encryption|cannot be reached"):
            pacs.connect(secured, ca=ca, timeout=3).search(pacs.Query())


@pytest.mark.parametrize(
    ("credential", "header"),
    [(Credential("secret", "reader"), "Basic cmVhZGVyOnNlY3JldA=="), (Credential("abc"), "Bearer abc")],
)
def test_passwords_and_tokens_go_over_tls(ring, authority, ca, credential, header):
    with web_archive(wants=header, tls=shown(authority, "127.0.0.1")) as (address, _, _):
        keep(Address.of(address), credential)
        assert pacs.connect(address, ca=ca).search(pacs.Query()) == []


@pytest.mark.parametrize("credential", [Credential("secret", "reader"), Credential("abc")])
def test_a_secret_does_not_follow_into_the_open(ring, authority, ca, credential):
    seen = []

    class Away(BaseHTTPRequestHandler):
        to = ""

        def log_message(self, *words):
            """Say nothing."""

        def do_GET(self):
            seen.append((self.server.server_address[1], self.headers.get("Authorization")))
            self.send_response(307 if self.to else 200)
            if self.to:
                self.send_header("Location", self.to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

    plain = ThreadingHTTPServer(("127.0.0.1", 0), Away)
    secured = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("There", (Away,), {"to": f"http://127.0.0.1:{plain.server_address[1]}"})
    )
    secured.socket = shown(authority, "127.0.0.1").wrap_socket(secured.socket, server_side=True)
    threads = [
        threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.02})
        for each in (plain, secured)
    ]
    for thread in threads:
        thread.start()
    try:
        address = f"https://127.0.0.1:{secured.server_address[1]}"
        keep(Address.of(address), credential)
        with pytest.raises(ArchiveError, match="leads elsewhere"):
            pacs.connect(address, ca=ca).search(pacs.Query(patient_id="ID4711"))
    finally:
        for server, thread in zip((plain, secured), threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
    assert {port for port, _ in seen} == {secured.server_address[1]}
    assert seen[0][1] is not None


def test_what_is_no_certificate_is_told(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ArchiveError, match="holds no certificates"):
        pacs.connect("https://pacs.example", ca=tmp_path / "ca.pem")


@pytest.mark.parametrize("way", WAYS)
def test_an_archive_that_asks_for_a_certificate_gets_ours(ring, authority, ca, own, tmp_path, way):
    with WAYS[way](tls=shown(authority, "127.0.0.1", asks=True)) as (address, *_):
        archive = pacs.connect(address, ca=ca, certificate=own, timeout=20)
        drain(pacs.storing(archive, classic(tmp_path / "in", SLICES)))
        assert len(archive.search(pacs.Query(patient_id="ID4711"))) == 1
        with pytest.raises(ArchiveError, match="certificate of our own"):
            pacs.connect(address, ca=ca, timeout=20).search(pacs.Query(patient_id="ID4711"))


def test_files_are_moved_to_an_encrypted_port(authority, ca, own, tmp_path):
    port = free_port()
    sending = ssl.create_default_context(cafile=str(ca))
    authority.issue_cert("127.0.0.1").configure_cert(sending)
    tls = shown(authority, "127.0.0.1", asks=True)
    with dimse_archive(tls=tls, sends_to={"READER": port}, sends_over=sending) as (address, _):
        drain(pacs.storing(pacs.connect(address, ca=ca, certificate=own), classic(tmp_path / "in", SLICES)))
        archive = pacs.connect(address, ca=ca, certificate=own, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query(patient_id="ID4711"))
        (folder,) = drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert len(list(folder.iterdir())) == 3


def test_nobody_sends_to_that_port_in_the_open(authority, ca, own, tmp_path):
    port = free_port()
    tls = shown(authority, "127.0.0.1", asks=True)
    with dimse_archive(tls=tls, sends_to={"READER": port}) as (address, _):
        drain(pacs.storing(pacs.connect(address, ca=ca, certificate=own), classic(tmp_path / "in", SLICES)))
        archive = pacs.connect(address, ca=ca, certificate=own, calling="READER", timeout=20, move_port=port)
        (match,) = archive.search(pacs.Query(patient_id="ID4711"))
        with pytest.raises(ArchiveError, match=f"port {port}"):
            drain(pacs.fetching(archive, [match], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_who_calls_and_says_nothing_keeps_nobody_waiting(authority, ca, own, tmp_path):
    port, over, silent = free_port(), threading.Event(), []
    sending = ssl.create_default_context(cafile=str(ca))
    authority.issue_cert("127.0.0.1").configure_cert(sending)

    def call():
        while not over.wait(0.01):
            with suppress(OSError):
                silent.append(socket.create_connection(("127.0.0.1", port), timeout=1))
                return

    calling = threading.Thread(target=call, daemon=True)
    tls = shown(authority, "127.0.0.1", asks=True)
    with dimse_archive(tls=tls, sends_to={"READER": port}, sends_over=sending) as (address, _):
        drain(pacs.storing(pacs.connect(address, ca=ca, certificate=own), classic(tmp_path / "in", SLICES)))
        archive = pacs.connect(address, ca=ca, certificate=own, calling="READER", timeout=60, move_port=port)
        (match,) = archive.search(pacs.Query(patient_id="ID4711"))
        calling.start()
        (folder,) = drain(pacs.fetching(archive, [match], tmp_path / "out"))
    over.set()
    calling.join()
    for each in silent:
        each.close()
    assert len(list(folder.iterdir())) == 3


def test_an_encrypted_port_needs_a_certificate(ca):
    with pytest.raises(ArchiveError, match=r"needs a certificate of our own.*--certificate FILE"):
        pacs.connect("dicoms://ARCHIVE@pacs.example:2762", ca=ca, move_port=11112)


@pytest.mark.parametrize("address", ["http://127.0.0.1", "dicom://ARCHIVE@127.0.0.1:104"])
def test_a_certificate_is_shown_over_tls_alone(own, address):
    with pytest.raises(ArchiveError, match="no certificate is shown"):
        pacs.connect(address, certificate=own)


def test_what_is_no_certificate_of_ours_is_told(authority, ca, own, tmp_path):
    with pytest.raises(ArchiveError, match="is not there"):
        pacs.connect("https://pacs.example", certificate=tmp_path / "none.pem")
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(own.read_bytes(), None)
    closed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    locked.write_bytes(closed + ca.read_bytes())
    for each in (ca, locked):
        with pytest.raises(ArchiveError, match="holds no certificate together with its key"):
            pacs.connect("https://pacs.example", certificate=each)
