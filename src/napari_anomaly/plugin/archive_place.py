"""What the dock of the archive remembers between starts: where the archive is, and where its series go.

No patient and no password is ever among it.
"""

import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_config_path, user_data_path
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_anomaly import pacs
from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.atomic import together
from napari_anomaly.pacs.archive import Address

__all__ = ["VARIABLE", "ArchivePlace", "fetched_folder", "unsent_folder"]

VARIABLE = "NAPARI_ANOMALY_ARCHIVE"
"""Environment variable with the address of the archive, for those who have typed none."""

_APP = "napari-anomaly"


class ArchivePlace(BaseModel):
    """Where the archive is, how to talk to it, and where fetched series go.

    Parameters
    ----------
    address
        Empty for what `VARIABLE` says.
    ca
        Certificates that a TLS connection trusts; None for the system's.
    certificate
        Our own one with its key, for an archive that asks for it; None where none does.
    calling
        Our own application entity title.
    move_port
        Port of this machine to which a DIMSE archive sends what is fetched (C-MOVE); None where it gives it over the
        association that asks (C-GET).
    folder
        For fetched series; None as long as nobody was asked.
    worklist
        The list that fetched series were added to last.
    key
        Of the pseudonyms of the last copies without the patient.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    calling: str = "NAPARIANOMALY"
    move_port: int | None = None
    folder: Path | None = None
    worklist: Path | None = None
    key: Path | None = None

    @classmethod
    def read(cls) -> "ArchivePlace":
        """Give what was remembered; the defaults where there is nothing that can be read."""
        with suppress(OSError, ValidationError):
            return cls.model_validate_json(_settings().read_text(encoding="utf-8"))
        return cls()

    def write(self) -> None:
        """Remember it.

        Raises
        ------
        ArchiveError
            If the address is none or holds a password, or the disk refuses.
        """
        if self.address:
            Address.of(self.address)
        path = _settings()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with together() as stage:
                stage(path).write_text(self.model_dump_json(), encoding="utf-8")
        except OSError as error:
            raise ArchiveError(f"The choice cannot be kept in {path}: {error.strerror or error}.") from error

    @property
    def url(self) -> str:
        """The address that counts; empty where there is none."""
        return self.address or os.environ.get(VARIABLE, "")

    def changed(self, **values: str | int | Path | None) -> "ArchivePlace":
        """Give another one with some values changed; what the environment says anyway is not remembered."""
        new = self.model_copy(update=values)
        same = new.address == os.environ.get(VARIABLE, "")
        return new.model_copy(update={"address": ""}) if same else new

    def connect(self) -> pacs.Archive:
        """Make ready to talk to the archive.

        Raises
        ------
        ArchiveError
            If the address is none, or the certificates are not there.
        MissingExtra
            If what talks to archives is not installed.
        """
        address = Address.of(self.url)
        port = self.move_port if address.title else None
        # In the open nothing is shown; the same place may have been an encrypted one before.
        own = self.certificate if address.scheme in ("https", "dicoms") else None
        return pacs.connect(self.url, ca=self.ca, certificate=own, calling=self.calling, move_port=port)


def fetched_folder() -> Path:
    """Suggest a folder for fetched series: in the data of this user."""
    return user_data_path(_APP) / "archive"


def unsent_folder() -> Path:
    """Give the folder in which results lie until the archive has taken them."""
    return user_data_path(_APP) / "unsent"


def _settings() -> Path:
    return user_config_path(_APP) / "archive.json"
