"""What the dock of the archive does beside the window: each is a generator that loads what it needs when it runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from napari_anomaly import pacs
from napari_anomaly.errors import AnomalyError, ArchiveError
from napari_anomaly.io import Pseudonyms
from napari_anomaly.pacs.archive import Address, pacs_module
from napari_anomaly.plugin.archive_place import ArchivePlace
from napari_anomaly.plugin.contributions import get_reader
from napari_anomaly.plugin.layers import LayerTuple
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.worklist import Worklist, scans_in

__all__ = [
    "adding",
    "archive_words",
    "bringing",
    "forgetting",
    "keeping",
    "reading_series",
    "searching",
    "sending",
]

_ASKING = "asking the archive"


def archive_words(error: Exception) -> str:
    """Put an error into words that name no patient, whatever a library has put into its own."""
    if isinstance(error, AnomalyError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory of this machine is full. Close other programs or scans, and try again."
    if isinstance(error, OSError):
        return f"The disk refuses: {error.strerror or type(error).__name__}. Choose another folder, or make room."
    return (
        f"Something went wrong that should not ({type(error).__name__}). The archive and the open scans are as they "
        "were. Please try again, and report it if it comes back."
    )


def searching(place: ArchivePlace, query: pacs.Query) -> Steps[list[pacs.Match]]:
    """List the series that fit."""
    yield Progress(0, 0, _ASKING)
    asking = place.connect().find(query)
    found: list[pacs.Match] = []
    try:
        for match in asking:
            found.append(match)
            yield Progress(0, 0, f"{len(found)} series so far")
    finally:
        asking.close()
    return found


def bringing(
    place: ArchivePlace, matches: Sequence[pacs.Match], folder: Path, *, key: Path | None = None
) -> Steps[list[Path]]:
    """Fetch series, each into a folder of its own that appears whole or not at all.

    Parameters
    ----------
    place
        Where from.
    matches
        Which series.
    folder
        Where to.
    key
        Of the pseudonyms that stand in place of the patient; None for the files as they are.
    """
    yield Progress(0, 0, _ASKING)
    pseudonyms = None if key is None else Pseudonyms.read(key)
    return (yield from pacs.fetching(place.connect(), matches, folder, pseudonyms=pseudonyms))


def reading_series(folder: Path) -> Steps[list[LayerTuple]]:
    """Read a fetched series as napari would, had its folder been dropped into the window.

    Raises
    ------
    ArchiveError
        If there is no image in it.
    """
    yield Progress(0, 0, "reading the series")
    read = get_reader(str(folder))
    if read is None:
        raise ArchiveError(f"{folder} holds no DICOM file any more. Fetch the series again.")
    return read(str(folder))


def sending(place: ArchivePlace, writing: Steps[list[Path]], folder: Path) -> Steps[int]:
    """Write results and put them into the archive; files that it did not take stay.

    Parameters
    ----------
    place
        Where to.
    writing
        Writes them into the folder.
    folder
        Of these results alone; it is gone when all is stored, or when this is cancelled.

    Returns
    -------
    int
        How many files were stored.

    Raises
    ------
    ArchiveError
        If the archive cannot be reached or refuses; it says where the files are.
    """
    yield Progress(0, 0, _ASKING)
    archive = place.connect()
    files = yield from writing
    try:
        count = yield from pacs.storing(archive, files)
    except GeneratorExit:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception as error:
        raise ArchiveError(
            f"{archive_words(error)} The files stay in {folder}: send again, or store that folder with: "
            "napari-anomaly pacs store"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    return count


def keeping(address: Address, user: str, secret: str) -> Steps[None]:
    """Keep a password or token in the keyring of the system."""
    yield Progress(0, 0, "asking the keyring")
    credentials = pacs_module("credentials")
    credentials.keep(address, credentials.Credential(secret, user))


def forgetting(address: Address) -> Steps[bool]:
    """Take it out again; return whether there was one."""
    yield Progress(0, 0, "asking the keyring")
    was_there: bool = pacs_module("credentials").forget(address)
    return was_there


def adding(file: Path, folders: Sequence[Path]) -> Steps[int]:
    """Put fetched series on a worklist, where they wait for the detector; return how many were new."""
    scans: list[tuple[Path, int]] = []
    for done, folder in enumerate(folders):
        yield Progress(done, len(folders), "looking at the series")
        scans += scans_in(folder)
    worklist = Worklist(file)
    try:
        return worklist.add(scans)
    finally:
        worklist.close()
