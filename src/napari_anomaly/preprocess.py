"""From a scan to what the networks see, and back: canonical grid, silhouette, input channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_anomaly.errors import BadGeometry, WrongModality
from napari_anomaly.intensities import normalise
from napari_anomaly.scan import Scan

MULTIPLE = 12
"""Sides of the canonical grid are multiples of this: both networks fold it, the 3D one after 3 to 1 reduction."""

REDUCTION = 3
"""The 3D network sees voxels of this many mm."""

SLICE_OFFSETS_MM = (-4, -2, 0, 2, 4)
"""Neighbouring slices that the 2D network sees beside the one it scores, in mm."""

MIN_BRAIN_ML, MAX_BRAIN_ML = 350.0, 2400.0
"""Smaller or larger than any brain that fills a scan."""

HU_AIR = -400
"""No MR scan has intensities below this; every CT scan that shows air has."""

HEAD_MM = 3.0
"""Side of the voxels in which the brain is looked for."""

HEAD = (80, 96, 80)
"""Field of view of the brain extraction in voxels of `HEAD_MM`."""

FIELD = (156, 192, 156)
"""Smallest field of view in mm that the networks see: superior, posterior, left."""


MOST_VOXELS = 1_000_000_000
"""Voxels of a canonical grid: a scan of a whole person in voxels of 1 mm has a fifth of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A scan as the networks see it, and the way back."""

    image: Tensor
    """Normalised, voxels of `spacing_mm`, around the region that is looked at, 0 outside it; shape (z, y, x)."""
    mask: Tensor
    """What is looked at (the brain or the whole silhouette), bool, same shape."""
    canonical: tuple[int, int, int]
    """Shape of the whole scan in those voxels."""
    centre: tuple[int, int, int]
    """Voxel of the whole canonical scan in the middle of `image`."""
    shape: tuple[int, int, int]
    """Shape of the scan."""
    slice_step: int
    """Distance, in those voxels, of the slices that are worth scoring: the scan's own spacing."""
    spacing_mm: float = 1.0
    """Side of the voxels that the networks see."""

    @property
    def slices(self) -> list[float]:
        """Places along z of `image`, in its voxels, that are worth scoring: the middles of the scan's own slices.

        Between two thick slices there is only a blend of both, in which nothing is as sharp as in either. Where they
        are thin, all slices of `image`.
        """
        depth = self.image.shape[0]
        if self.slice_step == 1:
            return [float(place) for place in range(depth)]
        first = self.centre[0] - depth // 2
        own = (np.arange(self.shape[0]) + 0.5) * self.canonical[0] / self.shape[0] - 0.5 - first
        return [float(place) for place in own if 0 <= place <= depth - 1]

    def to_scan(self, values: Tensor) -> Tensor:
        """Bring values on the grid of `image` to the scan's own grid; 0 beyond.

        Parameters
        ----------
        values : Tensor
            Shape of `image`, float.
        """
        whole = torch.zeros(self.canonical, dtype=values.dtype, device=values.device)
        target, source = _overlap(values.shape, self.canonical, self.centre)
        whole[source] = values[target]
        if self.canonical == self.shape:
            return whole
        return resample(whole, self.shape)


