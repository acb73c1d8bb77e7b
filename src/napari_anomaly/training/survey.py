"""What lies in a folder of normal scans, before anybody trains on it: how many, how fine, and which stand out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SPREAD = 2.0
"""A voxel volume or a field of view that differs from the median by this factor stands out."""

FEW = 8
"""With fewer scans than this a detector cannot tell what is normal from what one person looks like."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One file.

    Parameters
    ----------
    name
        Of the file, without its folder.
    sides, spacing_mm
        Voxels along the file's own axes, and their sides; empty where it cannot be read.
    taken_for
        What training takes it for: "T1", "FLAIR", "label map"; "" where it cannot be used.
    remarks
        What is wrong with it, or stands out, in words.
    """

    name: str
    sides: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    taken_for: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """All files of a folder by name, and what is to be said of it as a whole."""

    files: tuple[Surveyed, ...]
    remarks: tuple[str, ...] = field(default=())

    @property
    def usable(self) -> int:
        """Files that training can use."""
        return sum(bool(file.taken_for) for file in self.files)

    def text(self) -> str:
        """Say it in a few lines: what there is, then what stands out."""
        usable = [file for file in self.files if file.taken_for]
        kinds = sorted({file.taken_for for file in usable})
        counted = [f"{sum(file.taken_for == kind for file in usable)} as {kind}" for kind in kinds]
        lines = [
            f"{len(usable)} of {len(self.files)} files can be used"
            + (f": {', '.join(counted)}." if kinds else ".")
        ]
        if usable:
            finest = [min(file.spacing_mm) for file in usable]
            coarsest = [max(file.spacing_mm) for file in usable]
            lines.append(f"Voxels of {min(finest):.2g} to {max(coarsest):.2g} mm.")
        lines += self.remarks
        lines += [f"{file.name}: {'; '.join(file.remarks)}." for file in self.files if file.remarks]
        return "\n".join(lines)


def survey(folder: Path, *, are_labels: bool = False) -> Survey:
    """Look at every NIfTI file of a folder as training would; what is wrong with one is its remark, never an error.

    Parameters
    ----------
    folder : Path
        Folder; files below its sub-folders are not used.
    are_labels : bool, default False
        Whether it holds label maps.
    """
    if not folder.is_dir():
        return Survey((), (f"{folder} is no folder.",))
    paths = [path for path in sorted(folder.glob("*.nii*")) if "_DLMUSE" not in path.name]
    seen: dict[str, str] = {}
    files = [_look(path, are_labels=are_labels, seen=seen) for path in paths]
    remarks = []
    usable = sum(bool(file.taken_for) for file in files)
    if not paths:
        remarks.append(
            "There is no .nii or .nii.gz file. Convert DICOM series first, for example with dcm2niix."
        )
    elif usable < FEW:
        remarks.append(
            f"{usable} scans are few: {FEW} or more are needed to learn what people have in common."
        )
    return Survey(tuple(_outliers(files)), tuple(remarks))


def _look(path: Path, *, are_labels: bool, seen: dict[str, str]) -> Surveyed:
    try:
        image: Any = nibabel.load(path)
        sides = tuple(int(side) for side in image.shape)
        spacing = tuple(float(size) for size in image.header.get_zooms()[: len(sides)])
        if len(sides) != 3 or min(sides) < 16:
            return Surveyed(
                path.name, sides, spacing, remarks=("not a 3D scan of at least 16 voxels a side",)
            )
        voxels = np.asanyarray(image.dataobj)[::2, ::2, ::2]
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        return Surveyed(path.name, remarks=(f"cannot be read ({type(error).__name__})",))
    if not np.isfinite(voxels).all():
        return Surveyed(path.name, sides, spacing, remarks=("holds NaN or infinity",))
    if voxels.min() == voxels.max():
        return Surveyed(path.name, sides, spacing, remarks=("is the same everywhere",))
    kind = "label map" if are_labels else "FLAIR" if "flair" in path.name.lower() else "T1"
    remarks = []
    twin = seen.setdefault(hashlib.sha256(np.ascontiguousarray(voxels).tobytes()).hexdigest(), path.name)
    if twin != path.name:
        remarks.append(f"the same voxels as {twin}")
    few = len(np.unique(voxels[::2, ::2, ::2])) < 4
    if few and not are_labels:
        return Surveyed(path.name, sides, spacing, remarks=("a mask, not a scan",))
    if are_labels and not np.array_equal(voxels, np.round(voxels)):
        return Surveyed(path.name, sides, spacing, remarks=("a scan, not a label map",))
    return Surveyed(path.name, sides, spacing, kind, tuple(remarks))


def _outliers(files: Sequence[Surveyed]) -> list[Surveyed]:
    usable = [file for file in files if file.taken_for]
    if not usable:
        return list(files)
    voxel = {file.name: float(np.prod(file.spacing_mm)) for file in usable}
    field_of_view = {file.name: voxel[file.name] * float(np.prod(file.sides)) for file in usable}
    result = []
    for file in files:
        said = list(file.remarks)
        for what, values in (("voxels", voxel), ("a field of view", field_of_view)):
            share = (
                values[file.name] / float(np.median(list(values.values()))) if file.name in values else 1.0
            )
            if not 1 / SPREAD <= share <= SPREAD:
                said.append(f"{what} {share:.1f} times as large as the others")
        result.append(Surveyed(file.name, file.sides, file.spacing_mm, file.taken_for, tuple(said)))
    return result
