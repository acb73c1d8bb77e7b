"""Series from an archive into folders, and files into an archive."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pydicom

from napari_anomaly.errors import ArchiveError
from napari_anomaly.io.dicom_identity import take_identity
from napari_anomaly.io.instances import quiet
from napari_anomaly.io.pseudonyms import Pseudonyms
from napari_anomaly.pacs.archive import Archive
from napari_anomaly.pacs.match import Match
from napari_anomaly.progress import Progress, Steps

__all__ = ["fetching", "storing"]


def fetching(
    archive: Archive, matches: Sequence[Match], folder: Path, *, pseudonyms: Pseudonyms | None = None
) -> Steps[list[Path]]:
    """Fetch series, each into a folder of its own that appears whole or not at all.

    Neither folders nor files are called by the patient. Closing the generator stops the transfer.

    Parameters
    ----------
    archive
        Where from.
    matches
        Which series.
    folder
        Made if it is not there.
    pseudonyms
        What stands in place of the patient, who then never reaches the disk; files stay as they are if left out.

    Returns
    -------
    list of Path
        The folders; one that is there already with as many files as the archive has is not fetched again.

    Raises
    ------
    ArchiveError
        If the archive refuses, breaks off, or sends something else.
    ScanError
        If a file cannot be pseudonymised.
    """
    total, done, folders = sum(match.images for match in matches), 0, []
    for number, match in enumerate(matches, start=1):
        target = folder / _named(match, pseudonyms).folder
        folders.append(target)
        if match.images and len(list(target.glob("*.dcm"))) == match.images:
            done += match.images
            yield Progress(done, total, f"series {number} of {len(matches)} is there")
            continue
        part = folder / f".{target.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        arriving = archive.fetch(match)
        try:
            count = 0
            for dataset in arriving:
                _check(dataset, match)
                count += 1
                if pseudonyms is not None:
                    take_identity(dataset, pseudonyms)
                with quiet():
                    dataset.save_as(part / f"{count:06d}.dcm", enforce_file_format=True)
                done += 1
                yield Progress(done, total, f"series {number} of {len(matches)}, file {count}")
            _check_count(count, match)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        finally:
            arriving.close()
            shutil.rmtree(part, ignore_errors=True)
    return folders


def storing(archive: Archive, files: Sequence[Path]) -> Steps[int]:
    """Put files into an archive, one after the other.

    Parameters
    ----------
    archive
        Where to.
    files
        DICOM files.

    Returns
    -------
    int
        How many were taken.

    Raises
    ------
    ArchiveError
        If a file is no DICOM, or the archive refuses it; those before it are there.
    """
    for done, path in enumerate(files):
        yield Progress(done, len(files), "storing")
        try:
            with quiet():
                dataset = pydicom.dcmread(path)
        except (OSError, pydicom.errors.InvalidDicomError) as error:
            raise ArchiveError(
                f"{path} is no DICOM file that can be read. {done} of {len(files)} files were stored before it. "
                "Leave it out."
            ) from error
        try:
            archive.store(dataset)
        except ArchiveError as error:
            raise ArchiveError(f"{error} {done} of {len(files)} files were stored, {path} was not.") from None
    yield Progress(len(files), len(files), "storing")
    return len(files)


def _named(match: Match, pseudonyms: Pseudonyms | None) -> Match:
    """Give a match with the UIDs that its files will have: its folder is called by them."""
    if pseudonyms is None:
        return match
    return replace(match, study=pseudonyms.uid(match.study), series=pseudonyms.uid(match.series))


def _check(dataset: pydicom.Dataset, match: Match) -> None:
    if str(dataset.get("SeriesInstanceUID", "")) != match.series:
        raise ArchiveError(
            "The archive sends files of another series than the one that was asked for. "
            "Nothing of it was kept; ask where your archive is looked after."
        )


def _check_count(count: int, match: Match) -> None:
    if count < max(match.images, 1):
        raise ArchiveError(
            f"The archive sent {count} of {match.images or 'an unknown number of'} files. "
            "Nothing of the series was kept; try again."
        )
