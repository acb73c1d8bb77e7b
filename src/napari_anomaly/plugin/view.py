"""Planes, places and the words for them: what the viewer looks at."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Num
from napari.components import ViewerModel
from napari.layers import Layer

from napari_anomaly import extras
from napari_anomaly.anomaly import to_decades
from napari_anomaly.findings import Findings
from napari_anomaly.geometry import Geometry

__all__ = [
    "PLANES",
    "Plane",
    "current_plane",
    "describe_place",
    "jump",
    "link_planes",
    "patient_place",
    "set_plane",
    "set_slab",
    "true_status",
    "worst_slice",
]

Plane: TypeAlias = Literal["axial", "coronal", "sagittal", "3d"]

PLANES: dict[Plane, tuple[int, int, int]] = {
    "axial": (0, 1, 2),
    "coronal": (1, 0, 2),
    "sagittal": (2, 0, 1),
    "3d": (0, 1, 2),
}
"""Order of the axes on the screen: superior or anterior is up, the patient's right is on the left."""

# From the front and a little above and from the patient's right, the head upright; in (inferior, posterior,
# left).
_LOOKING = (0.25, 1.0, 0.35)
_UP = (-1.0, 0.0, 0.0)


def set_plane(viewer: ViewerModel, plane: Plane) -> None:
    """Show a plane, or the whole in 3D; the place that is looked at stays."""
    leading = viewer.dims.ndim - 3
    if leading < 0:
        return
    order = (*range(leading), *(leading + axis for axis in PLANES[plane]))
    was_3d = viewer.dims.ndisplay == 3
    place = viewer.dims.point
    viewer.dims.order = order
    viewer.dims.ndisplay = 3 if plane == "3d" else 2
    if plane == "3d" or was_3d:
        viewer.reset_view()
    viewer.dims.point = place
    if plane == "3d":
        _camera(viewer).set_view_direction(_LOOKING, _UP)


def set_slab(viewer: ViewerModel, thickness_mm: float) -> None:
    """Show the highest intensity and the highest score of a slab around the slice; 0 shows the slice alone.

    Our layers are made to project their maximum; a slice alone has nothing to project.

    Parameters
    ----------
    viewer
        The viewer.
    thickness_mm
        Of the slab, in millimetres of the world (voxels where millimetres are not known).
    """
    half = np.full(viewer.dims.ndim, max(thickness_mm, 0.0) / 2)
    if viewer.dims.ndim >= 3:
        # napari takes a slab from its first voxel to its last one, which change places where the scale is negative,
        # as it is along (inferior) for all layers of ours
        half[-3] *= -1
    viewer.dims.margin_left = viewer.dims.margin_right = tuple(half.tolist())


def link_planes(viewer: ViewerModel, on: bool, tell: Callable[[bool], None] | None = None) -> None:
    """Show or hide all three planes at once, linked by a crosshair.

    Parameters
    ----------
    viewer
        The viewer itself, with a window.
    on
        Whether to show them.
    tell
        Method that is told when something else shows or hides them.

    Raises
    ------
    MissingExtra
        If the extra ``planes`` is not installed.
    """
    libraries = ("napari_orthogonal_views", "cv2")
    linked = extras.load("plugin.linked_planes", libraries, extra="planes", what="The linked view")
    linked.show_linked(viewer, on, tell)


def current_plane(viewer: ViewerModel) -> Plane | None:
    """Tell which plane is shown; None where it is none of ours."""
    if viewer.dims.ndisplay == 3:
        return "3d"
    leading = viewer.dims.ndim - 3
    order = tuple(axis - leading for axis in viewer.dims.order[-3:])
    return next((plane for plane, ours in PLANES.items() if plane != "3d" and ours == order), None)


