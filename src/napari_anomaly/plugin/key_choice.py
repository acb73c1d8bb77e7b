"""The question for the key that gives pseudonyms."""

from pathlib import Path

from platformdirs import user_data_path
from qtpy.QtWidgets import QFileDialog, QWidget

__all__ = ["ask_key"]


def ask_key(parent: QWidget, before: Path | None = None) -> Path | None:
    """Ask for the key of a project, which is made if it is not there; None where the reader thinks better of it.

    Parameters
    ----------
    parent
        The dock.
    before
        The key that was used last.
    """
    proposed = before or user_data_path("napari-anomaly") / "project.key"
    chosen, _ = QFileDialog.getSaveFileName(
        parent,
        "Key of the project: it gives the pseudonyms, and is made if it is not there",
        str(proposed),
        "Keys (*.key);;All files (*)",
        options=QFileDialog.Option.DontConfirmOverwrite,
    )
    if not chosen:
        return None
    return Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.key")
