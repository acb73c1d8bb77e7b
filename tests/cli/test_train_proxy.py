"""``napari-anomaly train-proxy``: flags and complaints; the training itself is tested where it is."""

import pytest

from napari_anomaly.cli import main


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--normals", "empty"), "No normal scans were found in empty"),
        (("--normals", "empty", "--steps", "0"), "--steps 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(tmp_path, monkeypatch, capsys, words, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["train-proxy", *words, "--out", "second.safetensors", "--device", "cpu"]) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert complaint in streams.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_every_setting_has_its_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train-proxy", "--help"])
    told = capsys.readouterr().out
    for flag in (
        "--memory-items",
        "--pseudo-anomalies",
        "--superpixel-mm",
        "--proxy",
        "--minutes",
        "--widths",
    ):
        assert flag in told
