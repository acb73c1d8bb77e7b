"""``napari-anomaly info`` says what is here."""

import json

from napari_anomaly.cli import main


def test_info_in_words(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "  brain-mri:" in text
    assert "ms-flair" in text


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert "cpu" in about["devices"]
    assert len(about["detectors"]["brain-mri"]["sha256"]) == 64
    assert 0 < about["detectors"]["brain-mri"]["threshold"] < 1
