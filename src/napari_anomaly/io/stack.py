"""From frames that lie anywhere to slices in a row: order, volumes, spacing, tilt.

All in the patient's millimetres as DICOM counts them (LPS+), until `Stack.affine` turns to RAS+, once.

Source: DICOM PS3.3 2024, C.7.6.2.1.1 (image position and orientation).
"""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Float64

from napari_anomaly.errors import BadGeometry
from napari_anomaly.io.instances import Frame

__all__ = ["Stack", "slice_affine", "stack"]

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_MM = 0.01
"""Slices nearer than this lie at the same place."""
_FARTHEST_MM = 100_000.0
"""No part of a patient lies farther away; a number that is larger is damaged."""
_STEEPEST = 60.0
"""No gantry tilts as far, in degrees; a row of slices that does is damaged."""
_MOST_PLANES = 16
"""The straight grid has at most this many planes for each slice; a gap that asks for more is damaged."""
_SHIFT_PX = 0.25
"""Slices may drift sideways by this share of a pixel from the first to the last: rounding of a header."""
_EVEN = 0.1
"""Slices may lie off an even row by this share of their distance: rounding of a header, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices in a row, and the straight grid that they make.

    Parameters
    ----------
    volumes
        The frames of each volume, from the first to the last along the normal of the slices.
    depths
        Distance of each slice from the first one along the normal, mm.
    shifts
        By how many pixels (columns, rows) each slice lies aside from the first one.
    step
        Distance of the planes of the grid, mm.
    resampled
        Whether voxels of the grid lie between those of the slices: after tilt, or uneven spacing.
    tilt
        Degrees between the row of slices and their normal.
    notes
        What the user should know.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    depths: Float64[np.ndarray, " slices"]
    shifts: Float64[np.ndarray, "slices 2"]
    step: float
    resampled: bool
    tilt: float
    notes: tuple[str, ...]

    @property
    def planes(self) -> int:
        """Planes of the grid."""
        return round(float(self.depths[-1]) / self.step) + 1 if self.resampled else len(self.depths)

    @property
    def margin(self) -> tuple[int, int, int, int]:
        """Columns before and after, rows before and after, that the grid has more than a slice."""
        if not self.resampled:
            return 0, 0, 0, 0
        low, high = np.floor(self.shifts.min(axis=0)), np.ceil(self.shifts.max(axis=0))
        return int(-low[0]), int(high[0]), int(-low[1]), int(high[1])

    @property
    def affine(self) -> Float64[np.ndarray, "4 4"]:
        """From (column, row, plane) of the grid to RAS+ mm."""
        frames = self.volumes[0]
        first, last = frames[0], frames[-1]
        matrix = slice_affine(first)
        if self.resampled:
            before = np.array([-self.margin[0], -self.margin[2], 0, 1])
            matrix[:3, 3] = (matrix @ before)[:3]
            normal = np.cross(first.across, first.down)
            matrix[:3, 2] = _TO_RAS[:3, :3] @ (normal / np.linalg.norm(normal) * self.step)
        else:
            # The true way from first to last, so that the corners lie where the headers say.
            matrix[:3, 2] = (slice_affine(last)[:3, 3] - matrix[:3, 3]) / (len(frames) - 1)
        return matrix


def slice_affine(frame: Frame) -> Float64[np.ndarray, "4 4"]:
    """Give the matrix from (column, row, 0, 1) of a slice to RAS+ mm."""
    matrix = np.eye(4)
    matrix[:3, 0] = frame.across * frame.spacing[1]
    matrix[:3, 1] = frame.down * frame.spacing[0]
    matrix[:3, 2] = np.cross(frame.across, frame.down)
    matrix[:3, 3] = frame.position
    return _TO_RAS @ matrix


def stack(frames: tuple[Frame, ...]) -> Stack:
    """Put frames of one orientation and size in order.

    Raises
    ------
    BadGeometry
        If no straight row of slices can be made of them; the message says which files are in the way.
    """
    _check_plane(frames)
    normal = np.cross(frames[0].across, frames[0].down)
    volumes, notes = _volumes(_by_place(frames, normal))
    row = volumes[0]
    if len(row) < 2:
        raise BadGeometry(
            f"{row[0].name} is a single slice; a scan needs two or more. Choose the folder of the whole series."
        )
    places = np.array([frame.position for frame in row])
    depths = (places - places[0]) @ normal
    shifts, tilt = _shifts(row, places, depths)
    step, even, told = _step(row, depths)
    tilted = tilt > 0
    notes += told
    if tilted:
        notes += (f"The gantry was tilted by {tilt:.1f} degrees: resampled to a straight grid.",)
    return Stack(volumes, depths, shifts, step, tilted or not even, tilt, notes)


def _check_plane(frames: tuple[Frame, ...]) -> None:
    """Make sure that a frame says where it lies, in a way that is possible."""
    for frame in frames:
        numbers = [*frame.across, *frame.down, *frame.spacing]
        if frame.position is None or not np.all(np.isfinite(numbers)):
            raise BadGeometry(
                f"{frame.name} does not say where it lies (position, orientation or pixel spacing is missing). "
                "Export the series again as original images, not as pictures of them."
            )
        if max(np.abs(frame.position).max(), *frame.spacing) > _FARTHEST_MM:
            raise BadGeometry(
                f"{frame.name} lies farther than {_FARTHEST_MM / 1000:.0f} m away from the scanner's centre, or its "
                "pixels are as large. Its header is damaged: export the series again."
            )
        lengths = np.linalg.norm([frame.across, frame.down], axis=1)
        if np.abs(lengths - 1).max() > 1e-2 or abs(frame.across @ frame.down) > 1e-3:
            raise BadGeometry(
                f"{frame.name} names an orientation that is none (lengths {lengths.round(4).tolist()}). "
                "Export the series again from its archive."
            )
        if min(frame.spacing) <= 0:
            raise BadGeometry(f"{frame.name} names a pixel spacing of {frame.spacing}; it must be positive.")


def _by_place(frames: tuple[Frame, ...], normal: Float64[np.ndarray, "3"]) -> list[list[Frame]]:
    """Group frames that lie at the same place, along the normal."""
    depth = {id(frame): float(frame.position @ normal) for frame in frames if frame.position is not None}
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: (depth[id(frame)], frame.number or 0, frame.index)):
        if groups and depth[id(frame)] - depth[id(groups[-1][0])] < _SAME_MM:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups


def _volumes(groups: list[list[Frame]]) -> tuple[tuple[tuple[Frame, ...], ...], tuple[str, ...]]:
    """Split a series that has several frames at each place into its volumes."""
    usual = Counter(len(group) for group in groups).most_common(1)[0][0]
    odd = next((group for group in groups if len(group) != usual), None)
    if odd is not None:
        names = ", ".join(frame.name for frame in odd[:4])
        raise BadGeometry(
            f"{len(odd)} slices lie at the place of {names}, and {usual} at most others: slices are doubled or "
            "missing. Take out the slices that do not belong to the series, or export it again."
        )
    if usual == 1:
        return (tuple(group[0] for group in groups),), ()
    told = f"The series holds {usual} images at each place: it was split into {usual} volumes"
    ordered = _ordered(groups, usual)
    if ordered is None and (ordered := _by_time(groups)):
        told += " by the time at which each was taken; nothing else in the headers tells them apart"
    if ordered is None:
        one, other = groups[0][:2]
        raise BadGeometry(
            f"{one.name} and {other.name} lie at the same place, and nothing in their headers tells them apart "
            "(echo, b-value, inversion, time, phase, acquisition). Take out the doubled slices, or export again."
        )
    return tuple(zip(*ordered, strict=True)), (f"{told}.",)


def _by_time(groups: list[list[Frame]]) -> list[list[Frame]] | None:
    """Sort the frames at each place by time; None where one has none, or two the same."""
    if any(len({frame.moment for frame in group} - {""}) < len(group) for group in groups):
        return None
    return [sorted(group, key=lambda frame: frame.moment) for group in groups]


def _ordered(groups: list[list[Frame]], count: int) -> list[list[Frame]] | None:
    """Sort the frames at each place by the first marks that tell the volumes apart at every place alike."""
    marks = range(len(groups[0][0].marks))
    for chosen in [*combinations(marks, 1), *combinations(marks, 2)]:
        keys = [[str([frame.marks[mark] for mark in chosen]) for frame in group] for group in groups]
        if all(len(set(key)) == count for key in keys) and len({frozenset(key) for key in keys}) == 1:
            # Numbers in their own order, not "10" before "9": the order at the first place counts.
            rank = {key: place for place, key in enumerate(_sorted_keys(groups[0], chosen))}
            return [
                [frame for _, frame in sorted(zip(key, group, strict=True), key=lambda pair: rank[pair[0]])]
                for key, group in zip(keys, groups, strict=True)
            ]
    return None


def _sorted_keys(group: list[Frame], chosen: tuple[int, ...]) -> list[str]:
    def order(frame: Frame) -> list[tuple[float, str]]:
        values = [frame.marks[mark] for mark in chosen]
        return [(value if isinstance(value, float) else 0.0, str(value)) for value in values]

    return [str([frame.marks[mark] for mark in chosen]) for frame in sorted(group, key=order)]


def _shifts(
    row: tuple[Frame, ...], places: Float64[np.ndarray, "n 3"], depths: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, "n 2"], float]:
    """Give how far each slice lies aside, in pixels, and the tilt in degrees; 0 where it is mere rounding."""
    first = row[0]
    axes = np.stack([first.across / first.spacing[1], first.down / first.spacing[0]], axis=1)
    shifts = (places - places[0]) @ axes
    if np.abs(shifts).max() <= _SHIFT_PX:
        return np.zeros_like(shifts), 0.0
    expected = np.outer(depths / depths[-1], shifts[-1])
    away = np.abs(shifts - expected).max(axis=1)
    if away.max() > _SHIFT_PX:
        raise BadGeometry(
            f"{row[int(away.argmax())].name} lies {away.max():.1f} pixels beside the row of the other slices. "
            "It may belong to another series: take it out, or export the series again."
        )
    aside = np.linalg.norm(places[-1] - places[0] - depths[-1] * np.cross(first.across, first.down))
    tilt = float(np.degrees(np.arctan2(aside, depths[-1])))
    if tilt > _STEEPEST:
        raise BadGeometry(
            f"The row of slices leans by {tilt:.0f} degrees from {row[0].name} to {row[-1].name}; up to "
            f"{_STEEPEST:.0f} are possible. Positions in the headers are damaged: export the series again."
        )
    return shifts, tilt


def _step(row: tuple[Frame, ...], depths: Float64[np.ndarray, " n"]) -> tuple[float, bool, tuple[str, ...]]:
    """Find the distance of the planes, whether the slices are even already, and what to say of it."""
    gaps = np.diff(depths)
    mean = float(depths[-1]) / len(gaps)
    off = float(np.abs(depths - mean * np.arange(len(depths))).max())
    if off <= max(_SAME_MM, _EVEN * mean):
        rounded = f"Slices lie up to {off:.2f} mm off an even row: taken as even."
        return mean, True, (rounded,) if off > _SAME_MM else ()
    _refuse_missing(row, gaps)
    # The lower quartile: a single overlap does not make the whole grid fine.
    planes = round(float(depths[-1]) / float(np.quantile(gaps, 0.25, method="lower")))
    if planes > _MOST_PLANES * len(row):
        widest = int(gaps.argmax())
        raise BadGeometry(
            f"{row[widest].name} and {row[widest + 1].name} lie {gaps[widest]:.0f} mm apart, most others "
            f"{np.median(gaps):.2f} mm. They may belong to different series: export the series again."
        )
    step = float(depths[-1]) / max(1, planes)
    told = (
        f"Slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart: resampled to planes {step:.2f} mm apart."
    )
    return step, False, (told,)


def _refuse_missing(row: tuple[Frame, ...], gaps: Float64[np.ndarray, " n"]) -> None:
    """Tell slices that are missing from slices that are meant to be uneven: by their numbers."""
    usual = float(np.quantile(gaps, 0.5, method="lower"))
    times = gaps / usual
    multiple = np.abs(times - np.round(times)) < _EVEN
    for (before, after), gap, whole in zip(pairwise(row), times, multiple, strict=True):
        numbered = before.number is not None and after.number is not None
        follow = numbered and abs((after.number or 0) - (before.number or 0)) == 1
        if whole and gap > 1.5 and not follow:
            raise BadGeometry(
                f"{round(gap) - 1} slices are missing between {before.name} and {after.name}: they lie "
                f"{gap * usual:.2f} mm apart, the others {usual:.2f} mm. Export the whole series again."
            )
