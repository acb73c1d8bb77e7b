"""What ``import napari_anomaly`` gives, and what it costs."""

import subprocess
import sys

import pytest

import napari_anomaly


@pytest.mark.parametrize("name", napari_anomaly.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(napari_anomaly, name)
    assert value.__module__.startswith("napari_anomaly.")
    assert value.__doc__


def test_public_names_are_listed() -> None:
    assert set(napari_anomaly.__all__) <= set(dir(napari_anomaly))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'napari_anomaly' has no attribute 'nothing'"):
        _ = napari_anomaly.nothing


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import napari_anomaly", ("numpy", "nibabel", "torch", "napari")),
        ("from napari_anomaly import io", ("nibabel", "tifffile", "torch", "napari", "qtpy")),
        ("from napari_anomaly import open_sample; open_sample()", ("tifffile", "torch", "napari", "qtpy")),
    ],
)
def test_importing_loads_only_what_is_needed(statement: str, unwanted: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
