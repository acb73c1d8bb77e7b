"""The anomaly map as a DICOM Parametric Map: calibrated scores as 32-bit floats on the source slices.

Source: DICOM PS3.3 2024, A.75 (Parametric Map IOD), C.7.6.16.2.11 (real world value mapping).
"""

import highdicom
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.io.dicom import to_slices
from napari_anomaly.io.dicom_codes import RANK
from napari_anomaly.io.dicom_sources import Sources, fill_laterality, making, sources_of
from napari_anomaly.scan import Scan

__all__ = ["parametric_map"]

_SERIES_OFFSET = 10000


def parametric_map(anomaly_map: AnomalyMap, scan: Scan, *, sources: Sources | None = None) -> Dataset:
    """Make of an anomaly map a DICOM Parametric Map of the series that a scan was read from.

    Where the scan was resampled, each source pixel takes the nearest voxel.

    Parameters
    ----------
    anomaly_map
        On the grid of the scan.
    scan
        Read from DICOM.
    sources
        Headers of its files, where they were read already.

    Raises
    ------
    GridMismatch
        If the map lies on another grid.
    ScanError
        If the source files lack what a map must refer to, or are no longer there.
    """
    sources = sources_of(scan) if sources is None else sources
    stored = np.ascontiguousarray(to_slices(anomaly_map.score, scan), dtype=np.float32)
    with making("DICOM parametric map", scan):
        made: Dataset = highdicom.pm.ParametricMap(
            source_images=sources.datasets,
            pixel_array=stored,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_meaning()],
            voi_lut_transformations=[_window(anomaly_map.default_threshold)],
            content_label="ANOMALY",
            content_description="Share of normal voxels that score lower",
            series_description="napari-anomaly map (research)",
            **sources.about(anomaly_map, offset=_SERIES_OFFSET),
        )
        sources.renumber(made)
        fill_laterality(made)
    return made


def _window(threshold: float) -> highdicom.VOILUTTransformation:
    """Show scores from the threshold on; the usual function is not meant for windows narrower than 1."""
    return highdicom.VOILUTTransformation(
        window_center=(threshold + 1) / 2,
        window_width=max(1 - threshold, 1e-6),
        voi_lut_function="LINEAR_EXACT",
    )


def _meaning() -> highdicom.pm.RealWorldValueMapping:
    return highdicom.pm.RealWorldValueMapping(
        lut_label="calibrated score",
        lut_explanation="share of normal voxels that score lower",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=RANK,
    )
