"""The hospital's archive: search it, fetch series, and store results, over DICOMweb or DIMSE.

Nothing here runs unless the user names an archive. Libraries that talk to it load on first use. Names of
patients are shown to whoever asks; they reach no log, no file name and no error.
"""

from napari_anomaly.pacs.archive import Archive, connect
from napari_anomaly.pacs.match import Match, Query
from napari_anomaly.pacs.transfer import fetching, storing

__all__ = ["Archive", "Match", "Query", "connect", "fetching", "storing"]
