"""What a reader of the table and a program that reads the JSON see."""

import json

import pytest

from napari_anomaly.evaluation.protocol import CaseFigures, IntensityFigures, LesionFigures, VoxelFigures
from napari_anomaly.evaluation.report import EvaluationReport


def case(name="a", *, precision=0.5, truth=2000.0, scan_score=0.9, outside=0.0):
    voxels = VoxelFigures(
        voxels=100,
        truth_voxels=10,
        average_precision=precision,
        auroc=0.75,
        dice=0.4,
        best_dice=0.6,
        best_threshold=0.998,
    )
    return CaseFigures(
        scan=name,
        truth_mm3=truth,
        truth_outside_mm3=outside,
        threshold=0.99,
        min_volume_mm3=10,
        scan_score=scan_score,
        inside=voxels,
        whole=voxels,
        lesions=LesionFigures(lesions=4, found=3, recall=0.75, findings=5, false_findings=2),
        intensity=IntensityFigures(
            bright_average_precision=0.1,
            bright_best_dice=0.2,
            dark_average_precision=0.3,
            dark_best_dice=0.45,
        ),
    )


def test_the_table_has_a_row_for_each_scan_and_their_mean():
    report = EvaluationReport.of([case("first"), case("second", precision=0.7)], evaluated="brain-mri 1.0")
    lines = report.table().splitlines()
    assert lines[0] == "brain-mri 1.0, scans: 2"
    assert lines[2].split()[:3] == ["first", "2.0", "0.500"]
    assert lines[4].split()[:3] == ["mean", "2.0", "0.600"]
    assert len({len(line) for line in lines[1:5]}) == 1


def test_one_scan_needs_no_mean_and_figures_without_meaning_are_a_dash():
    report = EvaluationReport.of([case(precision=None)], evaluated="map")
    lines = report.table().splitlines()
    assert lines[2].split()[2] == "-"
    assert "mean" not in report.table()
    assert json.loads(report.to_json())["cases"][0]["inside"]["average_precision"] is None


def test_the_mean_leaves_out_what_has_no_meaning():
    report = EvaluationReport.of([case(precision=None), case(precision=0.7)], evaluated="map")
    assert report.mean["AP"] == pytest.approx(0.7)


def test_scan_scores_are_ranked_where_some_scans_are_normal():
    cases = [case(scan_score=0.9), case(scan_score=0.2), case(truth=0.0, scan_score=0.3)]
    report = EvaluationReport.of(cases, evaluated="d")
    assert report.scan_auroc == 0.5
    assert "AUROC of the scan score" in report.table()
    assert EvaluationReport.of(cases[:2], evaluated="d").scan_auroc is None


def test_lesions_outside_are_spoken_of():
    assert "1.50 ml of lesions" in EvaluationReport.of([case(outside=1500.0)], evaluated="d").table()


def test_json_reads_back_the_same():
    report = EvaluationReport.of(
        [case()], evaluated="d", settings={"threshold": 0.99}, versions={"numpy": "2"}
    )
    assert EvaluationReport.model_validate_json(report.to_json()) == report
    assert json.loads(report.to_json())["schema_version"] == 1
