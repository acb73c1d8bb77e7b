import numpy as np
import pytest

from napari_anomaly.export import COLUMNS, findings_rows, to_mask
from napari_anomaly.findings import find
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan
from phantoms import a_case, a_map, oriented

SCAN = Scan.from_array(np.zeros((6, 7, 8), np.uint8), affine=oriented((0, 2, 1), (1, 1, -1)))


def test_without_a_review_all_findings_leave() -> None:
    findings = a_case(SCAN)[2]
    mask = to_mask(findings)
    np.testing.assert_array_equal(mask.voxels, findings.mask)
    assert mask.geometry is SCAN.geometry
    assert mask.voxels.dtype == np.uint8


@pytest.mark.parametrize("verdict", [Verdict.REAL, Verdict.UNSURE, None])
def test_only_false_positives_stay_behind(verdict: Verdict | None) -> None:
    anomaly_map, _, findings = a_case(SCAN)
    first, second = findings.items
    review = Review.of(SCAN, anomaly_map).mark([first.id], verdict).mark([second.id], Verdict.FALSE_POSITIVE)
    np.testing.assert_array_equal(to_mask(findings, review).voxels, findings.labels == first.rank)


def test_a_verdict_on_a_finding_that_is_not_there_changes_nothing() -> None:
    anomaly_map, _, findings = a_case(SCAN)
    review = Review.of(SCAN, anomaly_map).mark([1], Verdict.FALSE_POSITIVE)
    np.testing.assert_array_equal(to_mask(findings, review).voxels, findings.mask)


def test_painted_corrections_enter_the_mask() -> None:
    anomaly_map, _, findings = a_case(SCAN)
    added, erased = np.zeros((2, *findings.labels.shape), dtype=bool)
    added[0, 0, 0] = True
    erased[2, 2, 2] = True
    review = Review.of(SCAN, anomaly_map).paint(added, add=True).paint(erased, add=False)
    expected = (findings.mask | added) & ~erased
    np.testing.assert_array_equal(to_mask(findings, review).voxels, expected)
    again = find(anomaly_map, 0.9, edits=review.edits(findings.labels.shape))
    np.testing.assert_array_equal(to_mask(again, review).voxels, expected)


def test_painting_that_is_judged_false_stays_behind() -> None:
    anomaly_map = a_map(np.zeros((4, 4, 4)))
    painted = np.zeros((4, 4, 4), dtype=bool)
    painted[1, 1, 1] = True
    scan = Scan.from_array(np.zeros((4, 4, 4)))
    review = Review.of(scan, anomaly_map).paint(painted, add=True)
    findings = find(anomaly_map, 0.9, edits=review.edits((4, 4, 4)))
    assert to_mask(findings, review).voxels.sum() == 1
    review = review.mark([findings.items[0].id], Verdict.FALSE_POSITIVE)
    assert to_mask(findings, review).voxels.sum() == 0


def test_rows_have_the_columns_in_order_worst_first() -> None:
    rows = findings_rows(a_case(SCAN)[2], SCAN.source)
    assert [tuple(row) for row in rows] == [COLUMNS] * 2
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["peak"] == pytest.approx(0.999)
    assert rows[0]["voxels"] == 12
    assert rows[0]["where"] == ""


def test_places_are_those_of_the_file() -> None:
    findings = a_case(SCAN)[2]
    row, finding = findings_rows(findings, SCAN.source)[0], findings.items[0]
    in_file = SCAN.source.to_file(findings.labels)
    assert in_file[row["peak_i"], row["peak_j"], row["peak_k"]] == 1
    np.testing.assert_allclose(
        [row[f"centroid_{axis}"] for axis in "ijk"], np.argwhere(in_file == 1).mean(axis=0)
    )
    assert tuple(row[f"peak_{axis}_mm"] for axis in "xyz") == finding.peak_mm
    assert tuple(row[f"centroid_{axis}_mm"] for axis in "xyz") == finding.centroid_mm


def test_without_spacing_millimetres_are_left_out() -> None:
    scan = Scan.from_array(np.zeros((6, 7, 8)), unit="voxel")
    row = findings_rows(a_case(scan)[2], scan.source)[0]
    assert {key for key, value in row.items() if value is None} == {
        key for key in COLUMNS if key.endswith(("_mm", "_mm3")) or key == "stability"
    }
    assert row["voxels"] == 12
