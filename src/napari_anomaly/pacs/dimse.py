"""An archive that speaks DIMSE: C-FIND, C-GET or C-MOVE, and C-STORE, through pynetdicom.

Source: DICOM PS3.4 2024, annex B (storage), C.4 (query and retrieve); PS3.15, B.12 (TLS).
"""

import socket
import ssl
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    ParametricMapStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.instances import quiet
from napari_anomaly.pacs.archive import Address, show_certificate, tls_problem, unlogged
from napari_anomaly.pacs.match import SERIES_FIELDS, STUDY_FIELDS, Match, Query
from napari_anomaly.pacs.moving import Moving

__all__ = ["DimseArchive"]

_IMAGES = (
    *(CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage),
    *(MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage),
    *(PositronEmissionTomographyImageStorage, EnhancedPETImageStorage),
    LegacyConvertedEnhancedPETImageStorage,
)
# What else a study holds: results, ours among them.
_OTHERS = (
    *(SegmentationStorage, ParametricMapStorage, SecondaryCaptureImageStorage),
    *(Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage, BasicTextSRStorage),
    *(KeyObjectSelectionDocumentStorage, GrayscaleSoftcopyPresentationStateStorage),
)
# One context for each: an archive chooses one syntax of a context, and may hold files in several.
_SYNTAXES = (
    "1.2.840.10008.1.2",  # implicit little endian
    "1.2.840.10008.1.2.1",  # explicit little endian
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG
    "1.2.840.10008.1.2.4.57",  # lossless JPEG
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.4.91",
)
_PENDING = (0xFF00, 0xFF01)
_MOST_CONTEXTS = 128
_LISTEN = 2.0  # seconds for an archive to say what it misses


