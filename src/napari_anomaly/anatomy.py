"""Anatomy: which structure of the brain every voxel belongs to, and where a region lies, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Integer, UInt8
from scipy import ndimage

from napari_anomaly.errors import GridMismatch
from napari_anomaly.geometry import Geometry

__all__ = ["MIRRORED", "NAMES", "STRUCTURES", "Anatomy", "Structure", "borders", "in_words", "label_of"]

Side = Literal["left", "right", ""]

_Sides = Literal["both", "left", "right", ""]

_SIDES: tuple[_Sides, ...] = ("both", "left", "right", "")

_MIDLINE = (("brainstem",) * 2, ("third ventricle",) * 2, ("fourth ventricle",) * 2)

_WHITE = "cerebral white matter"
_CORTEX = "cerebral cortex"

# name, and the name of what it is a part of
_PAIRED = (
    ("frontal white matter", _WHITE),
    ("parietal white matter", _WHITE),
    ("temporal white matter", _WHITE),
    ("occipital white matter", _WHITE),
    ("internal capsule", _WHITE),
    ("corpus callosum", _WHITE),
    ("frontal cortex", _CORTEX),
    ("parietal cortex", _CORTEX),
    ("temporal cortex", _CORTEX),
    ("occipital cortex", _CORTEX),
    ("insula", _CORTEX),
    ("cingulate cortex", _CORTEX),
    ("lateral ventricle",) * 2,
    ("thalamus",) * 2,
    ("caudate",) * 2,
    ("putamen",) * 2,
    ("pallidum",) * 2,
    ("hippocampus",) * 2,
    ("amygdala",) * 2,
    ("ventral diencephalon",) * 2,
    ("cerebellar cortex",) * 2,
    ("cerebellar white matter",) * 2,
    ("fluid around the brain",) * 2,
)


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure of the brain.

    Parameters
    ----------
    name
        Without its side: "frontal white matter".
    side
        The patient's own left or right; empty on the midline.
    part_of
        The larger structure that label maps without lobes name: "cerebral white matter".
    """

    name: str
    side: Side
    part_of: str

    def __str__(self) -> str:
        return f"{self.side} {self.name}".strip()


STRUCTURES: tuple[Structure, ...] = (
    Structure("outside the brain", "", "outside the brain"),
    *(Structure(name, "", whole) for name, whole in _MIDLINE),
    *(Structure(name, side, whole) for name, whole in _PAIRED for side in ("left", "right")),
)
"""The structures; the place of one is its label."""

_LABELS = {(structure.name, structure.side): label for label, structure in enumerate(STRUCTURES)}

_OTHER: dict[Side, Side] = {"left": "right", "right": "left", "": ""}

NAMES: tuple[str, ...] = tuple(dict.fromkeys(structure.name for structure in STRUCTURES))
"""Names of the structures, without sides."""

MIRRORED: tuple[int, ...] = tuple(_LABELS[s.name, _OTHER[s.side]] for s in STRUCTURES)
"""Label of the same structure on the other side, for every label."""


def label_of(name: str, side: Side = "") -> int:
    """Give the label of a structure.

    Raises
    ------
    KeyError
        If there is no such structure.
    """
    return _LABELS[name, side]


NEAR_MM = 3.0
"""What is no further from a ventricle than this lies next to it: as far as a voxel of the anatomy network reaches."""

_WIDE = 0.25
"""Share of a structure on the smaller side from which it is said to lie on both sides."""

_NAMED, _LEAST, _MOST_NAMES = 0.7, 0.12, 3
"""Names are added until they hold this share of a region, each at least that much, and no more than so many."""

_NEARLY_ALL = 0.5
"""Names that hold less of a region are said to hold it mostly."""

_TOUCHING = 0.1
"""Share of a region that must be near a border for it to lie next to it."""

_JUXTACORTICAL_MM3 = 5000.0
"""A larger region of white matter reaches the cortex somewhere: that says nothing then."""

_FLUID = frozenset({"fluid around the brain", "lateral ventricle", "third ventricle", "fourth ventricle"})

