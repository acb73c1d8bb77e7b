"""DICOM series in: classic and enhanced CT, MR and PET.

pydicom decodes headers and pixels. The grid of a series is (column, row, slice), slices along the normal of
the first one; where gantry tilt or uneven slices make it crooked, it is resampled to a straight one, and
`to_slices` leads back.

Source: DICOM PS3.3 2024.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Num, Shaped

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.geometry import reorder
from napari_anomaly.io.burnt_in import drawn_pixels
from napari_anomaly.io.instances import Frame, opener
from napari_anomaly.io.pixels import ends_of, pixels
from napari_anomaly.io.series import Listing, Series, list_series
from napari_anomaly.io.stack import Stack
from napari_anomaly.io.voxels import finite, one_volume
from napari_anomaly.scan import Scan, Source

__all__ = ["frames_of", "read", "to_slices", "volumes"]

_LEAST_SAID = 6
"""So many files that were left out are named, the others counted."""


def volumes(path: Path, *, series: int | None = None, listing: Listing | None = None) -> int:
    """Count the volumes of a series: echoes, phases, b-values.

    Parameters
    ----------
    path, series, listing
        See `read`.

    Raises
    ------
    UnreadableScan
        If there is no series, or several and none was chosen.
    """
    chosen = _chosen(listing or list_series(path), path, series)
    return len(chosen.stack.volumes) if chosen.stack is not None else 0


def read(
    path: Path, *, volume: int | None = None, series: int | None = None, listing: Listing | None = None
) -> Scan:
    """Read one volume of a series; see `napari_anomaly.io.read_scan`.

    Parameters
    ----------
    path
        Folder, file of a series, DICOMDIR or .zip.
    volume
        Which volume, from 0, where the series holds several.
    series
        Which of the readable series, from 0, where there are several; see `list_series`.
    listing
        What lies there, where that is known already.

    Raises
    ------
    UnreadableScan
        If no series was found, a choice is needed, or a file is damaged.
    """
    listing = listing or list_series(path)
    chosen = _chosen(listing, path, series)
    if chosen.stack is None:
        raise UnreadableScan(chosen.problem)
    frames = chosen.stack.volumes[one_volume(chosen.name, len(chosen.stack.volumes), volume)]
    with opener() as open_place:
        stored = pixels(frames, chosen.shape, open_place)
    drawn = drawn_pixels(stored)
    planes = _straight(stored, chosen) if chosen.stack.resampled else stored
    array, odd = finite(planes.transpose(2, 1, 0), chosen.name)
    affine = chosen.stack.affine
    order, flips = reorder(affine)
    notes = (*chosen.stack.notes, *_notes(listing, chosen), *odd, *_unreferable(chosen, frames))
    if drawn:
        notes += (
            f"The same {drawn} pixels are the brightest in nearly every slice: words may be burnt into the images, "
            "which may name the patient.",
        )
    details = {
        "drawn": drawn,
        "frames": frames,
        "stack": chosen.stack,
        "nameless": str(chosen.header.get("PatientIdentityRemoved", "")).upper() == "YES",
        "opened": path,
        "partners": tuple(dict.fromkeys(frame.place.path for frame in frames)),
        "series": listing.readable.index(chosen),
        "tag": chosen.tag,
        "referable": not _unreferable(chosen, frames),
        "volume": volume or 0,
        "volumes": len(chosen.stack.volumes),
        "windows": _windows(chosen, frames[len(frames) // 2]),
        "notes": notes,
    }
    place = frames[0].place.path
    grid = (array.shape[0], array.shape[1], array.shape[2])
    source = Source(place, "dicom", grid, affine, order, flips, details)
    return Scan(source.to_array(array), source.geometry(), source, chosen.name, chosen.modality)


def frames_of(scan: Scan) -> tuple[Frame, ...]:
    """Give the frames that a scan was read from, in the order of `to_slices`."""
    frames: tuple[Frame, ...] = scan.source.details["frames"]
    return frames


def to_slices(
    array_zyx: Shaped[np.ndarray, "z y x"], scan: Scan
) -> Shaped[np.ndarray, "slices rows columns"]:
    """Bring an array from the grid of a scan to the slices that it was read from.

    Exact where the slices lie on the grid; the nearest voxel where the scan was resampled.

    Parameters
    ----------
    array_zyx
        On the scan's grid.
    scan
        Read from DICOM.

    Raises
    ------
    GridMismatch
        If the array does not have the shape of the scan.
    """
    planes = scan.source.to_file(array_zyx).transpose(2, 1, 0)
    arranged: Stack = scan.source.details["stack"]
    if not arranged.resampled:
        return planes
    left, right, above, below = arranged.margin
    rows, columns = planes.shape[1] - above - below, planes.shape[2] - left - right
    nearest = np.round(arranged.depths / arranged.step).astype(int)
    aside = np.round(arranged.shifts).astype(int) + np.array([left, above])
    return np.stack(
        [planes[k, j : j + rows, i : i + columns] for k, (i, j) in zip(nearest, aside, strict=True)]
    )


def _chosen(listing: Listing, path: Path, series: int | None) -> Series:
    readable = listing.readable
    if not readable:
        reasons = "; ".join(each.label for each in listing.series[:_LEAST_SAID])
        raise UnreadableScan(f"{path.name} holds no series that can be read as a scan. {reasons}")
    if series is None:
        beside = [each for each in readable if path in {frame.place.path for frame in each.frames}]
        if len(readable) > 1 and len(beside) != 1:
            table = "; ".join(f"{number}: {each.label}" for number, each in enumerate(readable))
            raise UnreadableScan(
                f"{path.name} holds {len(readable)} series; one is needed. Choose one by its number (--series), "
                f"or open a file of it. {table}"
            )
        return beside[0] if len(beside) == 1 else readable[0]
    if not 0 <= series < len(readable):
        raise UnreadableScan(
            f"{path.name} has no series {series}; it holds {len(readable)}. "
            f"Choose one from 0 to {len(readable) - 1}."
        )
    return readable[series]


def _straight(planes: Num[np.ndarray, "slices rows columns"], series: Series) -> Num[np.ndarray, "k j i"]:
    """Resample slices to the straight grid: each moves aside in its own plane, then planes lie evenly."""
    arranged = series.stack
    if arranged is None:
        raise UnreadableScan(series.problem)
    left, right, above, below = arranged.margin
    grid = (len(planes), planes.shape[1] + above + below, planes.shape[2] + left + right)
    moved = np.full(grid, planes.min(), np.float32)
    for plane, target, (aside, down) in zip(planes, moved, arranged.shifts, strict=True):
        image = _aside(_aside(plane.astype(np.float32), aside % 1, axis=1), down % 1, axis=0)
        j, i = above + math.floor(down), left + math.floor(aside)
        target[j : j + image.shape[0], i : i + image.shape[1]] = image
    at = np.arange(arranged.planes) * arranged.step
    below_at = np.clip(np.searchsorted(arranged.depths, at, side="right") - 1, 0, len(planes) - 2)
    weight = (at - arranged.depths[below_at]) / np.diff(arranged.depths)[below_at]
    straight = np.empty((arranged.planes, *moved.shape[1:]), planes.dtype)
    for plane, k, share in zip(straight, below_at, np.clip(weight, 0, 1), strict=True):
        mixed = moved[k] * np.float32(1 - share) + moved[k + 1] * np.float32(share)
        plane[...] = np.rint(mixed) if planes.dtype.kind != "f" else mixed
    return straight


def _aside(image: Float32[np.ndarray, "a b"], share: float, *, axis: int) -> Float32[np.ndarray, "c d"]:
    """Move an image by a share of a pixel towards higher indices; it grows by one pixel."""
    if share == 0:
        return image
    before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
    before[axis], after[axis] = (1, 0), (0, 1)
    mixed = np.pad(image, after, mode="edge") * (1 - share) + np.pad(image, before, mode="edge") * share
    return mixed.astype(np.float32, copy=False)


def _notes(listing: Listing, series: Series) -> tuple[str, ...]:
    """Say what else is in the place, and what is odd about the series."""
    said = []
    if str(series.header.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        turned = series.frames[0].inverted
        said.append(
            "The grey scale is stored inverted (MONOCHROME1): "
            + (
                "values were turned round, so that bright is bright."
                if turned
                else "values were kept as they are."
            )
        )
    if series.header.get("BurnedInAnnotation") == "YES":
        said.append("The images carry burnt-in text, which may name the patient.")
    others = [
        each for each in listing.series if each is not series and (each.uid == series.uid or each.problem)
    ]
    out = [f"{each.label}" for each in others]
    for reasons in (list(series.left_out) + out, list(listing.damaged)):
        if reasons:
            more = f"; and {len(reasons) - _LEAST_SAID} more" if len(reasons) > _LEAST_SAID else ""
            said.append(f"Not read: {'; '.join(reasons[:_LEAST_SAID])}{more}.")
    return tuple(said)


def _unreferable(series: Series, frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """Say why no DICOM object can refer to a series; empty if one can."""
    files = {frame.place for frame in frames}
    if not all(series.header.get(uid) for uid in ("FrameOfReferenceUID", "StudyInstanceUID")):
        return ("The files name no study or frame of reference: no DICOM segmentation will be written.",)
    if frames[0].tiles:
        return ("The slices are tiles of a Siemens mosaic: no DICOM segmentation will be written.",)
    if len(files) > 1 and "PerFrameFunctionalGroupsSequence" in series.header:
        return ("The volume lies in several enhanced files: no DICOM segmentation will be written.",)
    return ()


def _windows(series: Series, frame: Frame) -> tuple[Mapping[str, Any], ...]:
    """Give the windows that the header names for a slice, in values: centre, width, and what for."""
    where = series.header
    groups = where.get("PerFrameFunctionalGroupsSequence") or ()
    shared = where.get("SharedFunctionalGroupsSequence") or ()
    for held in (*groups[frame.index : frame.index + 1], *shared[:1]):
        where = (held.get("FrameVOILUTSequence") or [where])[0]
        if where is not series.header:
            break
    centres, widths, names = (
        _list(where.get(key)) for key in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")
    )
    windows = []
    for n, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        # A window that is no number is no reason to refuse the scan.
        with suppress(TypeError, ValueError):
            name = str(names[n]) if n < len(names) else ""
            middle = float(centre)
            if frame.inverted:
                middle = ends_of(frame) - middle
            windows.append({"center": middle, "width": float(width), "name": name})
    return tuple(windows)


def _list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (str, int, float)) else list(value)
