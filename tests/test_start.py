"""What the two commands of the README decide before they install anything."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("start", Path(__file__).parents[1] / "start.py")
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)

LISTING = """torch (2.15.0)
Available versions: 2.15.0+cpu, 2.14.0, 2.13.0+cpu, 2.13.0, 2.9.1+cpu, 2.4.0, 1.13.1+cpu
  INSTALLED: 2.3.0"""


@pytest.mark.parametrize(
    ("wanted", "build"),
    [
        ("torch>=2.4,<2.14", "2.13.0+cpu"),
        ("torch>=2.4,<2.13", "2.9.1+cpu"),
        ("torch>=2.14,<2.15", None),
        ("torch>=2.4,<3", "2.15.0+cpu"),
    ],
)
def test_the_newest_cpu_build_within_bounds_is_taken(wanted, build):
    assert start.cpu_build(LISTING, wanted) == build


def test_a_listing_without_versions_offers_none():
    assert start.cpu_build("", "torch>=2.4,<2.14") is None
    assert start.cpu_build("Available versions: 2.13.0, 2.12.0", "torch>=2.4,<2.14") is None


def test_an_installed_version_fits_or_not():
    assert start.fits("2.13.0+cpu", "torch>=2.4,<2.14")
    assert start.fits("2.4.0", "torch>=2.4,<2.14")
    assert not start.fits("2.14.0", "torch>=2.4,<2.14")
    assert not start.fits("", "torch>=2.4,<2.14")


def test_nothing_to_install_is_no_problem():
    assert start.apt_install([], ask=False) == ""


def test_without_a_package_manager_the_missing_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    answer = start.apt_install(["libgl1", "libegl1"], ask=False)
    assert answer.startswith("Missing system libraries, by their Debian names: libgl1 libegl1")


def test_libraries_are_found_by_the_linker():
    assert not start.loads("libno-such-library.so.9")


def test_a_command_that_is_not_there_has_failed():
    assert start.failed(["no-such-command-anywhere"])


def test_a_screen_is_announced_by_either_variable(monkeypatch):
    monkeypatch.setattr(start, "LINUX", True)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", "")
    assert not start.screen_announced()
    monkeypatch.setenv("DISPLAY", ":7")
    assert start.screen_announced()


def test_a_wrong_word_is_refused_before_anything_happens(capsys):
    with pytest.raises(SystemExit, match="2"):
        start.main(["--no-such-flag"])
    assert "--no-such-flag" in capsys.readouterr().err
