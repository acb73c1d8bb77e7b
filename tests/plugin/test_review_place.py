from pathlib import Path

import napari.settings
import pytest

from napari_anomaly.io import read_scan
from napari_anomaly.plugin.preferences import keep_preference, preferences
from napari_anomaly.plugin.review_place import VARIABLE, choose_folder, chosen_folder, folder_for
from napari_anomaly.samples import open_sample, phantom
from phantoms import save_nifti


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)


def test_reviews_lie_beside_the_scan(tmp_path: Path) -> None:
    scan = phantom((6, 6, 6))
    path = save_nifti(tmp_path / "head.nii", scan.voxels, scan.geometry.affine)
    assert folder_for(read_scan(path)) == tmp_path


def test_what_has_no_place_of_its_own_goes_to_the_reader() -> None:
    own = folder_for(phantom((6, 6, 6)))
    assert own.name == "reviews"
    assert folder_for(open_sample("ms-flair")) == own


def test_a_chosen_folder_goes_before_and_the_variable_before_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = phantom((6, 6, 6))
    choose_folder(tmp_path / "mine")
    assert folder_for(scan) == chosen_folder() == tmp_path / "mine"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "ours"))
    assert folder_for(scan) == tmp_path / "ours"
    monkeypatch.delenv(VARIABLE)
    choose_folder(None)
    assert chosen_folder() is None


def test_a_folder_that_is_chosen_in_the_dock_stands_in_the_preferences(tmp_path: Path) -> None:
    choose_folder(tmp_path / "mine")
    assert preferences().reviews == str(tmp_path / "mine")
    keep_preference("reviews", str(tmp_path / "other"))
    assert chosen_folder() == tmp_path / "other"


def test_before_napari_keeps_preferences_a_file_of_ours_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(napari.settings, "get_plugin_settings")
    choose_folder(tmp_path / "mine")
    assert chosen_folder() == tmp_path / "mine"
    choose_folder(None)
    assert chosen_folder() is None
