"""Pseudonyms that a secret key gives: the same patient and the same UID get the same one in every run.

Who has the key can say which pseudonym a patient has, and no one else can; a pseudonym leads back to no one.

Source: RFC 2104 (HMAC); DICOM PS3.5 2024, B.2 (UIDs derived from a UUID).
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from napari_anomaly.errors import ScanError

__all__ = ["Pseudonyms"]

_LEAST_KEY = 16  # bytes
_FEWEST_DAYS, _MOST_DAYS = 100, 3650


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """What stands in place of patients, UIDs and days.

    Parameters
    ----------
    key
        The secret.
    shift_dates
        Whether days of examinations move by a number of days that each patient has, so that the time between two
        examinations stays; else they are taken out.
    """

    key: bytes = field(repr=False)
    shift_dates: bool = False

    def __post_init__(self) -> None:
        if len(self.key) < _LEAST_KEY:
            raise ScanError(
                f"A key of {len(self.key)} bytes can be guessed; at least {_LEAST_KEY} are needed. "
                "Name a file that is not there yet, and a key is made."
            )

    @classmethod
    def read(cls, path: Path, *, shift_dates: bool = False) -> "Pseudonyms":
        """Read the key from a file, which is made, for its owner alone, if it is not there.

        Parameters
        ----------
        path
            The file. Whoever loses it can give no patient the same pseudonym again.
        shift_dates
            See the class.

        Raises
        ------
        ScanError
            If the file cannot be read or made, or holds too little.
        """
        try:
            if not path.exists():
                path.touch(mode=0o600, exist_ok=False)
                path.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
            key = path.read_bytes().strip()
        except OSError as error:
            raise ScanError(
                f"The key {path} cannot be read or made: {error.strerror or error}. Choose another place for it."
            ) from error
        return cls(key, shift_dates)

    def patient(self, identity: str) -> str:
        """Give the pseudonym of a patient, such as ``P-4QXM7TBD2K``.

        Parameters
        ----------
        identity
            The hospital's number of the patient.
        """
        return "P-" + base64.b32encode(self._digest("patient", identity))[:10].decode("ascii")

    def uid(self, uid: str) -> str:
        """Give the UID that stands for another."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', uid)[:16], version=4).int}"

    def day(self, text: str, identity: str) -> str:
        """Move a day, ``YYYYMMDD`` and what may follow, to the past; empty if it is none.

        Parameters
        ----------
        text
            A date, or a date with a time, as DICOM writes it.
        identity
            See `patient`.
        """
        number = int.from_bytes(self._digest("days", identity)[:8], "big")
        days = _FEWEST_DAYS + number % (_MOST_DAYS - _FEWEST_DAYS)
        try:
            was = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
            moved = was - timedelta(days=days)
        except (ValueError, OverflowError):
            return ""
        return f"{moved:%Y%m%d}".rjust(8, "0") + text[8:]

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()
