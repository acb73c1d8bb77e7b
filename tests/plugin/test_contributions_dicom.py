"""DICOM series as the window opens them."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

from dicoms import ROOT, classic, enhanced, places, ramp
from napari_anomaly.plugin import contributions
from napari_anomaly.plugin.case import VOLUMES
from napari_anomaly.plugin.contributions import get_reader, open_file
from napari_anomaly.plugin.layers import SCAN

MANIFEST = Path(contributions.__file__).parents[1] / "napari.yaml"
SLICES = ramp()


def opened(path):
    read = get_reader(path)
    assert read is not None
    return read(path)


@pytest.mark.parametrize("name", ["a.dcm", "a.IMA", "a.zip"])
def test_dicom_finds_our_reader(tmp_path: Path, name: str) -> None:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    for path in (str(tmp_path / name), str(tmp_path)):
        assert [each.plugin_name for each in manager.iter_compatible_readers([path])] == ["napari-anomaly"]


def test_every_series_of_a_folder_is_a_layer(tmp_path: Path) -> None:
    classic(tmp_path / "a", SLICES)
    classic(tmp_path / "b", SLICES + 500, SeriesInstanceUID=ROOT + "77", SeriesNumber=8)
    layers = opened(str(tmp_path))
    assert [int(np.min(data)) for data, _, _ in layers] == [0, 500]
    assert [keywords["name"] for _, keywords, _ in layers] == ["MR-7-t1-mprage", "MR-8-t1-mprage"]


def test_many_files_of_a_series_are_one_layer(tmp_path: Path) -> None:
    paths = [str(path) for path in classic(tmp_path, SLICES)]
    layers = opened(paths)
    assert len(layers) == 1
    np.testing.assert_array_equal(layers[0][0].shape, SLICES.shape)


def test_a_folder_without_dicom_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    assert get_reader(str(tmp_path)) is None


def test_volumes_are_offered(tmp_path: Path) -> None:
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(10)}
    twice = np.repeat(SLICES, 2, axis=0)
    path = enhanced(tmp_path / "a.dcm", twice, positions=np.repeat(places(5), 2, axis=0), frame_tags=times)
    _, keywords, _ = open_file(path)
    assert keywords["metadata"][VOLUMES] == 2
    assert keywords["metadata"][SCAN].source.details["volume"] == 0
