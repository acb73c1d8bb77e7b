"""``napari-anomaly evaluate`` on phantoms whose truth is known."""

import json

import pytest

from napari_anomaly import io
from napari_anomaly.cli import main
from napari_anomaly.evaluation.report import EvaluationReport
from napari_anomaly.samples import phantom, phantom_lesion


def evaluate(*words):
    return main(["evaluate", *map(str, words)])


def test_a_scan_and_its_mask(tmp_path, tiny, write_phantom, write_truth, capsys):
    figures = tmp_path / "figures.json"
    assert evaluate(write_phantom("head.nii.gz"), write_truth(), "--json", figures, *tiny) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.splitlines()[2].startswith("head ")
    report = EvaluationReport.model_validate_json(figures.read_text())
    (case,) = report.cases
    assert case.lesions.lesions == 1
    assert case.truth_mm3 == pytest.approx(4 / 3 * 3.14159 * 11**3, rel=0.05)
    assert 0 <= case.inside.average_precision <= 1
    assert case.seconds > 0
    assert report.settings["device"] == "cpu"
    assert len(report.detector_sha256) == 64


def test_a_stored_map_needs_no_detector(tmp_path, write_phantom, write_truth, capsys):
    scan = phantom((40, 48, 40), lesion_mm=11, field_mm=96)
    stored = tmp_path / "map.nii.gz"
    perfect = 0.5 * (scan.voxels > 0) + 0.4 * phantom_lesion((40, 48, 40), lesion_mm=11, field_mm=96)
    io.write_like(perfect, scan, stored, kind="map")
    figures = tmp_path / "figures.json"
    words = (write_phantom("head.nii.gz"), write_truth(), "--maps", stored, "--json", figures)
    assert evaluate(*words, "--threshold", "0.8") == 0
    (case,) = json.loads(figures.read_text())["cases"]
    assert case["inside"]["average_precision"] == 1.0
    assert case["inside"]["dice"] == 1.0
    assert case["lesions"]["false_findings"] == 0
    assert evaluate(*words) == 0
    assert json.loads(figures.read_text())["cases"][0]["inside"]["dice"] is None
    assert "stored maps, scans: 1" in capsys.readouterr().out


def test_a_mask_on_another_grid_is_refused_and_the_others_are_done(
    tmp_path, tiny, write_phantom, write_truth, capsys
):
    small = phantom((8, 8, 8))
    io.write_like(small.voxels, small, tmp_path / "small.nii.gz", kind="mask")
    head, truth = write_phantom("head.nii.gz"), write_truth()
    words = (head, tmp_path / "small.nii.gz", head, truth)
    assert evaluate(*words, *tiny) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert "small lies on a grid of (8, 8, 8) voxels" in streams.err
    assert "scans: 1" in streams.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("a", "b", "c"), "3 files were given"),
        (("a", "b", "--maps", "c", "d"), "2 maps were given for 1 pairs"),
        (("a", "b", "--maps", "c", "--snap"), "--hysteresis or --snap was given with --maps"),
        (("a", "b", "--maps", "c", "--hysteresis", "0.5"), "--hysteresis or --snap was given with --maps"),
        (("a", "b", "--overlap", "0"), "--overlap 0.0"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(capsys, words, complaint):
    assert evaluate(*words) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert complaint in streams.err
    assert streams.out == ""
