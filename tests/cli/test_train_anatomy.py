"""``napari-anomaly train-anatomy``: what cannot be trained is said in one line; the rest is the module's test."""

import pytest

from napari_anomaly.cli import main


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "No brains with known anatomy were found in no folder"),
        (("--label-maps", "empty"), "No brains with known anatomy were found in empty"),
        (("--label-maps", "empty", "--lobes", "2"), "--lobes 2.0: Input should be less than or equal to 1"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path, monkeypatch, capsys, words, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["train-anatomy", *words, "--out", "a.safetensors", "--device", "cpu"]) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert complaint in streams.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
