"""What the dock asks of the detector: names, devices, and a detection that is ready to be shown.

The detector, and torch with it, is imported inside of these functions, which run in a worker thread; so the
window opens fast, and reading a scan needs neither.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from napari_anomaly.errors import MissingExtra
from napari_anomaly.extras import torch_needed
from napari_anomaly.plugin.display import Display, prepare
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan
from napari_anomaly.session import Result

__all__ = ["AUTOMATIC", "Device", "Engine", "Outcome", "Request", "TheDetector", "detection"]

AUTOMATIC = "auto"


@dataclass(frozen=True, slots=True)
class Device:
    """Something to compute on.

    Parameters
    ----------
    name
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    text
        What it is, and for ``"auto"`` which one it means here and why.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One press of Detect.

    Parameters
    ----------
    scan
        What to look at.
    detector
        Name of a bundled detector, or the path of a file.
    device
        See `Device.name`.
    second_opinion
        Whether to ask for a second opinion, too.
    """

    scan: Scan
    detector: str | Path
    device: str = AUTOMATIC
    second_opinion: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A detection, ready to be shown.

    Parameters
    ----------
    result
        The map and the supervoxels.
    display
        Their display copies.
    notes
        What the reader should know of the run: memory was short, another device was used.
    """

    result: Result
    display: Display
    notes: tuple[str, ...] = ()


@runtime_checkable
class Engine(Protocol):
    """What the dock needs; the tests have one of their own that needs no networks."""

    def names(self) -> tuple[str, ...]:
        """Give the names of the detectors that come with the package; fast."""

    def devices(self) -> tuple[Device, ...]:
        """Give what there is to compute on, automatic first; slow, never called in the window's thread."""

    def detect(self, request: Request) -> Steps[Result]:
        """Detect, one `Progress` per tile; closing the generator cancels."""


class TheDetector:
    """The real thing."""

    def names(self) -> tuple[str, ...]:
        """Give the names of the bundled detectors."""
        from napari_anomaly.detector.checkpoint import available

        return tuple(available())

    def devices(self) -> tuple[Device, ...]:
        """Give the devices of this machine, automatic first; imports torch."""
        try:
            with torch_needed("Detecting"):
                from napari_anomaly.detector.device import choose, devices

                chosen = choose(AUTOMATIC)
                found = (Device(device.name, device.text) for device in devices())
                return (Device(AUTOMATIC, f"automatic: {chosen.text}"), *found)
        except MissingExtra as error:
            # Whoever only reads needs none, and is not to be bothered before pressing Detect.
            return (Device(AUTOMATIC, f"none. {error}"),)

    def detect(self, request: Request) -> Steps[Result]:
        """Load the detector and run it."""
        yield Progress(0, 0, "loading the detector")
        with torch_needed("Detecting"):
            from napari_anomaly.detector.checkpoint import load
            from napari_anomaly.detector.detect import detect
            from napari_anomaly.detector.engine import leave_a_processor
            from napari_anomaly.detector.settings import DetectSettings

            leave_a_processor()
            detector = load(request.detector)
            wishes = {"device": request.device, "second_opinion": request.second_opinion}
            settings = DetectSettings.model_validate(wishes)
            return cast(Result, (yield from detect(request.scan, detector, settings)))


def detection(engine: Engine, request: Request) -> Steps[Outcome]:
    """Detect, and prepare what the window shows, so that nothing is left to be computed there."""
    result = yield from engine.detect(request)
    # A review is tied to both fingerprints; they are computed once, and here nobody waits for them.
    _ = request.scan.sha256, result.map.sha256
    yield Progress(0, 0, "preparing the layers")
    display = prepare(result.map, result.supervoxels, getattr(result, "second_opinion", None))
    return Outcome(result, display, tuple(getattr(result, "notes", ())))
