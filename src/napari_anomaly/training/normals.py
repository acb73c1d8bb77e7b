"""Normal scans to learn from: real ones, and ones synthesised in any contrast from label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_anomaly.boxes import box_max, box_mean
from napari_anomaly.intensities import normalise
from napari_anomaly.preprocess import FIELD, HEAD, HEAD_MM, middle_of, place, silhouette_fine
from napari_anomaly.pretask.shapes import field, rotation, share_around
from napari_anomaly.training.acquisition import acquire
from napari_anomaly.training.contrast import (
    CLASSES,
    CSF,
    ENHANCED,
    TISSUE_OF,
    WHITE,
    Family,
    brain_classes,
    draw_contrast,
    draw_family,
)
from napari_anomaly.training.leftovers import leave
from napari_anomaly.training.unlabelled import SHOWN, add_unlabelled

STRIPPED = 0.5
"""Share of the scans from whole-head label maps that are skull-stripped; real scans always are, within `FIELD`."""


SLOPPY = 0.6
"""Share of the skull-stripped scans from label maps on which the extraction left something else than brain."""


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """A normal scan, ready to be painted on."""

    image: Tensor
    """Shape `FIELD`, float16, the brain's p5 to p95 span 0 to 1, 0 outside the brain."""
    mask: Tensor
    """The brain, bool, same shape."""
    white: Tensor
    """Deep white matter, as far as it is known, bool, same shape: where most lesions lie."""
    family: Family
    """Kind of contrast."""
    tissue: Tensor
    """White matter 1, grey matter 2, fluid 3, unknown 0, uint8, same shape."""

    def with_image(self, image: Tensor) -> Normal:
        """Return the same region with other intensities."""
        return replace(self, image=image)

    def mirrored(self) -> Normal:
        """Return the scan with left and right exchanged."""
        image, mask, white, tissue = (
            values.flip(-1) for values in (self.image, self.mask, self.white, self.tissue)
        )
        return Normal(image, mask, white, self.family, tissue)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A normal person: a label map, or a real scan with its brain mask, in 1 mm voxels around the brain."""

    name: str
    kind: Literal["labels", "t1", "flair", "own"]
    voxels: Tensor
    """Label classes (uint8) or intensities (float16), shape `FIELD`."""
    mask: Tensor
    """The brain, bool, shape `FIELD`."""
    head: Tensor | None = None
    """Whole head (classes or intensities) in `HEAD_MM` voxels, shape `HEAD`, for the brain extraction."""
    head_mask: Tensor | None = None
    """Brain in the same grid, bool."""


def load_volume(path: Path, *, spacing: float, labels: bool = False) -> np.ndarray:
    """Read a NIfTI volume in (superior, posterior, left) order and isotropic voxels.

    Parameters
    ----------
    path : Path
        File.
    spacing : float
        Side of the voxels in mm.
    labels : bool, default False
        Nearest neighbour instead of linear interpolation.
    """
    image = nibabel.as_closest_canonical(nibabel.load(path))
    sizes = image.header.get_zooms()[:3]
    # (right, anterior, superior) becomes (superior, posterior, left)
    voxels = np.asanyarray(image.dataobj).astype(np.float32).transpose(2, 1, 0)[:, ::-1, ::-1]
    factors = [size / spacing for size in sizes[::-1]]
    if not np.allclose(factors, 1, atol=0.01):
        voxels = ndimage.zoom(voxels, factors, order=0 if labels else 1, grid_mode=True, mode="nearest")
    return np.ascontiguousarray(voxels)


def spacing_for(paths: Sequence[Path]) -> float:
    """Side in mm, in quarters, of the voxels in which the field of view of every scan fits into `FIELD`; at least 1.

    Parameters
    ----------
    paths : sequence of Path
        NIfTI files, of which only the headers are read.
    """
    needed = 1.0
    for path in paths:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        sizes = zip(image.shape[:3][::-1], image.header.get_zooms()[:3][::-1], FIELD, strict=True)
        needed = max(needed, *(count * float(size) / field for count, size, field in sizes))
    return math.ceil(4 * needed - 1e-6) / 4


def load_labels(path: Path) -> Subject:
    """Label map with FreeSurfer numbers (SynthSeg's training maps) as a subject."""
    raw = load_volume(path, spacing=1.0, labels=True).astype(np.int32)
    # one place more than there are numbers: whatever lies beyond is air
    table = np.zeros(max(CLASSES) + 2, np.uint8)
    for number, index in CLASSES.items():
        table[number] = index
    classes = table[np.clip(raw, 0, len(table) - 1)]
    brain = _brain_of(classes)
    voxels = torch.from_numpy(classes)
    mask = torch.from_numpy(brain)
    middle = middle_of(mask)
    thirds = tuple(int(m // HEAD_MM) for m in middle)
    head = torch.from_numpy(np.ascontiguousarray(classes[1::3, 1::3, 1::3]))
    head_mask = torch.from_numpy(np.ascontiguousarray(brain[1::3, 1::3, 1::3]))
    return Subject(
        name=path.name.split(".")[0],
        kind="labels",
        voxels=place(voxels, FIELD, middle),
        mask=place(mask, FIELD, middle),
        head=place(head, HEAD, thirds),  # type: ignore[arg-type]
        head_mask=place(head_mask, HEAD, thirds),  # type: ignore[arg-type]
    )


def load_stripped(path: Path, *, kind: Literal["t1", "flair"] = "t1") -> Subject:
    """Real skull-stripped scan: the brain is what is not 0."""
    voxels = load_volume(path, spacing=1.0)
    inside = ndimage.binary_fill_holes(ndimage.binary_closing(voxels > 1e-3 * voxels.max(), iterations=2))
    return real_subject(path, kind, voxels, inside)


def load_head(path: Path, labels: Path, *, kind: Literal["t1", "flair"] = "t1") -> Subject:
    """Real whole head with a brain label map on the same grid."""
    voxels = load_volume(path, spacing=1.0)
    inside = load_volume(labels, spacing=1.0, labels=True) > 0
    inside = ndimage.binary_closing(np.pad(inside, 4), iterations=4)[4:-4, 4:-4, 4:-4]
    coarse = load_volume(path, spacing=HEAD_MM)
    coarse_mask = load_volume(labels, spacing=HEAD_MM, labels=True) > 0
    coarse_mask = ndimage.binary_closing(np.pad(coarse_mask, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    return real_subject(path, kind, voxels, inside, coarse, coarse_mask)


def load_body(path: Path, *, spacing: float = 1.0) -> Subject:
    """Real scan of any region, in voxels of a side of `spacing` mm: its silhouette is what is looked at."""
    voxels = load_volume(path, spacing=spacing)
    inside = silhouette_fine(torch.from_numpy(voxels)).numpy()
    return real_subject(path, "own", voxels, inside)


def real_subject(
    path: Path,
    kind: Literal["t1", "flair", "own"],
    voxels: np.ndarray,
    inside: np.ndarray,
    head: np.ndarray | None = None,
    head_mask: np.ndarray | None = None,
) -> Subject:
    """Subject of a real scan: 1 mm voxels and brain, and the whole head in `HEAD_MM` voxels where known."""
    mask = torch.from_numpy(inside)
    middle = middle_of(mask)
    image = normalise(torch.from_numpy(voxels), mask)
    coarse = None if head is None else torch.from_numpy(head)
    coarse_mask = None if head_mask is None else torch.from_numpy(head_mask)
    coarse_middle = None if coarse_mask is None else middle_of(coarse_mask)
    return Subject(
        name=path.name.split(".")[0],
        kind=kind,
        voxels=place(image, FIELD, middle).half(),
        mask=place(mask, FIELD, middle),
        head=None if coarse is None or coarse_middle is None else place(coarse, HEAD, coarse_middle),
        head_mask=None
        if coarse_mask is None or coarse_middle is None
        else place(coarse_mask, HEAD, coarse_middle),
    )


def _brain_of(classes: np.ndarray) -> np.ndarray:
    tissue = np.isin(classes, brain_classes())
    closed = ndimage.binary_closing(np.pad(tissue, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    brain: np.ndarray = (tissue | (closed & (classes == CSF))) | ndimage.binary_fill_holes(tissue)
    return brain


def make_normal(
    subject: Subject,
    rng: np.random.Generator,
    device: torch.device,
    *,
    family: Family | None = None,
    harder: bool = True,
) -> Normal:
    """Synthesise one normal scan of a subject: deformed, in a random contrast, resolution, bias and noise.

    Parameters
    ----------
    subject : Subject
        Label map or real scan.
    rng : numpy.random.Generator
        Source of randomness.
    device : torch.device
        Where to compute.
    family : str, optional
        Kind of contrast, drawn if left out. A FLAIR scan stays one, and so does a scan of another region.
    harder : bool, default True
        Whether it is harder to look at than scans are, to learn from: programs left more around stripped brains and
        took more from them, and a real scan in its own contrast gets the noise and the gain of a scanner twice.
    """
    grid = deformation(subject.voxels.shape, rng, device)
    voxels = subject.voxels.to(device)
    brain = _warp(subject.mask.to(device).float(), grid, "nearest") > 0.5
    if subject.kind == "labels":
        family = family or draw_family(rng)
        classes = _warp(voxels.float(), grid, "nearest").long()
        image = synthesise(classes, family, rng, device)
        if rng.random() < SHOWN:
            image = add_unlabelled(image, classes, family, rng)
        white = sum((classes == number for number in WHITE), torch.zeros_like(brain))
        tissue = torch.from_numpy(TISSUE_OF).to(device)[classes]
    else:
        original = _warp(voxels.float(), grid, "bilinear")
        white = deep_white(original, brain, subject.kind)
        tissue = tissues_by_intensity(original, brain, subject.kind)
        image, family = recolour(original, brain, subject.kind, rng, family=family, bend=harder)
    if family == "t1" and rng.random() < ENHANCED:
        image = enhance_vessels(image, brain, rng)
    stripped = subject.kind in ("t1", "flair") or (subject.kind == "labels" and rng.random() < STRIPPED)
    if stripped:
        # brain extraction leaves zeros, and a mask that is never exact covers some of them
        if subject.kind == "labels" and rng.random() < SLOPPY:
            brain = strip_sloppily(brain, rng)
        if harder:
            image, brain = leave(image, brain, rng)
    if harder or subject.kind == "labels" or family != original_family(subject.kind):
        image = acquire(image, rng, device)
    if stripped:
        image = torch.where(brain, image, torch.zeros((), device=device))
    mask = jitter_mask(brain, rng)
    return Normal(
        normalise(image, mask).half(), mask, (share_around(white, 3) > 0.6) & mask, family, tissue * mask
    )


def strip_sloppily(brain: Tensor, rng: np.random.Generator) -> Tensor:
    """Extract a brain as programs do: here and there meninges, sinuses and fluid stay.

    Parameters
    ----------
    brain : Tensor
        The brain, bool.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        What is left of the head, bool: the brain and patches of up to 5 mm around it.
    """
    around = share_around(brain, 2 * int(rng.integers(2, 6)) + 1) > 0
    patches = field(
        tuple(brain.shape),
        coarse=float(rng.uniform(18, 45)),
        seed=int(rng.integers(2**31)),
        device=brain.device,
    )
    return brain | (around & (patches > float(rng.uniform(0.2, 1.2))))


def deep_white(image: Tensor, mask: Tensor, kind: str) -> Tensor:
    """White matter of a real scan, roughly: by intensity on T1, by depth elsewhere.

    Parameters
    ----------
    image : Tensor
        Normalised scan.
    mask : Tensor
        The brain.
    kind : str
        "t1", "flair" or "own".
    """
    if kind != "t1":
        return (share_around(mask, 25) > 0.98) & (image > 0.25)
    grey, white = (float(q) for q in _tissues(image, mask)[1:3])
    smooth = box_mean(image, 3)
    return mask & (smooth > 0.4 * grey + 0.6 * white) & (smooth < white + 0.25)


def tissues_by_intensity(image: Tensor, mask: Tensor, kind: str) -> Tensor:
    """Tissue map of a real scan, 0 where it is not T1-weighted: on T1 fluid, grey and white matter rise in this order.

    Parameters
    ----------
    image : Tensor
        Normalised scan.
    mask : Tensor
        The brain.
    kind : str
        "t1", "flair" or "own".
    """
    if kind != "t1":
        return torch.zeros_like(mask, dtype=torch.uint8)
    fluid, grey, white, _ = (float(q) for q in _tissues(image, mask))
    bounds = torch.tensor([0.45 * fluid + 0.55 * grey, 0.5 * (grey + white)], device=image.device)
    return (3 - torch.bucketize(image.contiguous(), bounds)).to(torch.uint8) * mask


def enhance_vessels(image: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Let vessels shine near the surface of the brain, as after contrast agent: normal, and never an anomaly.

    The tubes run where two smooth random fields are both near 0.

    Parameters
    ----------
    image : Tensor
        Intensities, brain range about 0 to 1.
    mask : Tensor
        The brain.
    rng : numpy.random.Generator
        Source of randomness.
    """
    first, second = (
        field(
            tuple(image.shape),
            coarse=float(rng.uniform(14, 30)),
            seed=int(rng.integers(2**31)),
            device=image.device,
        )
        for _ in range(2)
    )
    tubes = torch.exp(-(first**2 + second**2) / float(rng.uniform(0.08, 0.2)) ** 2)
    shallow = ((1 - share_around(mask, 17)) * 3).clamp(0.05, 1)
    return image + float(rng.uniform(0.4, 1.3)) * tubes * shallow * mask


def _tissues(image: Tensor, mask: Tensor) -> Tensor:
    """Intensities of fluid, grey and white matter and of the brightest voxels of a T1 scan."""
    shares = torch.tensor([0.03, 0.38, 0.80, 0.995], device=image.device)
    return torch.quantile(image[mask][::97], shares)


def synthesise(classes: Tensor, family: Family, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Intensities of a label map in a random contrast of a family (after Billot et al. 2023, SynthSeg)."""
    contrast = draw_contrast(family, rng)
    mean = torch.from_numpy(contrast.mean).to(device)[classes]
    spread = torch.from_numpy(contrast.spread).to(device)[classes]
    generator = _generator(rng, device)
    sides = tuple(classes.shape)
    slow = torch.zeros(sides, device=device)
    for knots, weight in ((int(rng.integers(5, 9)), 0.6), (int(rng.integers(14, 30)), 0.8)):
        noise = torch.randn((1, 1, knots, knots, knots), generator=generator, device=device)
        slow += weight * functional.interpolate(noise, size=sides, mode="trilinear")[0, 0]
    fast = torch.randn(sides, generator=generator, device=device)
    image = mean + spread * (slow + rng.uniform(0.2, 1.2) * fast)
    if contrast.cap:
        # normal caps and rims: tissue next to the ventricles is a little brighter on FLAIR
        near = box_mean((classes == 3).float(), 7)
        image = image + contrast.cap * near * (classes == 1)
    return image


def recolour(
    image: Tensor,
    mask: Tensor,
    kind: str,
    rng: np.random.Generator,
    *,
    family: Family | None = None,
    bend: bool = True,
) -> tuple[Tensor, Family]:
    """Turn a real scan into another contrast by a tone curve through its tissues, or leave its own.

    Parameters
    ----------
    image : Tensor
        Normalised real scan, T1-weighted or FLAIR.
    mask : Tensor
        The brain.
    kind : str
        "t1", "flair" or "own".
    rng : numpy.random.Generator
        Source of randomness.
    family : str, optional
        Contrast to turn a T1 scan into, drawn if left out; "t1" leaves its own.
    bend : bool, default True
        Whether a scan that keeps its own contrast gets another gamma.

    Notes
    -----
    On T1 the order is CSF, grey, white matter: a curve through three free values gives real anatomy, noise and
    partial volume in T2- and FLAIR-like tones. A FLAIR scan keeps its order.
    """
    if kind != "t1" or family == "t1" or (family is None and rng.random() < 0.4):
        own = original_family(kind)
        if not bend:
            return image, own
        bent = image.clamp(-0.5, 3)
        return bent.sign() * bent.abs() ** float(np.exp(rng.normal(0, 0.2))), own
    family = family or draw_family(rng)
    contrast = draw_contrast(family, rng)
    low, grey, white, top = (float(q) for q in _tissues(image, mask))
    fluid, cortex, matter = (float(contrast.mean[index]) for index in (3, 2, 1))
    knots = [low - 0.3, low, 0.5 * (low + grey), grey, white, max(top, white + 0.1)]
    values = [fluid, fluid, 0.5 * (fluid + cortex), cortex, matter, matter + 0.5 * (matter - cortex)]
    return _curve(image, knots, values), family


def original_family(kind: str) -> Family:
    """Kind of contrast that real scans of a kind of subject have."""
    if kind == "flair":
        return "flair"
    return "free" if kind == "own" else "t1"


def _curve(image: Tensor, knots: Sequence[float], values: Sequence[float]) -> Tensor:
    x = torch.tensor(knots, device=image.device)
    y = torch.tensor(values, device=image.device)
    place_in = torch.bucketize(image.contiguous(), x).clamp(1, len(knots) - 1)
    share = ((image - x[place_in - 1]) / (x[place_in] - x[place_in - 1])).clamp(0, 1.5)
    return y[place_in - 1] + share * (y[place_in] - y[place_in - 1])


def jitter_mask(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Grow or shrink a mask by up to 2 mm, since brain extraction is never exact."""
    steps = int(rng.integers(-2, 3))
    values = mask.float()
    if steps > 0:
        values = box_max(values, 2 * steps + 1)
    elif steps < 0:
        values = 1 - box_max(1 - values, 1 - 2 * steps)
    return values > 0.5


def deformation(sides: tuple[int, ...], rng: np.random.Generator, device: torch.device) -> Tensor:
    """Sampling grid of a random flip, rotation, scale and smooth warp, for `grid_sample`, (z, y, x, 3)."""
    axes = [torch.linspace(-1, 1, side, device=device) for side in sides]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    turn = rotation(tuple(rng.normal(0, 0.1, 3)))
    extent = np.asarray(sides, np.float32)
    matrix = (turn * rng.uniform(0.9, 1.1, 3).astype(np.float32)) * extent[:, None] / extent[None]
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    knots = [max(3, side // int(rng.integers(22, 40))) for side in sides]
    warp = torch.randn((1, 3, *knots), generator=_generator(rng, device), device=device) * float(
        rng.uniform(0, 0.03)
    )
    smooth = functional.interpolate(warp, size=sides, mode="trilinear", align_corners=True)[0]
    moved = grid @ torch.from_numpy(np.ascontiguousarray(matrix)).to(device) + smooth.permute(1, 2, 3, 0)
    return moved.flip(-1)


def _warp(volume: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(volume[None, None], grid[None], mode=mode, align_corners=True)[0, 0]


def _generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(rng.integers(2**31)))
