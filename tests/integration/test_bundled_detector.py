"""The bundled detector on a bundled patient: an honest job, from words to figures."""

import json

from napari_anomaly.cli import main
from napari_anomaly.samples import SAMPLES, sample_path


def test_lesions_of_a_patient_rank_above_plain_intensity(tmp_path, capsys):
    scan = sample_path("ms-flair")
    mask = scan.parents[1] / SAMPLES["ms-flair"].truth
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(scan), str(mask), "--json", str(figures), "--device", "cpu"]) == 0
    (case,) = json.loads(figures.read_text())["cases"]
    bright, dark = (case["intensity"][f"{end}_average_precision"] for end in ("bright", "dark"))
    assert case["inside"]["average_precision"] > max(bright, dark)
    assert case["inside"]["auroc"] > 0.85  # measured: 0.89
    assert case["truth_outside_mm3"] < 0.05 * case["truth_mm3"]
    assert "brain-mri" in capsys.readouterr().out
