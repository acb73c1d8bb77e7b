import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fake_engine import TILES, FakeEngine
from napari_anomaly.plugin.display import display_codes
from napari_anomaly.plugin.engine import Engine, Request, TheDetector, detection
from napari_anomaly.progress import Progress, drain
from napari_anomaly.scan import Scan


def test_both_engines_are_engines() -> None:
    assert isinstance(FakeEngine(), Engine)
    assert isinstance(TheDetector(), Engine)


def test_a_detection_is_ready_to_be_shown(scan: Scan) -> None:
    seen: list[Progress] = []
    outcome = drain(detection(FakeEngine(notes=("short of memory",)), Request(scan, "fake 1.0")), seen.append)
    assert np.array_equal(outcome.display.plain, display_codes(outcome.result.map.score))
    assert outcome.notes == ("short of memory",)
    assert len(seen) == TILES + 1


def test_a_second_opinion_is_shown_where_it_was_wanted(scan: Scan) -> None:
    with_it = drain(detection(FakeEngine(), Request(scan, "fake 1.0", second_opinion=True)))
    assert np.array_equal(with_it.display.residual, display_codes(with_it.result.map.score / 2))
    alone = drain(detection(FakeEngine(), Request(scan, "fake 1.0")))
    assert alone.display.residual is None


def test_closing_a_detection_closes_the_detector(scan: Scan) -> None:
    engine = FakeEngine()
    steps = detection(engine, Request(scan, "fake 1.0"))
    next(steps)
    steps.close()
    assert engine.closed == 1
    assert engine.finished == 0


def test_an_error_passes_through(scan: Scan) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        drain(detection(FakeEngine(error=RuntimeError("out of luck")), Request(scan, "fake 1.0")))


@pytest.mark.parametrize(
    "module", ["napari_anomaly.plugin", "napari_anomaly.plugin.engine", "napari_anomaly.session"]
)
def test_importing_loads_no_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("screen")
def test_the_whole_dock_loads_no_torch() -> None:
    code = (
        "import sys, napari_anomaly.plugin.contributions, napari_anomaly.plugin.launch;"
        "from napari_anomaly.plugin.engine import TheDetector; TheDetector().names();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class NotInstalled:
    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_torch_reading_goes_on_and_detecting_says_what_is_missing() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_engine import NotInstalled
sys.meta_path.insert(0, NotInstalled())
from napari_anomaly.errors import MissingExtra
from napari_anomaly.plugin.engine import Request, TheDetector
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom
(only,) = TheDetector().devices()
assert only.name == "auto" and "needs PyTorch, which is not installed" in only.text, only
try:
    drain(TheDetector().detect(Request(phantom((8, 8, 8)), "brain-mri")))
except MissingExtra as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("Detecting needs PyTorch, which is not installed"), answer.stderr
