"""DICOM series as the window opens them."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from dicoms import ROOT, classic, enhanced, places, ramp
from napari_anomaly.errors import ScanError
from napari_anomaly.plugin import contributions
from napari_anomaly.plugin.case import VOLUMES
from napari_anomaly.plugin.contributions import get_reader, open_file
from napari_anomaly.plugin.layers import SCAN
from napari_anomaly.plugin.series_choice import SeriesChoice

MANIFEST = Path(contributions.__file__).parents[1] / "napari.yaml"
SLICES = ramp()


def opened(path):
    read = get_reader(path)
    assert read is not None
    return read(path)


@pytest.mark.parametrize(
    "name",
    [
        *("a.dcm", "a.IMA", "a.zip", "DICOMDIR", "IM000017", "1.2.840.113619.2.5.17"),
        *("a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.gipl.gz"),
    ],
)
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


def test_a_file_without_a_suffix_is_opened_if_it_is_dicom(tmp_path: Path) -> None:
    path = classic(tmp_path / "a", SLICES)[0]
    bare = path.rename(path.with_name("IM000017"))
    assert len(opened(str(bare))) == 1
    (tmp_path / "page 12").write_text("not an image")
    assert get_reader(str(tmp_path / "page 12")) is None


def test_a_disc_is_opened_by_its_dicomdir(tmp_path: Path) -> None:
    classic(tmp_path / "DICOM" / "a", SLICES)
    classic(tmp_path / "DICOM" / "b", SLICES + 500, SeriesInstanceUID=ROOT + "77", SeriesNumber=8)
    (tmp_path / "DICOMDIR").write_bytes(b"the files themselves are read, whatever it says")
    layers = opened(str(tmp_path / "DICOMDIR"))
    assert [int(np.min(data)) for data, _, _ in layers] == [0, 500]


def test_a_folder_without_a_readable_series_says_why(tmp_path: Path) -> None:
    classic(tmp_path, SLICES[:1])
    with pytest.raises(ScanError, match="single slice"):
        opened(str(tmp_path))


@pytest.fixture
def window(qtbot, monkeypatch: pytest.MonkeyPatch):
    shown = QWidget()
    qtbot.addWidget(shown)
    monkeypatch.setattr(contributions, "_window", lambda: shown)
    return shown


@pytest.mark.parametrize(("rows", "lowest"), [([0], [0]), ([1], [500]), ([0, 1], [0, 500])])
def test_the_reader_chooses_among_several_series(
    window, tmp_path: Path, rows: list[int], lowest: list[int]
) -> None:
    classic(tmp_path / "a", SLICES)
    classic(tmp_path / "b", SLICES + 500, SeriesInstanceUID=ROOT + "77", SeriesNumber=8)

    def answer() -> None:
        (asking,) = window.findChildren(SeriesChoice)
        asking.table.clearSelection()
        asking.table.setSelectionMode(asking.table.SelectionMode.MultiSelection)
        for row in rows:
            asking.table.selectRow(row)
        asking.accept()

    QTimer.singleShot(0, answer)
    assert [int(np.min(data)) for data, _, _ in opened(str(tmp_path))] == lowest


def test_who_thinks_better_of_it_gets_no_layer_and_no_error(window, tmp_path: Path) -> None:
    classic(tmp_path / "a", SLICES)
    classic(tmp_path / "b", SLICES + 500, SeriesInstanceUID=ROOT + "77", SeriesNumber=8)
    QTimer.singleShot(0, lambda: window.findChildren(SeriesChoice)[0].reject())
    assert opened(str(tmp_path)) == [(None,)]
    opened_one = tmp_path / "a"
    assert len(opened(str(opened_one))) == 1
