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
