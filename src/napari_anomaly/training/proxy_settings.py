"""Settings of the second opinion's training, with their bounds: the command line comes from these fields."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Proxy = Literal["superpixels", "supervoxels", "blurred", "quantised", "edges", "image"]
"""What may stand between a scan and its reconstruction, see `proxies.make_proxy`."""


class ProxySettings(BaseModel):
    """How the second opinion is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    normals: tuple[Path, ...] = Field(
        default=(),
        description="Folders of normal scans (NIfTI). A brain label map named <scan>_DLMUSE beside a scan is used.",
    )
    label_maps: Path | None = Field(
        default=None,
        description="Folder of whole-head label maps (FreeSurfer numbers) to synthesise normal scans from.",
    )
    out: Path = Field(
        default=Path("second-opinion.safetensors"), description="File the weights are written to."
    )
    name: str = Field(
        default="second-opinion", min_length=1, max_length=60, description="Name of the weights."
    )
    proxy: Proxy = Field(
        default="superpixels",
        description="What stands between scan and reconstruction: superpixels of each slice, supervoxels, or one of "
        "the proxies they are compared with.",
    )
    superpixel_mm: float = Field(default=12.0, ge=4, le=60, description="Side of a superpixel in mm.")
    memory_items: int = Field(
        default=256, ge=0, le=8192, description="Normal patterns in the memory; 0: no memory."
    )
    pseudo_anomalies: Literal["none", "proxy", "both"] = Field(
        default="both",
        description="Where patches of the scan are pasted to be undone: nowhere, on the proxy, or on scan and proxy.",
    )
    widths: tuple[int, ...] = Field(
        default=(16, 32, 64, 96), min_length=3, max_length=5, description="Channels at cells of 4, 8, ... mm."
    )
    steps: int = Field(default=4000, ge=1, le=1_000_000, description="Training steps.")
    minutes: float = Field(
        default=0.0,
        ge=0,
        le=100_000,
        description="Stop after this time instead, fully annealed; 0: no limit.",
    )
    scans_per_step: int = Field(default=4, ge=1, le=64, description="Scans in a step.")
    slices_per_scan: int = Field(default=2, ge=1, le=78, description="Slices of each scan in a step.")
    pool: int = Field(default=64, ge=1, le=4096, description="Synthesised normal scans kept ready.")
    renew_every: int = Field(
        default=20, ge=1, le=10_000, description="Steps after which the oldest scan of the pool is made anew."
    )
    learning_rate: float = Field(default=4e-3, gt=0, le=0.1, description="Peak learning rate (AdamW).")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where to train.")
    threads: int = Field(default=0, ge=0, le=256, description="CPU threads; 0: all.")
    seed: int = Field(default=1, ge=0, description="Seed of everything random.")
    held_out_every: int = Field(
        default=8,
        ge=2,
        le=100,
        description="Every n-th normal is never trained on: it calibrates the residual.",
    )
    checkpoint_minutes: float = Field(
        default=4.0, gt=0, le=600, description="Time between checkpoints, from which training resumes."
    )
