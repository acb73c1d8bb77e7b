import numpy as np

from fake_engine import fake_result
from napari_anomaly.findings import find
from napari_anomaly.plugin.display import TOP, display_codes, prepare, step_of, threshold_of
from napari_anomaly.scan import Scan


def test_the_display_copy_is_exact_at_every_step() -> None:
    rng = np.random.default_rng(0)
    score = (1 - 10.0 ** -(rng.random((12, 13, 14)) * 6)).astype(np.float32)
    score[:2] = 0
    score[2, 0, :9] = [threshold_of(step) for step in (1, 2, 50, 51, 153, 200, 253, 254, 255)]
    score[3, 0, 0] = 1
    codes = display_codes(score)
    for step in range(1, TOP + 1):
        assert np.array_equal(codes >= step, score >= np.float32(threshold_of(step)))


def test_the_snapped_copy_is_what_findings_snap_to(scan: Scan) -> None:
    result = fake_result(scan)
    display = prepare(result.map, result.supervoxels)
    for step in range(1, TOP + 1, 7):
        findings = find(result.map, threshold_of(step), supervoxels=result.supervoxels)
        assert np.array_equal(display.snapped >= step, findings.labels > 0)


def test_voxels_of_no_supervoxel_go_by_their_own_score(scan: Scan) -> None:
    result = fake_result(scan)
    display = prepare(result.map, result.supervoxels)
    outside = result.supervoxels.ids == 0
    assert outside.any()
    assert np.array_equal(display.snapped[outside], display.plain[outside])


def test_steps_and_thresholds_go_back_and_forth() -> None:
    assert [step_of(threshold_of(step)) for step in range(1, TOP + 1)] == list(range(1, TOP + 1))
    assert step_of(0.999) == 153
    assert step_of(0.0) == 1
    assert step_of(1.0) == TOP