def jump(viewer: ViewerModel, layer: Layer, index: Sequence[float]) -> None:
    """Go to a voxel in all planes, and bring it into sight where the screen shows another part.

    Parameters
    ----------
    viewer
        The viewer.
    layer
        The layer that the index belongs to.
    index
        Voxel (z, y, x); fractions are allowed.
    """
    world = np.asarray(layer.data_to_world(tuple(index)))
    leading = viewer.dims.ndim - len(world)
    viewer.dims.set_point(range(leading, viewer.dims.ndim), tuple(float(w) for w in world))
    if viewer.dims.ndisplay == 2 and not _in_sight(viewer, layer, index):
        shown = [axis - leading for axis in viewer.dims.displayed]
        centre = list(_camera(viewer).center)
        centre[-2:] = [float(world[axis]) for axis in shown]
        _camera(viewer).center = tuple(centre)


def worst_slice(
    findings: Findings,
    score: Float32[np.ndarray, "z y x"],
    axis: int,
    without: Container[int] = (),
) -> tuple[int, int, int] | None:
    """Give the most suspicious slice: where the findings together hold most, each voxel by the decades of its score.

    Parameters
    ----------
    findings
        What was found.
    score
        Calibrated scores.
    axis
        What the slices are counted along, 0 to 2.
    without
        Ids of findings that do not count.

    Returns
    -------
    tuple of int or None
        The voxel (z, y, x) of that slice with the highest score; None where nothing counts.
    """
    counted = [finding for finding in findings if finding.id not in without]
    if not counted:
        return None
    others = tuple(other for other in range(3) if other != axis)
    sums = np.zeros(score.shape[axis])
    for finding in counted:
        inside = findings.labels[finding.slices] == finding.rank
        sums[finding.slices[axis]] += (to_decades(score[finding.slices]) * inside).sum(axis=others)
    place = [slice(None)] * 3
    place[axis] = slice(int(sums.argmax()), int(sums.argmax()) + 1)
    ranks = np.isin(findings.labels[tuple(place)], [finding.rank for finding in counted])
    best = np.unravel_index(np.where(ranks, score[tuple(place)], -1.0).argmax(), ranks.shape)
    z, y, x = (int(index) + (place[one].start or 0) for one, index in enumerate(best))
    return z, y, x


def _in_sight(viewer: ViewerModel, layer: Layer, index: Sequence[float]) -> bool:
    corners = np.sort(np.asarray(layer.corner_pixels), axis=0)
    leading = viewer.dims.ndim - layer.ndim
    return all(
        corners[0][axis] <= index[axis] <= corners[1][axis]
        for axis in (shown - leading for shown in viewer.dims.displayed)
        if axis >= 0
    )


def patient_place(mm: Sequence[float] | Float[np.ndarray, "3"]) -> str:
    """Put RAS+ millimetres into a reader's words: ``R 12.3  A 4.0  S 31.2 mm``."""
    letters = ("RL", "AP", "SI")
    parts = (f"{pair[0] if v >= 0 else pair[1]} {abs(v):.1f}" for pair, v in zip(letters, mm, strict=True))
    return "  ".join(parts) + " mm"


def describe_place(geometry: Geometry, index: Num[np.ndarray, "3"]) -> str:
    """Say where a voxel is: in millimetres of the patient, or as a voxel where millimetres are not known."""
    if geometry.unit == "mm":
        return patient_place(geometry.index_to_mm(index))
    z, y, x = np.round(index).astype(int).tolist()
    return f"voxel z {z}  y {y}  x {x} (size unknown)"


def true_status(layer: Layer, geometry: Geometry, world: Sequence[float], status: dict[str, Any]) -> None:
    """Put true millimetres of the patient into a status of napari's, in place.

    napari shows its own world, whose axes are (inferior, posterior, left), and which an oblique scan does not
    follow.

    Parameters
    ----------
    layer
        The layer of the scan.
    geometry
        Where its voxels lie.
    world
        Where the pointer is, in napari's world.
    status
        What napari is about to show; its ``coordinates`` are replaced.
    """
    index = np.asarray(layer.world_to_data(np.asarray(world)), dtype=np.float64)
    value = status.get("value", "")
    place = describe_place(geometry, index)
    status["coords"] = place
    status["coordinates"] = f"{place}   {value}" if value else place


def _camera(viewer: ViewerModel) -> Any:
    # napari 0.9 moved the camera into the scene and warns about the old place.
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
