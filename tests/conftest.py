"""What tests of the window share.

The package is imported inside of the fixtures only: it must not be there before its types are to be checked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_anomaly.scan import Scan
    from rings import Ring


def pytest_configure(config: pytest.Config) -> None:
    if not os.environ.get("DISPLAY"):
        return
    # Mesa's software renderers crash two frames after a program is deleted whose shaders equal a live one's,
    # as happens when one of two layers of a kind is removed.
    from vispy.gloo.glir import GlirProgram

    GlirProgram.delete = lambda self: None


@pytest.fixture(autouse=True)
def reviews(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep reviews of tests out of the folders of whoever runs them."""
    folder = tmp_path / "reviews"
    monkeypatch.setenv("NAPARI_ANOMALY_REVIEWS", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


@pytest.fixture(autouse=True)
def default_preferences(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every test begin with the default preferences, and keep what it sets out of the user's."""
    give = getattr(sys.modules.get("napari.settings"), "get_plugin_settings", None)
    if give is None:
        yield
        return
    kept = give("napari-anomaly")
    monkeypatch.setattr(type(kept), "_maybe_save", lambda self: None)
    plain = {name: field.default for name, field in type(kept.reading).model_fields.items()}
    kept.reading.update(plain)
    yield
    kept.reading.update(plain)


@pytest.fixture
def no_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test sets out of the settings of whoever runs the tests."""
    from napari.settings import get_settings

    monkeypatch.setattr(type(get_settings()), "_maybe_save", lambda self: None)


@pytest.fixture
def screen(no_settings_file: None) -> None:
    """Skip a test that needs a window where none can be opened: Qt would end the whole run."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        pytest.skip("needs a screen: run the tests with xvfb-run")


@pytest.fixture
def scan() -> Scan:
    """Give a small head with a bright ball of 18 mm radius."""
    from napari_anomaly.samples import phantom

    return phantom((20, 24, 22), lesion_mm=18.0, rng=np.random.default_rng(1))


@pytest.fixture
def ring() -> Iterator[Ring]:
    """Give a keyring in memory in place of the system's."""
    keyring = pytest.importorskip("keyring", reason="needs the extra pacs")
    from rings import Ring

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield keyring.get_keyring()
    keyring.set_keyring(before)
