"""Settings of a detection, with their bounds: the form and the command line come from these fields."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Networks = Literal["joint", "plane", "volume", "mean"]


class DetectSettings(BaseModel):
    """How a scan is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Where to compute; auto takes a GPU where there is one."
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="What runs the networks on a CPU; auto takes OpenVINO where it is installed.",
    )
    networks: Networks | None = Field(
        default=None,
        description="joint: 2D and 3D network through their joint embedding; plane: 2D alone; volume: 3D alone; "
        "mean: average of the three. Left out: what measured best for this detector.",
    )
    mirror: bool = Field(
        default=False,
        description="Look a second time at the mirrored scan and average: steadier, twice the time.",
    )
    stability: bool = Field(
        default=True,
        description="Look a second time at every other slice of the mirrored scan, and say how much of each finding is "
        "found again; off saves a second or two.",
    )
    anatomy: bool = Field(
        default=True,
        description="Say in which structure of the brain a finding lies; off saves a second. Brains only.",
    )
    second_opinion: bool = Field(
        default=False,
        description="Ask ProxyAno, too: what it cannot rebuild from normal patterns becomes a map of its own.",
    )
    supervoxel_mm3: float = Field(
        default=150.0,
        ge=8,
        le=20_000,
        description="Size of a supervoxel in mm3 (a voxel unit where mm are unknown).",
    )
    tile: int = Field(default=12, ge=1, le=256, description="Slices that go through the 2D network at once.")
