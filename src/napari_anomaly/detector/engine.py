"""What runs the networks: plain PyTorch anywhere, or OpenVINO on a CPU, where it is installed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from napari_anomaly.errors import MissingExtra
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.networks.volume import VolumeFeatures

EXAMPLE_SIDE = 32
"""Side of the example that a network is traced with; the result takes any size."""


@runtime_checkable
class Engine(Protocol):
    """Runs the parts of a `JointNetwork`."""

    name: str
    atlas: Tensor
    """Of the network, see `JointNetwork.atlas`."""

    def volume(self, volume: Tensor) -> tuple[VolumeFeatures, Tensor]:
        """3D features of one scan, without encoder levels, and its overall logits (`JointNetwork.overall`)."""

    def plane(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Logit and features of slices."""

    def fuse(self, logit: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Joint logit of slices."""


class TorchEngine:
    """Plain PyTorch.

    Parameters
    ----------
    network : JointNetwork
        In evaluation mode, on its device.
    """

    name = "torch"

    def __init__(self, network: JointNetwork) -> None:
        self._network = network
        self._kind = next(network.parameters()).dtype
        self.atlas = network.atlas

    def volume(self, volume: Tensor) -> tuple[VolumeFeatures, Tensor]:
        """3D features of one scan and its overall logits."""
        seen = self._network.volume(volume.to(self._kind))
        return seen, self._network.overall(volume.to(self._kind), seen)[0]

    def plane(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Logit and features of slices."""
        logit, features, _ = self._network.plane(
            slices.to(self._kind).contiguous(memory_format=torch.channels_last)
        )
        return logit, features

    def fuse(self, logit: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Joint logit of slices."""
        return self._network.fuse(logit, features, context.to(self._kind))


class OpenVinoEngine:
    """The same networks, compiled by OpenVINO for this CPU (bfloat16 where the CPU has it).

    Parameters
    ----------
    network : JointNetwork
        In evaluation mode, on the CPU.
    key : str or None
        Names the converted networks in the user's cache; conversion takes seconds and is done once. None: they are
        not kept.

    Raises
    ------
    MissingExtra
        If OpenVINO is not installed.
    """

    name = "openvino"

    def __init__(self, network: JointNetwork, key: str | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtra(
                "OpenVINO was asked for and is not installed. Install it with: pip install 'napari-anomaly[openvino]', "
                "or choose the engine torch."
            ) from error
        self.atlas = network.atlas
        # as many threads as PyTorch may use: several workers share a machine, and pinned threads would share one core
        limits = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "ENABLE_CPU_PINNING": False}
        core = openvino.Core()
        side = EXAMPLE_SIDE
        half = (1, network.plane.widths[0], side // 2, side // 2)
        context = (1, network.volume.widths[0] + 1, side // 2, side // 2)
        parts: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
            "volume": (_Volume(network), (torch.zeros(1, network.volume.inputs, side, side, side),)),
            "plane": (_Plane(network), (torch.zeros(1, network.plane.inputs, side, side),)),
            "fuse": (
                _Fuse(network),
                (torch.zeros(1, 1, side, side), torch.zeros(half), torch.zeros(context)),
            ),
        }
        # another version of the program may give the same weights more inputs
        kind = f"{network.plane.inputs}-{network.volume.inputs}-{openvino.__version__.split('-')[0]}"
        folder = None if key is None else _cache() / f"{key[:16]}-{kind}"
        self._compiled: dict[str, Any] = {
            name: core.compile_model(
                _converted(None if folder is None else folder / f"{name}.xml", module, example),
                "CPU",
                limits,
            )
            for name, (module, example) in parts.items()
        }

    def volume(self, volume: Tensor) -> tuple[VolumeFeatures, Tensor]:
        """3D features of one scan and its overall logits."""
        logit, features, overall = self._run("volume", volume)
        return VolumeFeatures(logit, features, []), overall[0]

    def plane(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Logit and features of slices."""
        logit, features = self._run("plane", slices)
        return logit, features

    def fuse(self, logit: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Joint logit of slices."""
        return self._run("fuse", logit, features, context)[0]

    def _run(self, name: str, *inputs: Tensor) -> list[Tensor]:
        compiled = self._compiled[name]
        outputs = compiled([tensor.contiguous().numpy() for tensor in inputs])
        # the arrays belong to the engine and are overwritten by its next run
        return [torch.from_numpy(outputs[index].copy()) for index in range(len(compiled.outputs))]


class _Volume(nn.Module):
    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.network.volume(volume)
        return seen.logit, seen.features, self.network.overall(volume, seen)


class _Plane(nn.Module):
    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        logit, features, _ = self.network.plane(slices)
        return logit, features


class _Fuse(nn.Module):
    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, logit: Tensor, features: Tensor, context: Tensor) -> Tensor:
        return self.network.fuse(logit, features, context)


def leave_a_processor() -> None:
    """Have this thread compute on all processors but one, which belongs to a window that draws meanwhile.

    Threads of PyTorch and of OpenVINO wait for the slowest of them at every step: where one shares its processor with
    the drawing, all of them wait, and both the detection and the window are slower than with a thread less.
    """
    others = max(1, (os.cpu_count() or 1) - 1)
    if torch.get_num_threads() > others:
        torch.set_num_threads(others)


def installed() -> bool:
    """Tell whether OpenVINO is there, without importing it."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def _converted(path: Path | None, module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    import openvino

    if path is None:
        return openvino.convert_model(module.eval(), example_input=example)
    if not _kept(path):
        model = openvino.convert_model(module.eval(), example_input=example)
        _keep(model, path)
        if not _kept(path):
            return model
    # the first detection, too, takes what was kept: in bfloat16 that may round otherwise than what was converted
    return openvino.Core().read_model(path)


def _kept(path: Path) -> bool:
    return path.exists() and path.with_suffix(".bin").exists()


def _keep(model: Any, path: Path) -> None:
    import openvino

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as beside:
            written = Path(beside) / path.name
            openvino.save_model(model, written, compress_to_fp16=False)
            # the description names the weights last, so that one without the other is never read
            written.with_suffix(".bin").replace(path.with_suffix(".bin"))
            written.replace(path)
    except OSError:
        return  # a full or read-only disk costs time at the next start, nothing else


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "napari-anomaly" / "engines"
