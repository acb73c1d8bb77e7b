"""Files: scans in, masks and maps out.

`read_scan` and `write_like` choose the format; each format has a module of its own. Libraries that read files
load on first use.
"""

from napari_anomaly.io.formats import (
    Kind,
    SeriesFound,
    find_series,
    format_of,
    looks_like_dicom,
    name_of,
    read_scan,
    read_volume,
    series_in,
    suffix_of,
    volumes,
    write_like,
)
from napari_anomaly.io.pseudonyms import Pseudonyms
from napari_anomaly.io.results import save_case, save_dicom

__all__ = [
    "Kind",
    "Pseudonyms",
    "SeriesFound",
    "find_series",
    "format_of",
    "looks_like_dicom",
    "name_of",
    "read_scan",
    "read_volume",
    "save_case",
    "save_dicom",
    "series_in",
    "suffix_of",
    "volumes",
    "write_like",
]