_VENTRICLE, _NEAR_CORTEX = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Which structure every voxel of a scan belongs to.

    Parameters
    ----------
    labels
        Place in `STRUCTURES`; 0 outside the brain.
    near
        Bit 1: next to a lateral ventricle; bit 2: next to the cerebral cortex (see `borders`).
    geometry
        The scan's own.

    Raises
    ------
    GridMismatch
        If an array does not have the shape of the geometry.
    """

    labels: UInt8[np.ndarray, "z y x"]
    near: UInt8[np.ndarray, "z y x"]
    geometry: Geometry

    def __post_init__(self) -> None:
        for array in (self.labels, self.near):
            if array.shape != self.geometry.shape:
                raise GridMismatch(
                    f"Labels of the anatomy have the shape {array.shape}, the scan has {self.geometry.shape}. "
                    "Detect again on this scan."
                )
            array.setflags(write=False)

    def where(
        self, flat: Integer[np.ndarray, " voxels"], owner: Integer[np.ndarray, " voxels"], count: int
    ) -> list[str]:
        """Say where regions lie.

        Parameters
        ----------
        flat
            Flat C-order index (z, y, x) of the voxels of all regions.
        owner
            Region that each voxel belongs to, from 0.
        count
            Number of regions.
        """
        labels, near = self.labels.reshape(-1)[flat], self.near.reshape(-1)[flat]
        kinds = len(STRUCTURES)
        held = np.bincount(owner * kinds + labels, minlength=count * kinds).reshape(count, kinds)
        voxels = np.maximum(np.bincount(owner, minlength=count), 1)
        ventricle, cortex = (
            np.bincount(owner, (near & bit) > 0, minlength=count) / voxels
            for bit in (_VENTRICLE, _NEAR_CORTEX)
        )
        cortex[voxels * self.geometry.voxel_volume > _JUXTACORTICAL_MM3] = 0
        return [
            in_words(held[region].astype(np.float64), ventricle=ventricle[region], cortex=cortex[region])
            for region in range(count)
        ]


def borders(labels: UInt8[np.ndarray, "z y x"], spacing_mm: float) -> UInt8[np.ndarray, "z y x"]:
    """Mark what lies next to a lateral ventricle (bit 1) and next to the cerebral cortex (bit 2).

    Parameters
    ----------
    labels
        Place in `STRUCTURES`, in isotropic voxels.
    spacing_mm
        Their side.
    """
    near = np.zeros(labels.shape, np.uint8)
    ventricles = [n for n, s in enumerate(STRUCTURES) if s.name == "lateral ventricle"]
    cortex = [n for n, s in enumerate(STRUCTURES) if s.part_of == _CORTEX]
    for bit, numbers, reach in ((_VENTRICLE, ventricles, NEAR_MM), (_NEAR_CORTEX, cortex, spacing_mm)):
        chosen = np.isin(labels, numbers)
        near[ndimage.binary_dilation(chosen, _ball(reach / spacing_mm))] |= bit
    return near


def _ball(voxels: float) -> np.ndarray:
    side = np.arange(-int(voxels + 1e-6), int(voxels + 1e-6) + 1)
    z, y, x = np.meshgrid(side, side, side, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= voxels**2 + 1e-6)


def in_words(held: Float64[np.ndarray, " structures"], *, ventricle: float = 0.0, cortex: float = 0.0) -> str:
    """Say in which structures a region lies: ``left frontal white matter, next to the lateral ventricle``.

    Parameters
    ----------
    held
        Voxels (or mm3) of the region in each structure.
    ventricle, cortex
        Share of the region next to a lateral ventricle, and next to the cerebral cortex.
    """
    shares = _weighed(held)
    total = shares.sum()
    if not total:
        return STRUCTURES[0].name
    names, complete = _main_names(shares / total)
    words = _and([text for side in _SIDES for text in _on_side(side, names, shares)])
    if not complete:
        words = f"mostly {words}"
    return words + _next_to(names, ventricle, cortex)


def _weighed(held: Float64[np.ndarray, " structures"]) -> Float64[np.ndarray, " structures"]:
    shares = held.copy()
    if shares[1:].any():
        shares[0] = 0
        for label, structure in enumerate(STRUCTURES):
            if structure.name in _FLUID:
                # the border between fluid and tissue is where labels are least sure, and tissue is what is diseased
                shares[label] *= 0.5
        return shares
    return np.zeros_like(shares)


def _main_names(shares: Float64[np.ndarray, " structures"]) -> tuple[list[str], bool]:
    """Names that hold most of a region, the largest first, and whether they hold nearly all."""
    by_name: dict[str, float] = {}
    for share, structure in zip(shares, STRUCTURES, strict=True):
        by_name[structure.name] = by_name.get(structure.name, 0.0) + float(share)
    names: list[str] = []
    sum_named = 0.0
    for name, share in sorted(by_name.items(), key=lambda item: -item[1]):
        enough = sum_named >= _NAMED or len(names) == _MOST_NAMES or share < _LEAST
        if names and enough:
            break
        names.append(name)
        sum_named += share
    return names, sum_named >= _NEARLY_ALL


def _on_side(side: _Sides, names: Sequence[str], shares: Float64[np.ndarray, " structures"]) -> list[str]:
    """Say which of the names lie on a side: nothing, or one text."""
    here = [name for name in names if _side_of(name, shares) == side]
    if not here:
        return []
    words = _listed(here)
    return [f"{words} on both sides" if side == "both" else f"{side} {words}".strip()]


def _side_of(name: str, shares: Float64[np.ndarray, " structures"]) -> _Sides:
    if (name, "") in _LABELS:
        return ""
    left, right = (float(shares[_LABELS[name, side]]) for side in ("left", "right"))
    if min(left, right) >= _WIDE * (left + right):
        return "both"
    return "left" if left > right else "right"


def _listed(names: Sequence[str]) -> str:
    """Join names, saying a last word that they share only once: ``frontal and parietal white matter``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        ending = next((word for word in ("white matter", "cortex") if name.endswith(f" {word}")), "")
        groups.setdefault(ending, []).append(name.removesuffix(ending).strip())
    lobes = [tuple(first) for ending, first in groups.items() if ending]
    if len(groups) == len(lobes) == 2 and lobes[0] == lobes[1]:
        return f"{_and(lobes[0])} {' and '.join(groups)}"
    if len(groups) == 1:
        ((ending, first),) = groups.items()
        return f"{_and(first)} {ending}".strip()
    return _and(names)


def _and(words: Sequence[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _next_to(names: Sequence[str], ventricle: float, cortex: float) -> str:
    wholes: Mapping[str, str] = {structure.name: structure.part_of for structure in STRUCTURES}
    if any(name in _FLUID for name in names) or wholes[names[0]] != _WHITE:
        return ""
    if ventricle >= _TOUCHING:
        return ", next to the lateral ventricle"
    if cortex >= _TOUCHING and all(wholes[name] == _WHITE for name in names):
        return ", next to the cortex"
    return ""
