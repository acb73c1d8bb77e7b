"""What the numbers of two kinds of label map mean: FreeSurfer's, and those of MUSE, which know lobes.

Sources: FreeSurfer's colour table as SynthSeg's training maps use it (Billot et al. 2023), and the regions of MUSE
(Doshi et al. 2016), which are those of Neuromorphometrics (2012 labelling challenge) with white matter by lobe.
"""

from __future__ import annotations

from typing import NamedTuple

from napari_anomaly.anatomy import NAMES, STRUCTURES, Side, label_of

UNKNOWN = 255
"""Truth of voxels that an atlas names in a way that no structure here answers to."""

MIDDLE = "middle"
"""Side of regions that are split where the midplane runs."""


class Region(NamedTuple):
    """What a number of a label map means."""

    tissue: int
    """FreeSurfer number of the same tissue, from which intensities are synthesised."""
    name: str
    """Structure, empty where none answers to it."""
    side: str
    """"left", "right", empty on the midline, or `MIDDLE`."""


def freesurfer() -> dict[int, Region]:
    """Regions of FreeSurfer's numbers; a structure of several parts is named by its first (see `parts`)."""
    pairs = {
        "frontal white matter": ((2, 25), (41, 57)),
        "frontal cortex": ((3,), (42,)),
        "lateral ventricle": ((4, 5, 136, 137), (43, 44, 163, 164)),
        "cerebellar white matter": ((7,), (46,)),
        "cerebellar cortex": ((8,), (47,)),
        "thalamus": ((10,), (49,)),
        "caudate": ((11, 26), (50, 58)),
        "putamen": ((12,), (51,)),
        "pallidum": ((13,), (52,)),
        "hippocampus": ((17,), (53,)),
        "amygdala": ((18,), (54,)),
        "ventral diencephalon": ((28,), (60,)),
        "": ((30,), (62,)),
    }
    found = {
        number: Region(number, name, side)
        for name, sides in pairs.items()
        for side, numbers in zip(("left", "right"), sides, strict=True)
        for number in numbers
    }
    middle = {14: "third ventricle", 15: "fourth ventricle", 16: "brainstem", 72: "", 85: ""}
    found |= {number: Region(number, name, "") for number, name in middle.items()}
    found[24] = Region(24, "fluid around the brain", MIDDLE)
    return found


# right gyrus of every lobe; the left one follows it
_GYRI: dict[str, tuple[int, ...]] = {
    "frontal cortex": (
        *(104, 112, 118, 120, 124, 136, 140, 142, 146, 150, 152, 162, 164, 178, 182, 186, 190, 192, 204),
    ),
    "parietal cortex": (106, 148, 168, 174, 176, 194, 198),
    "temporal cortex": (116, 122, 132, 154, 170, 180, 184, 200, 202, 206),
    "occipital cortex": (108, 114, 128, 134, 144, 156, 160, 196),
    "insula": (102, 172),
    "cingulate cortex": (100, 138, 166),
}

# structure: FreeSurfer numbers of the tissue (left, right), MUSE numbers (left, right)
_MUSE_PAIRS: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("frontal white matter", (2, 41), (82, 81)),
    ("occipital white matter", (2, 41), (84, 83)),
    ("parietal white matter", (2, 41), (86, 85)),
    ("temporal white matter", (2, 41), (88, 87)),
    ("internal capsule", (2, 41), (92, 91)),
    ("internal capsule", (2, 41), (94, 93)),
    ("", (2, 41), (90, 89)),  # fornix
    ("", (28, 60), (75, 76)),  # basal forebrain
    ("caudate", (26, 58), (30, 23)),  # accumbens
    ("caudate", (11, 50), (37, 36)),
    ("amygdala", (18, 54), (32, 31)),
    ("cerebellar cortex", (8, 47), (39, 38)),
    ("cerebellar white matter", (7, 46), (41, 40)),
    ("hippocampus", (17, 53), (48, 47)),
    ("lateral ventricle", (5, 44), (50, 49)),
    ("lateral ventricle", (4, 43), (52, 51)),
    ("pallidum", (13, 52), (56, 55)),
    ("putamen", (12, 51), (58, 57)),
    ("thalamus", (10, 49), (60, 59)),
    ("ventral diencephalon", (28, 60), (62, 61)),
)


def muse() -> dict[int, Region]:
    """Regions of the numbers of MUSE."""
    found = {
        number: Region(tissue, name, side)
        for name, tissues, numbers in _MUSE_PAIRS
        for side, tissue, number in zip(("left", "right"), tissues, numbers, strict=True)
    }
    for lobe, gyri in _GYRI.items():
        found |= {number: Region(42, lobe, "right") for number in gyri}
        found |= {number + 1: Region(3, lobe, "left") for number in gyri}
    found |= {4: Region(14, "third ventricle", ""), 11: Region(15, "fourth ventricle", "")}
    found |= {35: Region(16, "brainstem", ""), 69: Region(85, "", "")}
    found |= {number: Region(24, "fluid around the brain", MIDDLE) for number in (1, 46)}
    found |= {number: Region(8, "cerebellar cortex", MIDDLE) for number in (71, 72, 73)}
    found[95] = Region(2, "corpus callosum", MIDDLE)
    return found


def parts() -> tuple[int, ...]:
    """For every name, the first that FreeSurfer's numbers do not tell it from: their lobes are one."""
    whole = {structure.name: structure.part_of for structure in STRUCTURES}
    return tuple([whole[name] for name in NAMES].index(whole[name]) for name in NAMES)


def truth_of(region: Region, side: Side) -> int:
    """Label of a region, on the given side where it is split by the midplane."""
    if not region.name:
        return UNKNOWN
    if region.side == MIDDLE:
        return label_of(region.name, side)
    return label_of(region.name, region.side)  # type: ignore[arg-type]
