"""Checkpoints of a running training: tensors in safetensors, the rest in its JSON header; nothing is pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_anomaly.errors import UnreadableDetector


def save_state(
    path: Path, *, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer, facts: dict[str, Any]
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : Path
        File.
    modules : dict of str to Module
        Networks by name.
    optimiser : Optimizer
        Its state tensors are kept.
    facts : dict
        Anything JSON: step, seconds, random state, curve.
    """
    tensors = {
        f"{name}/{key}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimiser/{index}/{key}"] = (
                torch.as_tensor(value).detach().cpu().clone(memory_format=torch.contiguous_format)
            )
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata={"facts": json.dumps(facts)})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(path)


def load_state(
    path: Path, *, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """Read a checkpoint into networks and optimiser, return its facts.

    Parameters
    ----------
    path : Path
        File.
    modules : dict of str to Module
        Networks of the same shape as those saved.
    optimiser : Optimizer
        Optimiser of the same parameters.

    Raises
    ------
    UnreadableDetector
        If the file is damaged, or was written for other networks.
    """
    try:
        return _load(path, modules, optimiser)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableDetector(
            f"The training cannot go on from {path.name} ({type(error).__name__}): it is damaged, or of another "
            "version. Delete it to train anew, or name another file to write to."
        ) from error


def _load(path: Path, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    states: dict[str, dict[str, Tensor]] = {name: {} for name in modules}
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as stored:
        for key in stored.keys():  # noqa: SIM118 (not a mapping)
            name, rest = key.split("/", 1)
            if name == "optimiser":
                index, field = rest.split("/")
                moments.setdefault(int(index), {})[field] = stored.get_tensor(key)
            elif name in states:
                states[name][rest] = stored.get_tensor(key)
        facts: dict[str, Any] = json.loads(stored.metadata()["facts"])
    for name, module in modules.items():
        module.load_state_dict(states[name])
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return facts
