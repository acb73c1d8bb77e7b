"""Where reviews are kept: beside the scan, or in a folder of the reader's choice."""

import json
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_config_path, user_data_path

from napari_anomaly.errors import ScanError
from napari_anomaly.io.atomic import together
from napari_anomaly.plugin.preferences import keep_preference, preferences
from napari_anomaly.samples import SAMPLES, sample_path
from napari_anomaly.scan import Scan

__all__ = ["VARIABLE", "choose_folder", "chosen_folder", "folder_for"]

VARIABLE = "NAPARI_ANOMALY_REVIEWS"
"""Environment variable that names the folder for reviews; it goes before everything else."""

_APP = "napari-anomaly"


def folder_for(scan: Scan) -> Path:
    """Give the folder for the review of a scan.

    The one that was chosen; else that of the scan, if it may be written to; else the reader's own.
    """
    chosen = chosen_folder()
    if chosen is not None:
        return chosen
    path = scan.source.path
    if path is not None and path.parent.is_dir() and not _is_sample(path) and os.access(path.parent, os.W_OK):
        return path.parent
    return user_data_path(_APP) / "reviews"


def chosen_folder() -> Path | None:
    """Give the folder that the reader, or whoever set up this machine, has chosen; None for none."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    preferred = preferences().reviews
    if preferred:
        return Path(preferred).expanduser()
    with suppress(OSError, ValueError, TypeError, KeyError):
        return Path(json.loads(_settings().read_text(encoding="utf-8"))["reviews"])
    return None


def choose_folder(folder: Path | None) -> None:
    """Remember the folder for reviews; None for beside the scan.

    Raises
    ------
    ScanError
        If it cannot be remembered.
    """
    # One place alone remembers it: where napari has preferences for plugins, it is shown and changed there, too.
    if keep_preference("reviews", "" if folder is None else str(folder)):
        folder = None
    path = _settings()
    if folder is None and not path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScanError(f"The choice cannot be kept in {path}: {error.strerror or error}.") from error
    with together() as stage:
        stage(path).write_text(
            json.dumps({} if folder is None else {"reviews": str(folder)}), encoding="utf-8"
        )


def _settings() -> Path:
    return user_config_path(_APP) / "reading.json"


def _is_sample(path: Path) -> bool:
    with suppress(ScanError, OSError):
        return any(os.path.samefile(path, sample_path(name)) for name in SAMPLES)
    return False
