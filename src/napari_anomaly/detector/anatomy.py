"""The anatomy of a scan: the bundled network, its description, and its labels on the scan's own grid."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_anomaly.anatomy import STRUCTURES, Anatomy, borders
from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.geometry import Geometry

if TYPE_CHECKING:
    import torch

    from napari_anomaly.networks.anatomy import AnatomyNetwork
    from napari_anomaly.preprocess import Prepared

REDUCTION = 3
"""The network sees voxels of this many mm."""

FINE = 2
"""Labels are drawn in voxels this many times smaller than the network's, along borders of interpolated shares."""

_MARGIN = 2


class AnatomyCard(BaseModel):
    """What an anatomy network says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    widths: tuple[int, ...]
    structures: tuple[str, ...]
    """Names of its outputs, in their order."""
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class AnatomyLabeller:
    """A network that labels the structures of a brain, and how it was made."""

    card: AnatomyCard
    network: AnatomyNetwork


def bundled_anatomy() -> Path:
    """File of the anatomy network that comes with the package."""
    return Path(str(resources.files("napari_anomaly"))) / "weights" / "anatomy" / "brain-anatomy.safetensors"


def read_anatomy_card(path: Path) -> AnatomyCard:
    """Read what an anatomy network says of itself, without its weights and without torch.

    Raises
    ------
    UnreadableDetector
        If the file is no anatomy network, or one of other structures.
    """
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, 10_000_000)))
        card = AnatomyCard.model_validate_json(header["__metadata__"]["anatomy"])
        if card.structures != tuple(str(structure) for structure in STRUCTURES):
            raise ValueError("other structures")
    except (OSError, ValueError, KeyError, TypeError, struct.error, ValidationError) as error:
        raise UnreadableDetector(
            f"{path.name} could not be read as an anatomy network ({type(error).__name__}). Needed: a file written "
            "by this version of napari-anomaly train-anatomy. Install napari-anomaly anew, or detect without anatomy."
        ) from error
    return card


@lru_cache(maxsize=1)
def load_anatomy(path: Path | None = None) -> AnatomyLabeller:
    """Load an anatomy network, the bundled one if no file is named.

    Raises
    ------
    UnreadableDetector
        If the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from napari_anomaly.networks.anatomy import AnatomyNetwork
    from napari_anomaly.networks.blocks import use_channels_last

    path = path or bundled_anatomy()
    card = read_anatomy_card(path)
    network = AnatomyNetwork(widths=card.widths)
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()}, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise UnreadableDetector(
            f"The weights in {path.name} are damaged or do not fit its description. Install napari-anomaly anew, "
            "or detect without anatomy."
        ) from error
    use_channels_last(network, 3)
    return AnatomyLabeller(card, network.eval())


