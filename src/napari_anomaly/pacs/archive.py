"""Where an archive is, and what speaks its language."""

import logging
import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from napari_anomaly import extras
from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.match import Match, Query

__all__ = ["Address", "Archive", "connect", "pacs_module", "show_certificate", "tls_problem", "unlogged"]

_SCHEMES = {"http": 80, "https": 443, "dicom": 104, "dicoms": 2762}
_LIBRARIES = (
    *("dicomanonymizer", "dicomweb_client", "highdicom", "keyring", "pydicom", "pynetdicom"),
    "requests",
)
# They write what they are asked for, which names patients.
_TALKERS = ("dicomweb_client", "pynetdicom", "requests", "urllib3", "pydicom")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@runtime_checkable
class Archive(Protocol):
    """A hospital's archive."""

    def find(self, query: Query) -> Generator[Match, None, None]:
        """Give the series that a query asks for one by one; closing it asks for no more."""
        ...

    def search(self, query: Query) -> list[Match]:
        """List the series that a query asks for."""
        ...

    def fetch(self, match: Match) -> Generator[Any, None, None]:
        """Give the datasets of a series one by one; closing it stops the transfer."""
        ...

    def store(self, dataset: Any) -> None:
        """Put one dataset into the archive."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where an archive is.

    Parameters
    ----------
    url
        Without a user or a password.
    scheme
        ``http``, ``https`` (DICOMweb); ``dicom``, ``dicoms`` (DIMSE, plain and over TLS).
    host, port
        Which machine.
    title
        The archive's application entity title; for DIMSE only.
    """

    url: str
    scheme: str
    host: str
    port: int
    title: str = ""

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read an address: ``https://pacs.example/dicom-web``, ``dicom://TITLE@host:104``.

        Raises
        ------
        ArchiveError
            If it is none, or holds a password.
        """
        parts = urlsplit(text.strip())
        # A port that is no number shows itself only when it is asked for.
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in _SCHEMES or not parts.hostname or port == -1:
            raise ArchiveError(
                "The address of an archive begins with https:// (DICOMweb: https://pacs.example/dicom-web) or "
                "dicom:// (DIMSE: dicom://TITLE@pacs.example:104). Ask for it where your archive is looked after."
            )
        web = parts.scheme.startswith("http")
        if parts.password or (web and parts.username):
            raise ArchiveError(
                "A password does not belong into an address: it would be seen by others on this machine. "
                "Keep it in the system's keyring: napari-anomaly pacs login"
            )
        if not web and not 0 < len(parts.username or "") <= 16:
            raise ArchiveError(
                "An address of DIMSE names the archive's application entity title, of up to 16 letters: "
                "dicom://TITLE@pacs.example:104"
            )
        found = port or _SCHEMES[parts.scheme]
        return cls(text.strip().rstrip("/"), parts.scheme, parts.hostname, found, parts.username or "")

    @property
    def safe(self) -> bool:
        """Whether others on the network cannot read along."""
        return self.scheme in ("https", "dicoms") or self.local

    @property
    def local(self) -> bool:
        """Whether it is on this very machine."""
        return self.host in _LOOPBACK

    @property
    def name(self) -> str:
        """How to call it in a message."""
        return f"The archive at {self.host}:{self.port}"


def connect(
    address: str,
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    calling: str = "NAPARIANOMALY",
    timeout: float = 30.0,
    move_port: int | None = None,
) -> Archive:
    """Make ready to talk to an archive; nothing is sent yet.

    Parameters
    ----------
    address
        See `Address.of`.
    ca
        Certificates (PEM) that a TLS connection trusts, in place of the system's: a hospital's own authority.
    certificate
        Our own certificate with its key (PEM), which an archive may ask for over TLS, and which it sees when it sends
        to `move_port`.
    calling
        Our own application entity title, which a DIMSE archive must know.
    timeout
        Seconds to wait for an answer.
    move_port
        Port of this machine to which a DIMSE archive sends what is fetched (C-MOVE), where it gives nothing away
        over the association that asks (C-GET).

    Raises
    ------
    ArchiveError
        If the address is none, there are no certificates, or the archive needs no port or must not use one.
    MissingExtra
        If what talks to archives is not installed.
    """
    place = Address.of(address)
    if ca is not None:
        _check_certificates(ca)
    if certificate is not None:
        _check_own(certificate, place)
    if place.title:
        archive: Archive = pacs_module("dimse").DimseArchive(
            place, ca=ca, certificate=certificate, calling=calling, timeout=timeout, move_port=move_port
        )
        return archive
    if move_port is not None:
        raise ArchiveError(
            f"{place.name} speaks DICOMweb, which needs no port for what is fetched. Leave --move out."
        )
    credential = pacs_module("credentials").recall(place)
    web: Archive = pacs_module("web").WebArchive(
        place, credential, ca=ca, certificate=certificate, timeout=timeout
    )
    return web


def _check_own(certificate: Path, place: Address) -> None:
    if place.scheme not in ("https", "dicoms"):
        raise ArchiveError(
            f"{place.name} is reached without encryption, where no certificate is shown. Use its address with "
            "https:// or dicoms://, or leave our own certificate out."
        )
    if not certificate.is_file():
        raise ArchiveError(f"{certificate} is not there. Name the file with our own certificate and its key.")
    show_certificate(ssl.create_default_context(), certificate)


def show_certificate(context: ssl.SSLContext, certificate: Path) -> None:
    """Have a context show our own certificate.

    Parameters
    ----------
    context
        Of a client or a server.
    certificate
        With its key, which has no password: there is nobody to ask for one while an archive talks.

    Raises
    ------
    ArchiveError
        If there is no such pair in the file.
    """
    try:
        context.load_cert_chain(certificate, password=lambda: b"")
    except (ssl.SSLError, OSError) as error:
        raise ArchiveError(
            f"{certificate} holds no certificate together with its key. Both must be in the file, written as PEM, the "
            "key without a password: -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----"
        ) from error


def _check_certificates(ca: Path) -> None:
    if not ca.is_file():
        raise ArchiveError(
            f"{ca} is not there. Name a file with the certificates of your hospital's authority."
        )
    try:
        ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        raise ArchiveError(
            f"{ca} holds no certificates that can be read. They must be written as PEM, which begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from error


def tls_problem(told: str) -> str:
    """Say in the user's words why there is no encrypted talk.

    Parameters
    ----------
    told
        What OpenSSL says.
    """
    if "certificate required" in told or "handshake failure" in told or "unknown ca" in told:
        return (
            "does not accept us without a certificate of our own that it knows. Ask for one where your archive is "
            "looked after, and name it: dock Archive, or --certificate FILE"
        )
    if "mismatch" in told:
        return (
            "shows a certificate of another machine. Use the address that its certificate is made out to; if that is "
            "this one, somebody may be in between: ask where your archive is looked after"
        )
    if "certificate verify failed" in told:
        return "shows a certificate that is not trusted. Name its authority: dock Archive, or --ca FILE"
    if "EOF occurred" in told:
        return (
            "does not agree on encryption. It may want a certificate of our own (dock Archive, or --certificate FILE), "
            "or this address and port may be for talk in the open"
        )
    return "does not agree on encryption. Check its address and port: this one may be for talk in the open"


def pacs_module(name: str) -> Any:
    """Load a module of this package that needs the extra ``pacs``.

    Raises
    ------
    MissingExtra
        If the libraries of the extra are not installed.
    """
    return extras.load(f"pacs.{name}", _LIBRARIES, extra="pacs", what="The archive")


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep libraries from writing what is asked and answered, which names patients, into any log."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    before = [logger.disabled for logger in loggers]
    children = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _TALKERS
    ]
    before_children = [logger.disabled for logger in children]
    try:
        for logger in (*loggers, *children):
            logger.disabled = True
        yield
    finally:
        for logger, was in zip((*loggers, *children), (*before, *before_children), strict=True):
            logger.disabled = was
