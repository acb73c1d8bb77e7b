"""Where a detection can be computed, in words for a person."""

from __future__ import annotations

from dataclasses import dataclass

from napari_anomaly.errors import DetectorError


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device, and why it.

    Parameters
    ----------
    name : str
        "cpu", "cuda" or "mps".
    text : str
        For the screen.
    """

    name: str
    text: str


def devices() -> tuple[DeviceChoice, ...]:
    """List the devices of this machine, the fastest first."""
    import torch

    found = []
    if torch.cuda.is_available():
        found.append(DeviceChoice("cuda", f"GPU: {torch.cuda.get_device_name(0)}"))
    if torch.backends.mps.is_available():
        found.append(DeviceChoice("mps", "GPU: Apple (MPS)"))
    found.append(DeviceChoice("cpu", f"CPU, {torch.get_num_threads()} threads"))
    return tuple(found)


def choose(device: str = "auto") -> DeviceChoice:
    """Turn a wish into a device of this machine.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        What was asked for.

    Raises
    ------
    DetectorError
        If the device is not there.
    """
    here = devices()
    if device == "auto":
        if here[0].name != "cpu":
            return DeviceChoice(here[0].name, f"{here[0].text}, found on this machine")
        return DeviceChoice("cpu", "CPU, no CUDA or Apple GPU found here")
    for choice in here:
        if choice.name == device:
            return choice
    names = ", ".join(choice.name for choice in here)
    raise DetectorError(
        f"The device {device} was asked for; this machine has {names}. Choose one of them, or auto."
    )
