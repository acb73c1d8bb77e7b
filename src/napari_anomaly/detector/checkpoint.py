"""A detector in one file: safetensors weights with settings, calibration and provenance in its JSON header."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_anomaly.detector.calibration import ANY, Calibration
from napari_anomaly.detector.settings import Networks
from napari_anomaly.errors import UnreadableDetector

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "brain-mri"
"""Detector that is used when none is named."""

_SUFFIX = ".safetensors"


class Card(BaseModel):
    """What a detector says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 2
    name: str
    version: str
    modality: str
    region: str
    plane_widths: tuple[int, ...]
    volume_widths: tuple[int, ...]
    extraction_widths: tuple[int, ...] | None
    best: Networks
    """Networks that measured best on held-out synthetic anomalies."""
    by_contrast: Mapping[str, Networks] = {}
    """Networks that measured best on a contrast, where enough scans of it were held out."""
    ceiling: bool = False
    """Whether it learned from scans whose brightest voxels were bent towards a ceiling, see `intensities.soften`."""
    even: bool = False
    """Whether it learned from scans without the smooth gain of the scanner, see `detector.seen.even_out`."""
    spacing_mm: float = Field(default=1.0, gt=0)
    """Side of the voxels that its networks see: 1 mm for brains, coarser for larger regions."""
    smoothing_mm: float
    calibrations: Mapping[Networks, Mapping[str, Calibration]]
    """For every way to use the networks: by contrast, and `ANY`."""
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Networks, calibration and provenance."""

    card: Card
    sha256: str
    network: nn.Module
    """`JointNetwork` in evaluation mode, float32, on the CPU."""
    extraction: nn.Module | None
    """Brain extraction network, None for a detector of another region."""

    @property
    def name(self) -> str:
        """Name."""
        return self.card.name

    @property
    def version(self) -> str:
        """Version."""
        return self.card.version

    @property
    def modality(self) -> str:
        """What it looks at, in words."""
        return self.card.modality

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How it was made."""
        return self.card.provenance

    @property
    def default_threshold(self) -> float:
        """Calibrated score above which it proposes findings, where no contrast has its own."""
        return self.card.calibrations[self.card.best][ANY].default_threshold

    @property
    def default_min_volume_mm3(self) -> float:
        """Smallest finding that it proposes."""
        return self.card.calibrations[self.card.best][ANY].default_min_volume_mm3


def bundled() -> dict[str, Path]:
    """Files of the detectors that come with the package, by name."""
    folder = Path(str(resources.files("napari_anomaly"))) / "weights"
    return {path.name.removesuffix(_SUFFIX): path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def available() -> tuple[str, ...]:
    """Names of the bundled detectors, the default first."""
    return tuple(sorted(bundled(), key=lambda name: (name != DEFAULT, name)))


def read_card(path: Path) -> Card:
    """Read what a detector says of itself, without its weights and without torch.

    Raises
    ------
    UnreadableDetector
        If the file is no detector.
    """
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > 50_000_000:
                raise ValueError("header too long")
            header = json.loads(handle.read(length))
        return Card.model_validate_json(header["__metadata__"]["card"])
    except (OSError, ValueError, KeyError, TypeError, struct.error, ValidationError) as error:
        raise UnreadableDetector(
            f"{path.name} could not be read as a detector ({type(error).__name__}). Needed: a .safetensors file "
            "written by napari-anomaly train. Choose another file, or train it anew."
        ) from error


def load(name: str | Path) -> Detector:
    """Load a detector.

    Parameters
    ----------
    name : str or Path
        Name of a bundled detector, or a file.

    Raises
    ------
    UnreadableDetector
        If there is no such detector, or the file is damaged.
    """
    path = bundled().get(str(name), Path(name))
    if not path.is_file():
        known = ", ".join(available()) or "none"
        raise UnreadableDetector(
            f"There is no detector {name}. Bundled detectors: {known}. Name one of them, or a detector file."
        )
    card = read_card(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from napari_anomaly.networks.joint import JointNetwork
    from napari_anomaly.networks.volume import VolumeNetwork

    network = JointNetwork(card.plane_widths, card.volume_widths)
    extraction = None if card.extraction_widths is None else VolumeNetwork(2, 1, card.extraction_widths)
    try:
        tensors = {key: value.float() for key, value in load_file(path).items()}
        network.load_state_dict(_widened(_part(tensors, "network/"), network), strict=True)
        if extraction is not None:
            extraction.load_state_dict(_part(tensors, "extraction/"), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise UnreadableDetector(
            f"The weights in {path.name} are damaged or do not fit its description. Fetch or train it anew."
        ) from error
    return Detector(card, _sha256(path), network.eval(), None if extraction is None else extraction.eval())


def _widened(tensors: dict[str, Any], network: nn.Module) -> dict[str, Any]:
    """Let a network that was trained with fewer maps of the tissue model ignore the ones it does not know."""
    known = network.state_dict()
    for key in ("plane.trunk.stem.0.weight", "volume.trunk.stem.0.weight"):
        weight = tensors.get(key)
        if weight is not None and weight.shape[1] < known[key].shape[1]:
            # the maps come last, so their weights do
            padded = known[key].new_zeros(known[key].shape)
            padded[:, : weight.shape[1]] = weight
            tensors[key] = padded
    return tensors


def save(path: Path, card: Card, network: nn.Module, extraction: nn.Module | None) -> None:
    """Write a detector in half precision, whole or not at all.

    Parameters
    ----------
    path : Path
        File.
    card : Card
        What it says of itself.
    network : Module
        `JointNetwork`.
    extraction : Module or None
        Brain extraction network.
    """
    from safetensors.torch import save_file

    parts = {"network/": network} if extraction is None else {"network/": network, "extraction/": extraction}
    tensors = {
        prefix + key: _stored(key, value).cpu().contiguous()
        for prefix, module in parts.items()
        for key, value in module.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    save_file(tensors, beside, metadata={"card": card.model_dump_json()})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(path)


def _stored(key: str, value: Any) -> Any:
    # running statistics have a range that half precision may not hold
    return value.half() if value.is_floating_point() and "running_" not in key else value


def _part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
