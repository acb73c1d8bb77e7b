"""Writing what was read: noted in the window's thread, written in any."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_anomaly import io
from napari_anomaly.agreement import agreement_as_installed, agreement_csv, read_review
from napari_anomaly.derivatives import write_derivatives
from napari_anomaly.errors import ReviewError
from napari_anomaly.journal import journals_of, reader_name
from napari_anomaly.plugin.case import Case, header_of
from napari_anomaly.plugin.review_place import folder_for
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.report import Reading, write_text
from napari_anomaly.review import Review

__all__ = [
    "Make",
    "writing_agreement",
    "writing_archive",
    "writing_derivatives",
    "writing_reading",
    "writing_results",
]

Make: TypeAlias = Callable[[Reading], str | bytes]


def writing_reading(case: Case, path: Path, make: Make) -> Steps[Path]:
    """Write what was read and said; call it in the window's thread, the generator may run in another.

    Parameters
    ----------
    case
        Which scan.
    path
        Where to.
    make
        What to write: a report or a table.
    """
    scan = case.scan
    return _writing(case, "writing", path, lambda reading: write_text(make(reading), scan, path))


def _writing(case: Case, text: str, path: Path, write: Callable[[Reading], Path]) -> Steps[Path]:
    """Note what is read now, and write it when the steps are taken; without a map the path is given as it is."""
    read = _reader_of(case)

    def steps() -> Steps[Path]:
        yield Progress(0, 0, text)
        reading = read()
        return path if reading is None else write(reading)

    return steps()


def _reader_of(case: Case) -> Callable[[], Reading | None]:
    """Note what is read now, in the window's thread; what is given makes a reading of it in any."""
    case.take_strokes()
    session, scan, window = case.session, case.scan, case.layer.contrast_limits
    anomaly_map, question = session.map, session.question
    findings = session.findings if session.has_findings else None
    said = session.review
    limits = (float(window[0]), float(window[1]))
    name = next((one.name for one in case.windows if np.allclose(one.limits, limits)), "")

    def read() -> Reading | None:
        if anomaly_map is None or question is None:
            return None
        review = said or Review.of(scan, anomaly_map, reader=reader_name())
        found = question.answer() if findings is None else findings
        return Reading(scan, anomaly_map, found, review, limits, name)

    return read


def writing_derivatives(case: Case, folder: Path) -> Steps[Path]:
    """Write masks, table and report in the layout of BIDS; call it in the window's thread.

    Parameters
    ----------
    case
        Which scan.
    folder
        Of the derivatives.
    """
    return _writing(
        case, "writing BIDS derivatives", folder, lambda reading: write_derivatives(reading, folder)[0].parent
    )


def writing_agreement(case: Case, path: Path) -> Steps[Path]:
    """Write what all readers whose reviews are kept in one place said; call it in the window's thread.

    Parameters
    ----------
    case
        Which scan.
    path
        Where to.
    """
    scan, anomaly_map = case.scan, case.session.map
    kept = folder_for(scan) if case.journal is None else case.journal.path.parent

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "comparing readers")
        if anomaly_map is None:
            return path
        found = journals_of(kept, header_of(scan, anomaly_map))
        if len(found) < 2:
            raise ReviewError(
                f"There is no review of another reader of this scan in {kept}, and two are needed. Keep all reviews "
                "in one folder, or compare files with: napari-anomaly agreement REVIEW REVIEW"
            )
        compared = agreement_as_installed(read_review(one) for one in found)
        return write_text(agreement_csv(compared), scan, path)

    return steps()


def writing_archive(case: Case, folder: Path, *, key: Path | None = None) -> Steps[Path]:
    """Write what goes back to the archive; call it in the window's thread, as `writing_reading`.

    Parameters
    ----------
    case
        Which scan; it was read from DICOM.
    folder
        Where to.
    key
        Of the pseudonyms that stand in place of the patient; None for results that go back to the archive.
    """
    writing, name = writing_results(case, folder, whole=True, key=key), case.scan.name

    def steps() -> Steps[Path]:
        paths = yield from writing
        return paths[0].with_name(f"{name}_*.dcm") if paths else folder

    return steps()


def writing_results(
    case: Case, folder: Path, *, whole: bool = False, key: Path | None = None
) -> Steps[list[Path]]:
    """Write segmentation and report as DICOM, and give the files; call it in the window's thread.

    Parameters
    ----------
    case
        Which scan; it was read from DICOM.
    folder
        Where to.
    whole
        Whether map and key images are among it.
    key
        See `writing_archive`.
    """
    case.take_strokes()
    session, scan = case.session, case.scan
    anomaly_map, question, review = session.map, session.question, session.review
    findings = session.findings if session.has_findings else None

    def steps() -> Steps[list[Path]]:
        yield Progress(0, 0, "writing DICOM")
        if anomaly_map is None or question is None:
            return []
        found = question.answer() if findings is None else findings
        pseudonyms = None if key is None else io.Pseudonyms.read(key)
        return io.save_dicom(
            folder, scan, anomaly_map, found, review=review, whole=whole, pseudonyms=pseudonyms
        )

    return steps()
