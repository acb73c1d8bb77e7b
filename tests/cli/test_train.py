"""``napari-anomaly train``: what cannot be trained is said in one line; the rest is the example's test."""

import pytest

from napari_anomaly.cli import main


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "No normal scans were found"),
        (("--normals", "empty"), "No normal scans were found in empty"),
        (("--normals", "empty", "--steps", "0"), "--steps 0: Input should be greater than or equal to 1"),
        (("--normals", "empty", "--learning-rate", "9"), "--learning-rate 9.0: Input should be less than"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path, monkeypatch, capsys, words, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["train", *words, "--out", "detector.safetensors", "--device", "cpu"]) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert complaint in streams.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_choice_that_is_none_is_refused_with_the_choices(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--region", "knee"])
    assert "brain" in capsys.readouterr().err
