"""The second opinion: what ProxyAno cannot rebuild from normal patterns, as a residual of its own."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.nn import functional

from napari_anomaly.detector.calibration import Calibration, calibrate
from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.io.atomic import together
from napari_anomaly.networks.memory import ProxyNetwork, Seen
from napari_anomaly.preprocess import Prepared, coordinates
from napari_anomaly.progress import Progress

PIXEL_MM = 2
"""ProxyAno sees axial slices in voxels of this side."""

BUNDLED = "weights/proxy/brain-proxy.safetensors"
"""Weights that come with the package."""


class ProxyCard(BaseModel):
    """What the weights of a second opinion say of themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    name: str
    widths: tuple[int, ...]
    items: int
    smoothing_mm: float
    """Width of the Gaussian over the signed residual."""
    calibration: Calibration
    """Of the residual on held-out normal scans; its scan scores are the means of their residuals."""
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SecondOpinion:
    """ProxyAno and its calibration."""

    card: ProxyCard
    network: ProxyNetwork
    """In evaluation mode, on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """A scan as ProxyAno sees it."""

    image: Tensor
    """Voxels of `PIXEL_MM`, shape (z, y, x), 0 outside the mask; y and x are multiples of what the network needs."""
    mask: Tensor
    """bool, same shape."""

    def slices(self, positions: Tensor | None = None) -> Tensor:
        """Input of the network, shape (slice, `SCAN_CHANNELS`, y, x): all slices, or those of some indices."""
        chosen = torch.arange(len(self.image), device=self.image.device) if positions is None else positions
        z, y, x = coordinates(self.mask)
        inside = self.mask[chosen].float()
        channels = [self.image[chosen], inside, inside * z[chosen][:, None, None]]
        channels += [inside * y[None, :, None], inside * x[None, None, :]]
        return torch.stack(channels, dim=1).contiguous(memory_format=torch.channels_last)


def coarse(image: Tensor, mask: Tensor, *, multiple: int) -> Coarse:
    """Bring a prepared scan to voxels of `PIXEL_MM`: means over what lies in the mask.

    Parameters
    ----------
    image, mask : Tensor
        Normalised scan and region in 1 mm voxels, even sides, shape (z, y, x).
    multiple : int
        Slices are padded until their sides are multiples of this.
    """
    inside = mask.float()
    share = functional.avg_pool3d(inside[None, None], PIXEL_MM)[0, 0]
    summed = functional.avg_pool3d((image.float() * inside)[None, None], PIXEL_MM)[0, 0]
    region = share >= 0.5
    small = torch.where(region, summed / share.clamp(min=0.5), torch.zeros((), device=image.device))
    pads = [(-side) % multiple for side in small.shape[:0:-1]]
    padding = (0, pads[0], 0, pads[1])
    return Coarse(functional.pad(small, padding), functional.pad(region, padding))


def look(network: ProxyNetwork, scan: Coarse, *, tile: int = 16) -> Generator[Progress, None, Seen]:
    """Rebuild every slice.

    Parameters
    ----------
    network : ProxyNetwork
        In evaluation mode.
    scan : Coarse
        On the device of the network.
    tile : int, default 16
        Slices at once.

    Yields
    ------
    Progress
        Once a tile.

    Returns
    -------
    Seen
        Proxy and rebuilt scan, each of the shape of the scan.
    """
    present = torch.nonzero(scan.mask.flatten(1).any(1)).flatten()
    proxy, image = torch.zeros_like(scan.image), torch.zeros_like(scan.image)
    for start in range(0, len(present), tile):
        yield Progress(start, len(present), "Asking for a second opinion")
        chosen = present[start : start + tile]
        with torch.inference_mode():
            seen = network(scan.slices(chosen))
            proxy[chosen], image[chosen] = seen.proxy[:, 0].float(), seen.image[:, 0].float()
    return Seen(proxy, image)


def residual(scan: Coarse, rebuilt: Tensor, smoothing_mm: float) -> Tensor:
    """How far the rebuilt scan is off.

    Parameters
    ----------
    scan : Coarse
        What was seen.
    rebuilt : Tensor
        Of the same shape.
    smoothing_mm : float
        Standard deviation of the Gaussian over the *signed* difference: noise and texture cancel, a lesion does not.

    Returns
    -------
    Tensor
        |x - x_hat|, same shape, 0 outside the mask.
    """
    difference = torch.where(scan.mask, scan.image - rebuilt, torch.zeros(()))
    inside = scan.mask.float()
    if smoothing_mm > 0:
        sigma = smoothing_mm / PIXEL_MM
        difference = _gauss(difference, sigma) / _gauss(inside, sigma).clamp(min=1e-3)
    return difference.abs() * inside


def _gauss(volume: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / sigma) ** 2)
    weights = (weights / weights.sum()).to(volume.device)
    smooth = volume[None, None]
    for axis in range(3):
        sides, padding = [1, 1, 1], [0, 0, 0]
        sides[axis], padding[axis] = 2 * reach + 1, reach
        smooth = functional.conv3d(smooth, weights.view(1, 1, *sides), padding=padding)
    return smooth[0, 0]


def opinion(
    prepared: Prepared, second: SecondOpinion, *, calibrated: bool = True
) -> Generator[Progress, None, Float32[np.ndarray, "_ _ _"]]:
    """Ask for a second opinion of a prepared scan.

    Parameters
    ----------
    prepared : Prepared
        From `preprocess.prepare`, on the CPU.
    second : SecondOpinion
        From `load`.
    calibrated : bool, default True
        Give the share of normal voxels with a lower residual instead of the residual.

    Yields
    ------
    Progress
        Once a tile of slices.

    Returns
    -------
    ndarray
        float32 on the grid of the scan; 0 outside what was looked at.
    """
    network = second.network
    scan = coarse(prepared.image, prepared.mask, multiple=network.multiple)
    seen = yield from look(network, scan)
    found = residual(scan, seen.image, second.card.smoothing_mm)
    depth, height, width = (side // PIXEL_MM for side in prepared.image.shape)
    fine = functional.interpolate(
        found[None, None, :depth, :height, :width], scale_factor=float(PIXEL_MM), mode="trilinear"
    )[0, 0]
    on_scan = prepared.to_scan(fine).numpy()
    inside = (prepared.to_scan(prepared.mask.float()) > 0.5).numpy()
    if not calibrated:
        return np.where(inside, on_scan, 0).astype(np.float32)
    score = np.zeros(on_scan.shape, np.float32)
    # 0 is kept for what was not looked at
    score[inside] = np.maximum(calibrate(on_scan[inside], second.card.calibration), 1e-6)
    return score


@lru_cache(maxsize=1)
def bundled() -> SecondOpinion:
    """Load the weights that come with the package, once."""
    return load(Path(str(resources.files("napari_anomaly"))) / BUNDLED)


def load(path: Path) -> SecondOpinion:
    """Load the weights of a second opinion.

    Raises
    ------
    UnreadableDetector
        If the file is not there, damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            card = ProxyCard.model_validate_json((stored.metadata() or {})["card"])
            tensors = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
        network = ProxyNetwork(card.widths, card.items)
        network.load_state_dict(tensors, strict=True)
    except (OSError, SafetensorError, KeyError, ValidationError, RuntimeError) as error:
        raise UnreadableDetector(
            f"{path.name} could not be read as the weights of a second opinion ({type(error).__name__}). Needed: a "
            ".safetensors file written by napari-anomaly train-proxy. Install napari-anomaly again, or train it anew."
        ) from error
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not annotated
    return SecondOpinion(card, network.eval())


def save(path: Path, card: ProxyCard, network: ProxyNetwork) -> None:
    """Write the weights in half precision, and what they say of themselves beside them as JSON; both or none.

    Parameters
    ----------
    path : Path
        File; the JSON gets the same name.
    card : ProxyCard
        Stored in the header, and its provenance beside it.
    network : ProxyNetwork
        What is stored.
    """
    from safetensors.torch import save_file

    tensors = {}
    for key, value in network.state_dict().items():
        # running statistics have a range that half precision may not hold
        narrow = value.is_floating_point() and "running_" not in key
        tensors[key] = (value.half() if narrow else value).cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".json")
    with together() as stage:
        save_file(tensors, stage(path), metadata={"card": card.model_dump_json()})
        stage(beside).write_text(json.dumps(dict(card.provenance), indent=1) + "\n", encoding="utf-8")
