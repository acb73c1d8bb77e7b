"""Settings of the training of an anatomy network: the command line comes from these fields."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AnatomySettings(BaseModel):
    """How the anatomy network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_maps: Path | None = Field(
        default=None, description="Folder of whole-head label maps (FreeSurfer numbers)."
    )
    heads: Path | None = Field(
        default=None,
        description="Folder of T1 heads, each with a label map of lobes named <scan>_DLMUSE beside it.",
    )
    out: Path = Field(default=Path("anatomy.safetensors"), description="File the network is written to.")
    steps: int = Field(default=3000, ge=1, le=1_000_000, description="Training steps of one scan each.")
    minutes: float = Field(
        default=0.0,
        ge=0,
        le=100_000,
        description="Stop after this time instead, fully annealed; 0: no limit.",
    )
    lobes: float = Field(
        default=0.6, ge=0, le=1, description="Share of training scans made of heads whose lobes are labelled."
    )
    widths: tuple[int, ...] = Field(
        default=(24, 48, 80, 96), description="Channels of the network, finest level first."
    )
    learning_rate: float = Field(default=4e-3, gt=0, le=0.1, description="Peak learning rate (AdamW).")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where to train.")
    threads: int = Field(default=0, ge=0, le=256, description="CPU threads; 0: all.")
    seed: int = Field(default=1, ge=0, description="Seed of everything random.")
    held_out: tuple[str, ...] = Field(
        default=(),
        description="Names of label maps (without .nii.gz) that are never trained on; else every n-th.",
    )
    held_out_every: int = Field(
        default=8, ge=2, le=100, description="Every n-th label map of a folder is never trained on."
    )
    checkpoint_minutes: float = Field(
        default=4.0, gt=0, le=600, description="Time between checkpoints, from which training resumes."
    )
