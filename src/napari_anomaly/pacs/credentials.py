"""Passwords and tokens of archives, in the system's keyring and nowhere else."""

import json
from dataclasses import dataclass, field

import keyring
from keyring.errors import KeyringError

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address

__all__ = ["Credential", "forget", "keep", "recall"]

_SERVICE = "napari-anomaly"
# Back ends that write a file, readable or behind a password that a program would have to hold.
_FILES = ("keyrings.alt",)


@dataclass(frozen=True, slots=True)
class Credential:
    """What an archive wants to see.

    Parameters
    ----------
    secret
        A password, or a bearer token.
    user
        For a password; empty for a token.
    """

    secret: str = field(repr=False)
    user: str = field(default="", repr=False)


def keep(address: Address, credential: Credential) -> None:
    """Put a credential into the system's keyring.

    Raises
    ------
    ArchiveError
        If this machine has no keyring, or others could read along when it is sent.
    """
    refuse_in_the_open(address)
    backend = type(keyring.get_keyring()).__module__
    if backend.startswith(_FILES):
        raise ArchiveError(
            f"The keyring of this machine ({backend}) writes files. Passwords of archives go into a keyring of the "
            "system alone: GNOME Keyring, KWallet, macOS Keychain or Windows Credential Manager."
        )
    try:
        keyring.set_password(_SERVICE, address.url, json.dumps([credential.user, credential.secret]))
    except KeyringError as error:
        raise ArchiveError(
            "This machine has no keyring that can be written to, and a password is kept nowhere else. "
            "Unlock or install one: GNOME Keyring or KWallet on Linux."
        ) from error


def recall(address: Address) -> Credential | None:
    """Give the credential that was kept for an archive; None where there is none.

    Raises
    ------
    ArchiveError
        If others could read along when it is sent.
    """
    try:
        kept = keyring.get_password(_SERVICE, address.url)
    except KeyringError:
        return None
    if not kept:
        return None
    refuse_in_the_open(address)
    user, secret = json.loads(kept)
    return Credential(str(secret), str(user))


def forget(address: Address) -> bool:
    """Take the credential of an archive out of the keyring; return whether there was one.

    Raises
    ------
    ArchiveError
        If the keyring refuses.
    """
    try:
        if not keyring.get_password(_SERVICE, address.url):
            return False
        keyring.delete_password(_SERVICE, address.url)
    except KeyringError as error:
        raise ArchiveError("The keyring of this machine cannot be opened. Unlock it.") from error
    return True


def refuse_in_the_open(address: Address) -> None:
    """Make sure that a secret is not sent in the open.

    Raises
    ------
    ArchiveError
        If others could read along.
    """
    if not address.safe:
        raise ArchiveError(
            f"{address.name} is reached without encryption: a password would be sent in the open. "
            "Use its address with https://"
        )
