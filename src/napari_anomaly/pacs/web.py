"""An archive that speaks DICOMweb: QIDO-RS, WADO-RS and STOW-RS, through dicomweb-client.

Source: DICOM PS3.18 2024, 10.4 (retrieve), 10.5 (store), 10.6 (search).
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pydicom
import requests
from dicomweb_client.web import DICOMwebClient
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.instances import quiet
from napari_anomaly.pacs.archive import Address, tls_problem, unlogged
from napari_anomaly.pacs.credentials import Credential
from napari_anomaly.pacs.match import NAMED, SERIES_FIELDS, STUDY_FIELDS, Match, Query

__all__ = ["WebArchive"]

_CHUNK = 1 << 20
_MOST = 1000
"""So many studies are asked for; a query that finds more is too wide to be looked through."""
_WORDS = {
    401: "wants a user and a password, or a token. Sign in: dock Archive, or napari-anomaly pacs login",
    403: "refuses this user. Ask where your archive is looked after for the right to do this",
    404: "does not know this address. Check the path: DICOMweb often lies under /dicom-web",
    413: "takes no file as large as this one. Ask where your archive is looked after",
}

_NO_DICOM = "answers with something that is no DICOM. Check that the address is that of its DICOMweb"
_SILENT = "cannot be reached, or breaks off. Check its address and the network"

T = TypeVar("T")


class _Bearer(AuthBase):
    """A token in the header; with it, requests looks for no password of its own."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Plain(HTTPAdapter):
    """Send wildcards as they are: both forms are allowed, and some archives know only this one.

    Certificates that the user names are those that count, whatever the environment says.
    """

    def __init__(self, ca: Path | None) -> None:
        super().__init__()
        self._ca = ca

    def send(self, request: Any, *words: Any, **named: Any) -> Any:
        if self._ca is not None:
            named["verify"] = str(self._ca)
        head, mark, asked = str(request.url).partition("?")
        request.url = head + mark + asked.replace("%2A", "*").replace("%3F", "?")
        return super().send(request, *words, **named)


class _ElsewhereError(requests.RequestException):
    """An encrypted archive sends us to an address in the open."""


class _Closed(HTTPAdapter):
    """Follow no one into the open: what is asked for names patients."""

    def send(self, request: Any, *words: Any, **named: Any) -> Any:
        raise _ElsewhereError


class WebArchive:
    """An archive that speaks DICOMweb.

    Parameters
    ----------
    address
        Where it is.
    credential
        What it wants to see; None where it is open.
    ca
        Certificates to trust.
    certificate
        Our own one, with its key; None where the archive asks for none.
    timeout
        Seconds to wait for an answer.
    """

    def __init__(
        self,
        address: Address,
        credential: Credential | None,
        *,
        ca: Path | None,
        timeout: float,
        certificate: Path | None = None,
    ) -> None:
        session = requests.Session()
        session.cert = None if certificate is None else str(certificate)
        if credential is not None and credential.user:
            session.auth = HTTPBasicAuth(credential.user.encode(), credential.secret.encode())
        else:
            session.auth = _Bearer(credential.secret if credential is not None else None)
        session.mount("https://", _Plain(ca))
        session.mount("http://", _Closed() if address.scheme == "https" else _Plain(ca))
        self._address = address
        self._client = DICOMwebClient(
            address.url, session=session, chunk_size=_CHUNK, timeout=timeout, permissive_uid=True
        )
        self._client.set_http_retry_params(retry=True, max_attempts=3)

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
        for study in self._ask(
            lambda: self._client.search_for_studies(
                search_filters=_loosened(query.of_study), fields=list(STUDY_FIELDS), limit=_MOST
            )
        ):
            if not query.fits(study):
                continue
            uid = str(study.get("StudyInstanceUID") or "")
            for series in self._series(uid, query):
                yield Match.of(study, series)

    def _series(self, study: str, query: Query) -> list[dict[str, Any]]:
        found = self._ask(
            lambda: self._client.search_for_series(
                study, search_filters=dict(query.of_series), fields=list(SERIES_FIELDS)
            )
        )
        # Some archives do not heed a filter that they do not know.
        return [
            each for each in found if all(each.get(key) == value for key, value in query.of_series.items())
        ]

    def fetch(self, match: Match) -> Generator[Any, None, None]:
        """Give the files of a series one by one, as the archive holds them.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached, refuses, or breaks off.
        """
        with self._talking():
            arriving = self._client.iter_series(
                match.study, match.series, media_types=(("application/dicom", "*"),)
            )
        while True:
            with self._talking():
                dataset = next(arriving, None)
            if dataset is None:
                return
            yield dataset

    def store(self, dataset: Any) -> None:
        """Put one dataset into the archive.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached or refuses.
        """
        with self._talking():
            answer = self._client.store_instances([dataset])
        failed = answer.get("FailedSOPSequence") or ()
        if failed:
            reason = int(failed[0].get("FailureReason") or 0)
            raise ArchiveError(
                f"{self._address.name} did not take the file (reason {reason:04X} of DICOM PS3.18). "
                "Ask where your archive is looked after."
            )

    def _ask(self, question: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        with self._talking():
            answers = [pydicom.Dataset.from_json(each) for each in question()]
            return [{element.keyword: element.value for element in answer} for answer in answers]

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Say in the user's words what went wrong; what the libraries say holds the query, and so the patient."""
        problem = ""
        with unlogged(), quiet():
            try:
                yield
            except (requests.exceptions.InvalidJSONError, requests.exceptions.ContentDecodingError):
                problem = _NO_DICOM
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                problem = _WORDS.get(status, f"answers with an error ({status}). Try again later")
            except requests.exceptions.SSLError as error:
                problem = tls_problem(str(error))
            except requests.Timeout:
                problem = "does not answer in time. Try again; the command line may wait longer with --timeout SECONDS"
            except _ElsewhereError:
                problem = "leads elsewhere, where others could read along. Ask for its right address"
            except requests.RequestException as error:
                # With TLS 1.3 an archive that misses our certificate says so after the handshake.
                missed = "certificate required" in str(error)
                problem = tls_problem(str(error)) if missed else _SILENT
            except (
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                pydicom.errors.InvalidDicomError,
                EOFError,
            ):
                problem = _NO_DICOM
        if problem:
            # Not "from": the cause quotes the query.
            raise ArchiveError(f"{self._address.name} {problem}.") from None


def _loosened(asked: Mapping[str, str]) -> dict[str, str]:
    """Ask for any letter in place of those that some archives do not decode; what comes is looked through here."""
    return {
        key: re.sub(r"[^A-Za-z0-9._*?-]", "?", value) if key in NAMED else value
        for key, value in asked.items()
    }
