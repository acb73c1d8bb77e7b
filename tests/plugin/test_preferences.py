from collections.abc import Iterator
from pathlib import Path

import napari.settings
import pytest
from napari.settings import get_settings
from npe2 import PluginManifest

import napari_anomaly
from napari_anomaly.plugin.preferences import (
    Preferences,
    keep_preference,
    prefer_our_reader,
    preferences,
)


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


# What the reader prefers


def test_the_manifest_offers_every_preference_as_the_class_has_it() -> None:
    manifest = PluginManifest.from_file(Path(napari_anomaly.__file__).parent / "napari.yaml")
    offered = manifest.contributions.configurations["reading"].properties
    wanted = Preferences.model_json_schema()["properties"]
    assert list(offered) == list(wanted)
    for name, field in wanted.items():
        one = offered[name]
        assert (one.type, one.title, one.description) == tuple(
            field[key] for key in ("type", "title", "description")
        )
        assert one.default == field["default"]
        assert one.enum == field.get("enum")
        assert (one.minimum, one.maximum) == (field.get("minimum"), field.get("maximum"))


def test_the_defaults_are_those_of_the_class() -> None:
    assert preferences() == Preferences()


def test_what_napari_keeps_is_what_counts() -> None:
    assert keep_preference("reviews", "/reviews")
    assert keep_preference("keys", "left hand")
    assert preferences() == Preferences(reviews="/reviews", keys="left hand")
    assert not keep_preference("nothing", "of ours")


def test_a_value_out_of_its_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of the allowed"):
        keep_preference("keys", "feet")
    assert preferences().keys == "letters"


def test_before_napari_keeps_preferences_the_defaults_count(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_preference("reviews", "/reviews")
    monkeypatch.delattr(napari.settings, "get_plugin_settings")
    assert preferences() == Preferences()
    assert not keep_preference("reviews", "/elsewhere")
