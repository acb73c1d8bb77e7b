from dataclasses import replace

import numpy as np
import pytest

from napari_anomaly.plugin.windows import windows_for
from napari_anomaly.scan import Scan


def head_ct() -> Scan:
    voxels = np.full((20, 30, 30), -1000, dtype=np.int16)
    voxels[4:16, 6:24, 6:24] = 40
    voxels[4, 6:24, 6:24] = 900
    return Scan.from_array(voxels)


def test_ct_gets_the_windows_of_ct() -> None:
    windows = {window.name: window.limits for window in windows_for(head_ct())}
    assert windows["brain"] == (0, 100)
    assert windows["bone"] == (-100, 900)
    assert windows["lung"] == (-1200, 200)
    assert windows["abdomen"] == (-135, 215)
    assert next(iter(windows)) == "brain"


def test_modality_decides_where_it_is_known() -> None:
    scan = head_ct()
    mr = Scan(scan.voxels, scan.geometry, scan.source, "mr", modality="T1")
    assert "brain" not in [window.name for window in windows_for(mr)]
    ct = Scan(np.abs(scan.voxels), scan.geometry, scan.source, "ct", modality="CT")
    assert windows_for(ct)[0].name == "brain"


def test_other_scans_get_percentiles_of_their_tissue(scan: Scan) -> None:
    windows = {window.name: window.limits for window in windows_for(scan)}
    assert next(iter(windows)) == "automatic"
    low, high = windows["automatic"]
    assert scan.voxels.min() <= low < high <= scan.voxels.max()
    assert windows["full range"] == pytest.approx((scan.voxels.min(), scan.voxels.max()))
    # The background is most of the scan, and must not make the window.
    assert windows["bright detail"][0] > np.median(scan.voxels)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_scan_of_one_value_has_a_window(value: float) -> None:
    scan = Scan.from_array(np.full((4, 4, 4), value, dtype=np.float32))
    for window in windows_for(scan):
        assert window.limits[0] < window.limits[1]
        assert np.all(np.isfinite(window.limits))


def test_names_differ_and_say_what_they_are_good_for() -> None:
    windows = windows_for(head_ct())
    assert len({window.name for window in windows}) == len(windows)
    assert all(window.text for window in windows)


def told(scan: Scan, modality: str, *windows: dict[str, object]) -> Scan:
    source = replace(scan.source, details={**scan.source.details, "windows": windows})
    return Scan(scan.voxels, scan.geometry, source, "told", modality=modality)


def test_windows_of_the_header_are_presets_and_ct_begins_with_them() -> None:
    brain = {"center": 35.0, "width": 80.0, "name": "BRAIN"}
    plain = {"center": 300.0, "width": 2000.0, "name": ""}
    windows = windows_for(told(head_ct(), "CT", brain, plain, brain))
    assert [window.name for window in windows[:4]] == [
        "header: brain",
        "header 2",
        "header: brain (3)",
        "brain",
    ]
    assert windows[0].limits == (-5, 75)
    assert "level 35, width 80" in windows[0].text


def test_other_scans_begin_with_their_own_tissue(scan: Scan) -> None:
    middle = float(scan.voxels.mean())
    windows = windows_for(told(scan, "MR", {"center": middle, "width": 10.0, "name": "Algo1"}))
    assert windows[0].name == "automatic"
    assert "header: algo1" in [window.name for window in windows]


@pytest.mark.parametrize(
    ("center", "width"), [(1e9, 10.0), (-1e9, 10.0), (40.0, 0.0), (np.nan, 10.0), (0.0, np.inf)]
)
def test_a_window_that_shows_nothing_is_no_preset(center: float, width: float) -> None:
    odd = {"center": center, "width": width, "name": ""}
    assert windows_for(told(head_ct(), "CT", odd))[0].name == "brain"