class DimseArchive:
    """An archive that speaks DIMSE.

    Parameters
    ----------
    address
        Where it is, and its title.
    ca
        Certificates that a TLS connection trusts.
    certificate
        Our own one, with its key.
    calling
        Our own title.
    timeout
        Seconds to wait for an answer.
    move_port
        Our own port for what is fetched by C-MOVE; C-GET if left out.
    """

    def __init__(
        self,
        address: Address,
        *,
        ca: Path | None,
        calling: str,
        timeout: float,
        certificate: Path | None = None,
        move_port: int | None = None,
    ) -> None:
        if not 0 < len(calling) <= 16:
            raise ArchiveError("Our own application entity title has 1 to 16 letters. Choose another.")
        if move_port is not None and address.scheme == "dicoms" and certificate is None:
            raise ArchiveError(
                "What an archive sends to a port of ours is to be encrypted, as its address says: that needs a "
                "certificate of our own. Name it: dock Archive, or --certificate FILE; or leave --move out."
            )
        self._address = address
        self._calling = calling
        self._timeout = timeout
        self._move_port = move_port
        self._tls = self._receiving = None
        if address.scheme == "dicoms":
            trusted = str(ca) if ca else None
            self._tls = (ssl.create_default_context(cafile=trusted), address.host)
            if certificate is not None:
                show_certificate(self._tls[0], certificate)
                # Only who is trusted may send to our port, too.
                self._receiving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted)
                self._receiving.verify_mode = ssl.CERT_REQUIRED
                if ca is None:
                    self._receiving.load_default_certs(ssl.Purpose.CLIENT_AUTH)
                show_certificate(self._receiving, certificate)

    def search(self, query: Query) -> list[Match]:
        """List the series that a query asks for; see `find`."""
        return list(self.find(query))

    def find(self, query: Query) -> Generator[Match, None, None]:
        """Give the series that a query asks for, study by study.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached or refuses.
        """
        contexts = [(StudyRootQueryRetrieveInformationModelFind, _SYNTAXES[:2])]
        with self._association(contexts) as association:
            fields = (*STUDY_FIELDS, "ModalitiesInStudy")
            for study in self._find(association, "STUDY", fields, query.of_study):
                narrowed = {**query.of_series, "StudyInstanceUID": str(study.StudyInstanceUID)}
                for series in self._find(association, "SERIES", SERIES_FIELDS, narrowed):
                    yield Match.of(_values(study), _values(series))

    def _find(self, association: Any, level: str, fields: Sequence[str], given: Any) -> list[Dataset]:
        asked = Dataset()
        # Names may hold any letters.
        asked.SpecificCharacterSet = "ISO_IR 192"
        asked.QueryRetrieveLevel = level
        for keyword in fields:
            setattr(asked, keyword, None if keyword.startswith("NumberOf") else "")
        for keyword, value in given.items():
            setattr(asked, keyword, value)
        found = []
        for status, answer in association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind):
            code = self._checked(status)
            if code in _PENDING and answer is not None:
                found.append(answer)
        return found

    def fetch(self, match: Match) -> Generator[Any, None, None]:
        """Give the files of a series one by one, as the archive holds them.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached, refuses, or breaks off.
        """
        asked = Dataset()
        asked.QueryRetrieveLevel = "SERIES"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = match.study, match.series
        if self._move_port is None:
            yield from self._got(asked)
        else:
            yield from self._moved(asked, self._move_port)

    def _moved(self, asked: Dataset, port: int) -> Generator[Dataset, None, None]:
        """Have files sent to a port of ours."""
        accepted: list[tuple[UID, Sequence[str]]] = [(image, _SYNTAXES) for image in _IMAGES]
        accepted += [(other, _SYNTAXES[:2]) for other in _OTHERS]
        moving = Moving(self._address, self._calling, port, accepted, self._timeout, self._receiving)
        contexts = [(StudyRootQueryRetrieveInformationModelMove, _SYNTAXES[:2])]
        with self._association(contexts) as association:
            yield from moving.files(association, asked)

    def _got(self, asked: Dataset) -> Generator[Dataset, None, None]:
        """Have files sent over the association that asks for them."""
        arrived: list[Dataset] = []

        def take(event: Any) -> int:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            arrived.append(dataset)
            return 0x0000

        contexts: list[tuple[UID, Sequence[str]]] = [
            (StudyRootQueryRetrieveInformationModelGet, _SYNTAXES[:2])
        ]
        contexts += [(image, (syntax,)) for image in _IMAGES for syntax in _SYNTAXES]
        contexts += [(other, _SYNTAXES[:2]) for other in _OTHERS]
        roles = [build_role(image, scp_role=True) for image in (*_IMAGES, *_OTHERS)]
        with self._association(contexts, roles=roles, handlers=[(evt.EVT_C_STORE, take)]) as association:
            for status, _ in association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet):
                self._checked(status)
                yield from arrived
                arrived.clear()
                if int(status.get("NumberOfFailedSuboperations") or 0):
                    raise ArchiveError(
                        f"{self._address.name} could not send all files of the series. Some may be held in a "
                        "form that it cannot give away; ask where your archive is looked after."
                    )

    def store(self, dataset: Any) -> None:
        """Put one dataset into the archive.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached or refuses.
        """
        contexts = [(UID(dataset.SOPClassUID), (str(dataset.file_meta.TransferSyntaxUID),))]
        with self._association(contexts) as association:
            self._checked(association.send_c_store(dataset))

    def _checked(self, status: Dataset) -> int:
        code = status.get("Status")
        if code is None:
            raise ArchiveError(f"{self._address.name} breaks off. Check the network, and try again.")
        warning = code in (*_PENDING, 0x0000, 0x0001) or 0xB000 <= code <= 0xBFFF
        if not warning:
            raise ArchiveError(
                f"{self._address.name} refuses (status {code:04X}). Ask where your archive is looked after whether "
                f"it lets {self._calling} search, fetch and store."
            )
        return int(code)

    @contextmanager
    def _association(
        self,
        contexts: Sequence[tuple[UID, Sequence[str]]],
        *,
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[Any]:
        """Talk to the archive; if the block fails or is left early, the talk is cut off."""
        entity = AE(ae_title=self._calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._timeout
        entity.connection_timeout = self._timeout
        for syntax, transfers in contexts[:_MOST_CONTEXTS]:
            entity.add_requested_context(syntax, list(transfers))
        opened: list[socket.socket] = []
        opening = (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket))
        with unlogged(), quiet(), ExitStack() as closing:
            # pynetdicom leaves a socket open whose other side closed it first.
            closing.callback(_close, opened)
            association = entity.associate(
                self._address.host,
                self._address.port,
                ae_title=self._address.title,
                ext_neg=list(roles),
                evt_handlers=[opening, *handlers],
                tls_args=self._tls,
            )
            if not association.is_established:
                raise ArchiveError(self._why_not(association))
            try:
                self._check_offer(association, contexts[0][0])
                yield association
            except BaseException:
                association.abort()
                raise
            association.release()

    def _check_offer(self, association: Any, wanted: UID) -> None:
        """Make sure that the archive does what it is asked for first."""
        if any(context.abstract_syntax == wanted for context in association.accepted_contexts):
            return
        todo = "Ask where your archive is looked after."
        if wanted == StudyRootQueryRetrieveInformationModelGet:
            todo = "Have it send the series to a port of this machine: dock Archive, or --move PORT"
        raise ArchiveError(f"{self._address.name} does not offer: {UID(wanted).name}. {todo}")

    def _why_not(self, association: Any) -> str:
        if association.is_rejected:
            return (
                f"{self._address.name} does not talk to {self._calling}. Have it made known there, or name a title "
                "that is known: dock Archive, or --calling TITLE; check the archive's own title, too."
            )
        if self._tls is not None and (problem := self._certificate_problem(*self._tls)):
            return f"{self._address.name} {problem}."
        return f"{self._address.name} cannot be reached. Check its address and the network."

    def _certificate_problem(self, context: ssl.SSLContext, host: str) -> str:
        """Look why TLS fails, which pynetdicom writes into its log alone; empty if it does not."""
        place = self._address.host, self._address.port
        try:
            with (
                socket.create_connection(place, timeout=self._timeout) as plain,
                context.wrap_socket(plain, server_hostname=host) as secured,
            ):
                # With TLS 1.3 an archive that misses our certificate says so when it is first listened to.
                secured.settimeout(_LISTEN)
                secured.recv(1)
                return ""
        except ssl.SSLError as error:
            return tls_problem(str(error))
        except OSError:
            return ""


def _close(opened: Sequence[socket.socket]) -> None:
    for each in opened:
        each.close()


def _values(answer: Dataset) -> dict[str, Any]:
    return {element.keyword: element.value for element in answer}
