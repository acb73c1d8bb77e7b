"""The bundled detector on a bundled patient: an honest job, from words to figures."""

import json

from napari_anomaly.cli import main
from napari_anomaly.samples import SAMPLES, sample_path


def test_lesions_of_a_patient_rank_far_above_chance(tmp_path, capsys):
    scan = sample_path("ms-flair")
    mask = scan.parents[1] / SAMPLES["ms-flair"].truth
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(scan), str(mask), "--json", str(figures), "--device", "cpu"]) == 0
    (case,) = json.loads(figures.read_text())["cases"]
    prevalence = case["inside"]["truth_voxels"] / case["inside"]["voxels"]
    assert case["inside"]["auroc"] > 0.85  # measured: 0.89
    assert case["inside"]["average_precision"] > 10 * prevalence
    assert case["truth_outside_mm3"] < 0.05 * case["truth_mm3"]
    assert "brain-mri" in capsys.readouterr().out
