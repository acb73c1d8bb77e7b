"""Copies of DICOM series without the patient, in folders that are called by pseudonyms."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset

from napari_anomaly.errors import ScanError, UnreadableScan
from napari_anomaly.io.dicom_identity import refusal, take_identity
from napari_anomaly.io.instances import Opener, Place, instances_in, opener, places_in, quiet
from napari_anomaly.io.pseudonyms import Pseudonyms
from napari_anomaly.progress import Progress, Steps

__all__ = ["Copies", "copying"]


@dataclass(frozen=True, slots=True)
class Copies:
    """What was copied, and what was not.

    Parameters
    ----------
    folders
        One for each series: patient's pseudonym, then kind and number of the series.
    files
        How many files they hold.
    left_out
        Why files were left out, and how many; no file is named, since names of files often name the patient.
    """

    folders: tuple[Path, ...]
    files: int
    left_out: tuple[str, ...]


def copying(paths: Sequence[Path], folder: Path, pseudonyms: Pseudonyms) -> Steps[Copies]:
    """Copy all DICOM objects of some places without the patient.

    Each series gets a folder of its own that appears whole or not at all, in place of one that an earlier run
    made of it. Closing the generator leaves nothing half done.

    Parameters
    ----------
    paths
        Folders, files, archives (.zip).
    folder
        Made if it is not there.
    pseudonyms
        What stands in place of patients, UIDs and days.

    Raises
    ------
    ScanError
        If there is nothing that may be copied, copies would lie among what is copied, or the disk refuses.
    """
    _check_apart(paths, folder)
    places = list(dict.fromkeys(place for path in paths for place in places_in(path)))
    parts: dict[Path, Path] = {}
    count: Counter[Path] = Counter()
    left_out: Counter[str] = Counter()
    try:
        with opener() as open_place:
            for done, place in enumerate(places):
                yield Progress(done, len(places), f"file {done + 1}")
                if next(instances_in([place], open_place), None) is None:
                    continue
                dataset, why = _taken(place, open_place, pseudonyms)
                if dataset is None:
                    left_out[why] += 1
                    continue
                target = folder / _home(dataset)
                parts.setdefault(target, target.with_name(f".{target.name}.part"))
                count[target] += 1
                _write(dataset, parts[target], count[target])
        _show(parts)
    except OSError as error:
        raise ScanError(
            f"The copies cannot be written to {folder}: {error.strerror or error}. "
            "Check that the folder may be written to and has space."
        ) from error
    finally:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)
    reasons = tuple(f"{number} files: {why}" for why, number in left_out.most_common())
    if not parts:
        what = f" Left out: {'; '.join(reasons)}." if reasons else ""
        raise UnreadableScan(f"There is no DICOM file that may be copied.{what} Name a DICOM series.")
    yield Progress(len(places), len(places), "copied")
    return Copies(tuple(parts), count.total(), reasons)


def _check_apart(paths: Sequence[Path], folder: Path) -> None:
    """Make sure that copies are not copied again by the next run."""
    if any(path.is_dir() and folder.resolve().is_relative_to(path.resolve()) for path in paths):
        raise ScanError(
            f"{folder} lies in the folder that is to be copied: the next run would copy the copies. "
            "Choose a folder elsewhere."
        )


def _taken(place: Place, open_place: Opener, pseudonyms: Pseudonyms) -> tuple[Dataset | None, str]:
    """Read one file and take the patient out of it; or say why not."""
    try:
        with open_place(place) as file, quiet():
            dataset = pydicom.dcmread(file, force=True)
        why = refusal(dataset)
        if why:
            return None, why
        take_identity(dataset, pseudonyms)
    # A damaged file makes pydicom fail in every way there is; what it says quotes the file.
    except Exception as error:
        return None, f"damaged ({type(error).__name__})"
    return dataset, ""


def _home(dataset: Dataset) -> Path:
    uids = f"{dataset.get('StudyInstanceUID', '')} {dataset.get('SeriesInstanceUID', '')}"
    tag = hashlib.sha256(uids.encode()).hexdigest()[:8]
    words = (str(dataset.get("Modality", "")), str(dataset.get("SeriesNumber") or ""), tag)
    series = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(word for word in words if word)).strip("-")
    return Path(str(dataset.PatientID), series)


def _write(dataset: Dataset, part: Path, number: int) -> None:
    if number == 1:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    with quiet():
        dataset.save_as(part / f"{number:06d}.dcm", enforce_file_format=True)


def _show(parts: dict[Path, Path]) -> None:
    for target, part in parts.items():
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
