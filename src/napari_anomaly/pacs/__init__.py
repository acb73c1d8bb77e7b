"""The hospital's archive: search it, fetch series, and store results, over DICOMweb or DIMSE.

Nothing here runs unless the user names an archive. Libraries that talk to it load on first use, so that the
package can be imported without the extra ``pacs``. Names of patients are shown to whoever asks; they reach no
log, no file name and no error.
"""

from typing import TYPE_CHECKING, Any

from napari_anomaly.pacs.archive import Archive, connect, pacs_module
from napari_anomaly.pacs.match import Match, Query

if TYPE_CHECKING:
    from napari_anomaly.pacs.transfer import fetching, storing

__all__ = ["Archive", "Match", "Query", "connect", "fetching", "storing"]


def __getattr__(name: str) -> Any:
    if name not in ("fetching", "storing"):
        raise AttributeError(f"{__name__} has no attribute {name}")
    return getattr(pacs_module("transfer"), name)
