from collections.abc import Iterator

import pytest
from napari.settings import get_settings

from napari_anomaly.plugin.preferences import prefer_our_reader


@pytest.fixture(autouse=True)
def _clean(no_settings_file: None) -> Iterator[None]:
    before = dict(get_settings().plugins.extension2reader)
    get_settings().plugins.extension2reader = {}
    yield
    get_settings().plugins.extension2reader = before


def test_nifti_files_open_without_a_question() -> None:
    prefer_our_reader()
    chosen = get_settings().plugins.extension2reader
    assert chosen == dict.fromkeys(("*.nii", "*.nii.gz", "*.hdr", "*.img"), "napari-anomaly")


def test_what_the_user_chose_stays() -> None:
    get_settings().plugins.extension2reader = {"*.nii.gz": "another", "*.tif": "napari"}
    prefer_our_reader()
    chosen = get_settings().plugins.extension2reader
    assert chosen["*.nii.gz"] == "another"
    assert chosen["*.tif"] == "napari"
    assert chosen["*.nii"] == "napari-anomaly"


def test_doing_it_again_changes_nothing() -> None:
    prefer_our_reader()
    before = dict(get_settings().plugins.extension2reader)
    prefer_our_reader()
    assert get_settings().plugins.extension2reader == before