def save_anatomy(path: Path, network: AnatomyNetwork, provenance: Mapping[str, Any]) -> None:
    """Write an anatomy network in half precision, whole or not at all.

    Parameters
    ----------
    path : Path
        File.
    network : AnatomyNetwork
        Anatomy network.
    provenance : mapping
        How it was made; anything that JSON can hold.
    """
    from safetensors.torch import save_file

    names = tuple(str(structure) for structure in STRUCTURES)
    card = AnatomyCard(widths=network.widths, structures=names, provenance=provenance)
    tensors = {key: value.detach().half().cpu().contiguous() for key, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    save_file(tensors, beside, metadata={"anatomy": card.model_dump_json()})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(path)


def find_anatomy(network: AnatomyNetwork, prepared: Prepared, geometry: Geometry) -> Anatomy:
    """Label the structures of a prepared brain on the grid of its scan.

    Parameters
    ----------
    network : AnatomyNetwork
        Anatomy network, on the CPU.
    prepared : Prepared
        A brain.
    geometry : Geometry
        The scan's own.
    """
    labels = label_voxels(network, anatomy_inputs(prepared.image, prepared.mask)).numpy()
    spacing = REDUCTION / FINE
    near = borders(labels, spacing)
    planes = [
        _places(n, canonical, middle, side, spacing)
        for n, canonical, middle, side in zip(
            prepared.shape, prepared.canonical, prepared.centre, prepared.image.shape, strict=True
        )
    ]
    return Anatomy(_on_scan(labels, planes), _on_scan(near, planes), geometry)


def anatomy_inputs(image: torch.Tensor, mask: torch.Tensor, *, reduction: int = REDUCTION) -> torch.Tensor:
    """Input of the anatomy network (after Kazemimoghadam et al. 2022, arXiv 2205.09107).

    Parameters
    ----------
    image : Tensor
        Normalised scan, shape (z, y, x).
    mask : Tensor
        Global binary mask, bool, same shape.
    reduction : int, default `REDUCTION`
        Voxels of the image along one of the network's; sides are even multiples of it.

    Returns
    -------
    Tensor
        Shape (1, 5, z / reduction, y / reduction, x / reduction): the scan, the mask, three coordinates within it.
    """
    import torch
    from torch.nn import functional

    from napari_anomaly.preprocess import coordinates

    coarse = functional.avg_pool3d(torch.stack((image.float(), mask.float()))[None], reduction)[0]
    inside = coarse[1] > 0.5
    z, y, x = coordinates(inside)
    places = [inside * z[:, None, None], inside * y[None, :, None], inside * x[None, None, :]]
    return torch.stack([coarse[0], coarse[1], *places])[None]


def label_voxels(network: AnatomyNetwork, inputs: torch.Tensor) -> torch.Tensor:
    """Label of the likeliest structure, uint8, in voxels `FINE` times smaller than those of the inputs.

    Parameters
    ----------
    network : AnatomyNetwork
        Anatomy network.
    inputs : Tensor
        From `anatomy_inputs`; 0 outside of the mask in the result.
    """
    import torch
    from torch.nn import functional

    from napari_anomaly.networks.anatomy import to_labels

    inside = inputs[0, 1] >= 0.5
    result = torch.zeros([FINE * side for side in inside.shape], dtype=torch.uint8)
    if not bool(inside.any()):
        return result
    box = tuple(_box(inside.movedim(axis, 0).flatten(1).any(1)) for axis in range(3))
    with torch.inference_mode():
        cut = inputs[:, :, box[0], box[1], box[2]].contiguous(memory_format=torch.channels_last_3d)
        logit = functional.interpolate(network(cut).float(), scale_factor=FINE, mode="trilinear")[0]
        mask = functional.interpolate(cut[:, 1:2], scale_factor=FINE, mode="trilinear")[0, 0] >= 0.5
    z, y, x = (slice(FINE * part.start, FINE * part.stop) for part in box)
    result[z, y, x] = (to_labels(logit) * mask).to(torch.uint8)
    return result


def _box(present: torch.Tensor) -> slice:
    import torch

    places = torch.nonzero(present).flatten()
    low, high = max(0, int(places[0]) - _MARGIN), min(len(present), int(places[-1]) + 1 + _MARGIN)
    # the network folds cells of two voxels, and the whole grid is even
    return slice(low // 2 * 2, -(-high // 2) * 2)


def _places(voxels: int, canonical: int, middle: int, side: int, spacing: float) -> np.ndarray:
    """Place in the labels of every voxel of the scan along one axis; -1 beyond."""
    millimetres = (np.arange(voxels) + 0.5) * canonical / voxels - middle + side // 2
    places = np.floor(millimetres / spacing).astype(np.intp)
    return np.where((places >= 0) & (millimetres < side), places, -1)


def _on_scan(values: np.ndarray, planes: list[np.ndarray]) -> np.ndarray:
    padded = np.pad(values, ((0, 1),) * 3)  # the place -1 is the padding, 0
    return np.ascontiguousarray(padded[np.ix_(*planes)])