def prepare(
    scan: Scan, extraction: torch.nn.Module | None, *, device: torch.device, spacing_mm: float = 1.0
) -> Prepared:
    """Bring a scan to the canonical grid, find the region to look at, normalise.

    Parameters
    ----------
    scan : Scan
        Any scan; where its spacing is unknown a voxel is taken for a millimetre.
    extraction : Module or None
        Brain extraction network; None looks at the whole silhouette.
    device : torch.device
        Where to compute.
    spacing_mm : float, default 1.0
        Side of the voxels that the networks have learned to see; a brain is always seen in voxels of 1 mm.

    Raises
    ------
    BadGeometry
        If the scan is larger than any patient, so that its voxel size must be wrong.
    WrongModality
        If a brain is needed and none of a plausible size was found, the scan is a CT, or there is nothing to see.
    """
    canonical = _canonical(scan, spacing_mm)
    voxels = torch.from_numpy(np.nan_to_num(np.asarray(scan.voxels, np.float32), posinf=0, neginf=0)).to(
        device
    )
    image = resample(voxels, canonical)
    mask = silhouette_fine(image) if extraction is None else _brain(scan, image, extraction)
    if not bool(mask.any()):
        raise WrongModality(
            f"There is nothing to see in {scan.name}: it is equally bright everywhere. Choose another scan, or convert "
            "it again from its original."
        )
    centre = middle_of(mask)
    low, high = zip(*(_extent(mask, axis) for axis in range(3)), strict=True)
    sides = tuple(
        max(field, -(-(b - a + 8) // MULTIPLE) * MULTIPLE)
        for field, a, b in zip(FIELD, low, high, strict=True)
    )
    inside = place(mask, sides, centre)
    return Prepared(
        image=normalise(place(image, sides, centre), inside),
        mask=inside,
        canonical=canonical,
        centre=centre,
        shape=scan.geometry.shape,
        slice_step=max(1, int(scan.geometry.spacing[0] / spacing_mm)),
        spacing_mm=spacing_mm,
    )


def _canonical(scan: Scan, spacing_mm: float) -> tuple[int, int, int]:
    shape, spacing = scan.geometry.shape, scan.geometry.spacing
    z, y, x = (max(1, round(n * s / spacing_mm)) for n, s in zip(shape, spacing, strict=True))
    if z * y * x > MOST_VOXELS:
        extent = " x ".join(f"{n * s / 10:.0f}" for n, s in zip(shape, spacing, strict=True))
        sizes = " x ".join(f"{s:g}" for s in spacing)
        raise BadGeometry(
            f"{scan.name} says that its voxels are {sizes} mm large, so that it would be {extent} cm: no patient is. "
            "Correct the voxel size in the file, or export the scan again."
        )
    return z, y, x


def resample(volume: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Resample a volume over the same field of view: means where voxels grow, linear where they shrink.

    Parameters
    ----------
    volume : Tensor
        Shape (z, y, x), float.
    shape : tuple of int
        New shape.
    """
    if tuple(volume.shape) == tuple(shape):
        return volume
    smaller = [min(a, b) for a, b in zip(volume.shape, shape, strict=True)]
    result = volume[None, None]
    if tuple(smaller) != tuple(volume.shape):
        result = functional.interpolate(result, size=smaller, mode="area")
    return functional.interpolate(result, size=shape, mode="trilinear")[0, 0]


def _brain(scan: Scan, image: Tensor, extraction: torch.nn.Module) -> Tensor:
    _refuse_ct(scan, image)
    coarse = silhouette_fine(image)
    # asked about nothing, a network may still dream of a brain
    brain = find_brain(image, extraction) if bool(coarse.any()) else coarse
    ml, outline_ml = float(brain.sum()) / 1000, float(coarse.sum()) / 1000
    # the air of a skull-stripped scan is exactly 0, and what is left has the size of a brain
    stripped = float((image == 0).float().mean()) > 0.25 and MIN_BRAIN_ML < outline_ml < MAX_BRAIN_ML
    if stripped and ml > 0.55 * outline_ml:
        return coarse
    if not MIN_BRAIN_ML < ml < MAX_BRAIN_ML:
        raise WrongModality(
            f"No brain was recognised in {scan.name}: {ml:.0f} ml look like one, {MIN_BRAIN_ML:.0f} to "
            f"{MAX_BRAIN_ML:.0f} ml are needed. This detector reads MR scans of a whole head or brain; choose "
            "another scan, or a detector for this region."
        )
    return brain


def _refuse_ct(scan: Scan, image: Tensor) -> None:
    lowest = float(torch.quantile(image.flatten()[:: max(1, image.numel() // 200_000)], 0.02))
    if lowest < HU_AIR:
        raise WrongModality(
            f"{scan.name} looks like a CT: its darkest voxels are near {lowest:.0f}. This detector reads MR scans of "
            "the brain; choose a detector for CT, or train one with: napari-anomaly train --region body."
        )


def silhouette_fine(image: Tensor) -> Tensor:
    """`silhouette` found on a grid of 2 mm and brought back: eight times faster, as exact as a threshold is."""
    sides = [max(1, side // 2) for side in image.shape]
    small = functional.interpolate(image[None, None], size=sides, mode="area")[0, 0]
    outline = silhouette(small)
    return functional.interpolate(outline[None, None].float(), size=image.shape, mode="trilinear")[0, 0] > 0.5


def _extent(mask: Tensor, axis: int) -> tuple[int, int]:
    # reducing bytes is many times faster than reducing bool; slices first, then what is left of them
    flat = mask.view(torch.uint8).amax((1, 2)) if axis == 0 else mask.view(torch.uint8).amax(0).amax(2 - axis)
    present = torch.nonzero(flat).flatten()
    return (int(present[0]), int(present[-1]) + 1) if len(present) else (0, mask.shape[axis])


def _overlap(
    field: tuple[int, ...], whole: tuple[int, ...], centre: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    target, source = [], []
    for side, length, middle in zip(field, whole, centre, strict=True):
        start = middle - side // 2
        source.append(slice(max(0, start), max(0, min(length, start + side))))
        target.append(slice(source[-1].start - start, source[-1].stop - start))
    return tuple(target), tuple(source)


def silhouette(image: Tensor) -> Tensor:
    """Global binary mask of a scan: what is patient and what is air (Kazemimoghadam 2022).

    Parameters
    ----------
    image : Tensor
        Intensities, shape (z, y, x), any unit.

    Returns
    -------
    Tensor
        bool, same shape: the largest component above a low threshold, holes filled in every plane.
    """
    values = image.detach().cpu().numpy()
    floor = float(np.percentile(values, 1))
    bright = float(np.percentile(values, 98))
    above = ndimage.uniform_filter(values, 3) > floor + 0.12 * (bright - floor)
    labels, count = ndimage.label(above)
    if count > 1:
        above = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    closed = ndimage.binary_closing(np.pad(above, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    for axis in range(3):
        filled = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(closed, axis, 0)]
        closed = np.moveaxis(np.stack(filled), 0, axis)
    return torch.from_numpy(np.ascontiguousarray(closed)).to(image.device)


def coordinates(mask: Tensor) -> list[Tensor]:
    """Position within the global binary mask: -1 at its first voxel, 1 at its last, along each axis.

    Parameters
    ----------
    mask : Tensor
        bool, shape (z, y, x).

    Returns
    -------
    list of Tensor
        One vector an axis.
    """
    result = []
    for axis in range(3):
        low, end = _extent(mask, axis)
        high = end - 1
        index = torch.arange(mask.shape[axis], device=mask.device, dtype=torch.float32)
        result.append(((2 * index - low - high) / max(1, high - low)).clamp(-1.5, 1.5))
    return result


def plane_inputs(image: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Input of the 2D network for some slices.

    Parameters
    ----------
    image : Tensor
        Normalised scan of 1 mm voxels, shape (z, y, x).
    mask : Tensor
        Global binary mask, bool, same shape.
    positions : Tensor
        Slice indices, shape (slice,).

    Returns
    -------
    Tensor
        Shape (slice, 10, y, x), channels last in memory: the neighbouring slices, the middle one mirrored, the mask,
        three coordinates.
    """
    depth = len(image)
    stack = [image[(positions + offset).clamp(0, depth - 1)] for offset in SLICE_OFFSETS_MM]
    stack.append(stack[len(SLICE_OFFSETS_MM) // 2].flip(-1))
    stack.append(mask[positions].float())
    z, y, x = coordinates(mask)
    inside = stack[-1]
    stack.append(inside * z[positions][:, None, None])
    stack.append(inside * y[None, :, None])
    stack.append(inside * x[None, None, :])
    return torch.stack(stack, dim=1).contiguous(memory_format=torch.channels_last)


def volume_inputs(image: Tensor, mask: Tensor) -> Tensor:
    """Input of the 3D network: the same scan in voxels of `REDUCTION` mm.

    Parameters
    ----------
    image : Tensor
        Normalised scan of 1 mm voxels, shape (z, y, x), sides that `MULTIPLE` divides.
    mask : Tensor
        Global binary mask, bool, same shape.

    Returns
    -------
    Tensor
        Shape (1, 6, z/3, y/3, x/3): the scan, the scan mirrored, the mask, three coordinates.
    """
    coarse = functional.avg_pool3d(torch.stack((image, mask.float()))[None], REDUCTION)[0]
    inside = (coarse[1] > 0.5).float()
    z, y, x = coordinates(inside > 0)
    channels = [coarse[0], coarse[0].flip(-1), coarse[1]]
    channels += [inside * z[:, None, None], inside * y[None, :, None], inside * x[None, None, :]]
    return torch.stack(channels)[None].contiguous(memory_format=torch.channels_last_3d)


def coarse_tissue(image: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Share of tissue in every voxel of the coarse grid, and the positions within its mask along each axis.

    Parameters
    ----------
    image, mask : Tensor
        As for `volume_inputs`.
    """
    joined = torch.stack((((image != 0) & mask).float(), mask.float()))
    share, inside = functional.avg_pool3d(joined[None], REDUCTION)[0]
    return share, coordinates(inside > 0.5)


def extraction_inputs(image: Tensor) -> Tensor:
    """Input of the brain extraction network: the whole head and its silhouette, at its working resolution.

    Parameters
    ----------
    image : Tensor
        Intensities, shape (z, y, x), any unit.

    Returns
    -------
    Tensor
        Shape (1, 2, z, y, x).
    """
    outline = silhouette(image)
    values = normalise(image, outline)
    joined = torch.stack((values, outline.float()))[None]
    return joined.contiguous(memory_format=torch.channels_last_3d)


def place(volume: Tensor, field_of_view: tuple[int, int, int], centre: tuple[int, int, int]) -> Tensor:
    """Cut a field of view around a centre out of a volume, padding with zeros where it reaches beyond.

    Parameters
    ----------
    volume : Tensor
        Shape (z, y, x).
    field_of_view : tuple of int
        Sides of the result.
    centre : tuple of int
        Voxel of the volume that becomes the middle.
    """
    result = torch.zeros(field_of_view, dtype=volume.dtype, device=volume.device)
    source, target = [], []
    for side, length, middle in zip(field_of_view, volume.shape, centre, strict=True):
        start = middle - side // 2
        source.append(slice(max(0, start), max(0, min(length, start + side))))
        target.append(
            slice(source[-1].start - start, source[-1].start - start + source[-1].stop - source[-1].start)
        )
    result[tuple(target)] = volume[tuple(source)]
    return result


def middle_of(mask: Tensor) -> tuple[int, int, int]:
    """Middle voxel of the bounding box of a mask (the middle of the grid where the mask is empty)."""
    spans = [_extent(mask, axis) for axis in range(3)]
    return sum(spans[0]) // 2, sum(spans[1]) // 2, sum(spans[2]) // 2


def find_brain(image: Tensor, network: torch.nn.Module, *, looks: int = 3) -> Tensor:
    """Brain of a whole head (or of an already stripped one).

    Parameters
    ----------
    image : Tensor
        Intensities in 1 mm voxels, shape (z, y, x).
    network : Module
        The brain extraction network of a detector.
    looks : int, default 3
        The network has learned heads whose brain is in the middle of the field of view: it looks, centres on what
        it found, and looks again.

    Returns
    -------
    Tensor
        bool, shape of `image`; empty where no brain was found.
    """
    sides = [max(1, round(side / HEAD_MM)) for side in image.shape]
    small = functional.interpolate(image[None, None].float(), size=sides, mode="area")[0, 0]
    centre = _first_guess(silhouette(small))
    share = torch.zeros(HEAD, device=image.device)
    for _ in range(looks):
        with torch.inference_mode():
            share = torch.sigmoid(network(extraction_inputs(place(small, HEAD, centre))).logit[0, 0])
        share = share * _largest(share > 0.5)
        if not bool((share > 0.5).any()):
            return torch.zeros_like(image, dtype=torch.bool)
        middle = middle_of(share > 0.5)
        moved = tuple(c + m - side // 2 for c, m, side in zip(centre, middle, HEAD, strict=True))
        if moved == centre:
            break
        previous, centre = centre, (moved[0], moved[1], moved[2])
    else:
        centre = previous
    whole = torch.zeros(sides, device=image.device)
    target, source = _overlap(HEAD, tuple(sides), centre)
    whole[source] = share[target]
    return functional.interpolate(whole[None, None], size=image.shape, mode="trilinear")[0, 0] > 0.5


def _first_guess(outline: Tensor) -> tuple[int, int, int]:
    # a neck may follow below; the brain is in the upper 150 mm of the head
    low, high = _extent(outline, 0)
    upper = outline.clone()
    upper[: max(low, high - round(120 / HEAD_MM))] = False
    whole_brain = high - low < 156 / HEAD_MM
    z = (low + high) // 2 if whole_brain else high - round(78 / HEAD_MM)
    return z, sum(_extent(upper, 1)) // 2, sum(_extent(upper, 2)) // 2


def _largest(mask: Tensor) -> Tensor:
    labels, count = ndimage.label(mask.cpu().numpy())
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count else labels > 0
    solid = ndimage.binary_fill_holes(
        ndimage.binary_closing(np.pad(largest, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    )
    # a voxel around the component keeps the soft border, which places the surface below the voxel size
    grown = ndimage.binary_dilation(solid)
    return torch.from_numpy(grown).to(mask.device)
