"""Settings of the training, with their bounds: the form and the command line come from these fields."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """How a detector is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    normals: tuple[Path, ...] = Field(
        default=(),
        description="Folders of normal scans (NIfTI). A brain label map named <scan>_DLMUSE beside a scan is used.",
    )
    normal_scans: tuple[Path, ...] = Field(
        default=(), description="Single normal scans (NIfTI), T1-weighted, or FLAIR where the name says so."
    )
    label_maps: Path | None = Field(
        default=None,
        description="Folder of whole-head label maps (FreeSurfer numbers) to synthesise normal scans from.",
    )
    lesion_shapes: tuple[Path, ...] = Field(
        default=(), description="Folders of binary masks: realistic outlines for synthetic anomalies."
    )
    begin_with: str = Field(
        default="",
        max_length=1000,
        description="Detector whose weights the training begins with: a bundled one's name, or a file. Left out: none.",
    )
    out: Path = Field(default=Path("detector.safetensors"), description="File the detector is written to.")
    name: str = Field(default="detector", min_length=1, max_length=60, description="Name of the detector.")
    region: Literal["brain", "body"] = Field(
        default="brain",
        description="brain: scans are cut to the brain first. body: the whole silhouette is looked at.",
    )
    spacing_mm: float = Field(
        default=0.0,
        ge=0,
        le=20,
        description="Side in mm of the voxels that the networks see, for a region other than the brain; 0: 1 mm, or as "
        "coarse as the largest normal scan needs to fit.",
    )
    steps: int = Field(default=4000, ge=1, le=1_000_000, description="Training steps.")
    minutes: float = Field(
        default=0.0,
        ge=0,
        le=100_000,
        description="Stop after this time instead, fully annealed; 0: no limit.",
    )
    extraction_steps: int = Field(
        default=500, ge=0, le=100_000, description="Steps for the brain extraction network, trained first."
    )
    scans_per_step: int = Field(default=2, ge=1, le=64, description="Scans in a step.")
    slices_per_scan: int = Field(default=6, ge=1, le=160, description="Slices of each scan in a step.")
    pool: int = Field(default=48, ge=1, le=4096, description="Synthesised normal scans kept ready.")
    renew_every: int = Field(
        default=7, ge=1, le=1000, description="Steps after which the oldest scan of the pool is made anew."
    )
    learning_rate: float = Field(default=3e-3, gt=0, le=0.1, description="Peak learning rate (AdamW).")
    embedding_weight: float = Field(
        default=0.05,
        ge=0,
        le=10,
        description="Weight of the joint embedding loss (NT-Xent); 0 switches it off.",
    )
    tail_weight: float = Field(
        default=0.25,
        ge=0,
        le=10,
        description="Weight of the normal voxels that look most anomalous; 0 gives them no weight of their own.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where to train.")
    threads: int = Field(default=0, ge=0, le=256, description="CPU threads; 0: all.")
    seed: int = Field(default=1, ge=0, description="Seed of everything random.")
    held_out_every: int = Field(
        default=8,
        ge=2,
        le=100,
        description="Every n-th normal is never trained on: it calibrates the scores.",
    )
    checkpoint_minutes: float = Field(
        default=4.0, gt=0, le=600, description="Time between checkpoints, from which training resumes."
    )
