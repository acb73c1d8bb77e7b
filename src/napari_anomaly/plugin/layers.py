"""Values to layers and back: the only place that knows how a scan, a map, proxies and a mask are displayed.

napari's 2D slicing does not honour permuted or oblique affines, so layers only have a scale and a
translation. Arrays point superior, posterior, left; with the first scale negative the world of the viewer is
(inferior, posterior, left): right-handed, so that 3D is not mirrored, and a plain slice is radiological. An
oblique scan is shown along its own axes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Num
from napari.layers import Image, Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.errors import ScanError
from napari_anomaly.geometry import Geometry
from napari_anomaly.plugin.windows import windows_for
from napari_anomaly.scan import Scan

__all__ = [
    "ROLE",
    "SCAN",
    "VALUE",
    "LayerTuple",
    "Role",
    "is_scan",
    "lock",
    "marks",
    "mask_layer",
    "outline",
    "placement",
    "role_of",
    "scan_behind",
    "scan_layer",
    "scan_of",
    "value_of",
]

LayerTuple: TypeAlias = tuple[Any, dict[str, Any], str]
Role: TypeAlias = Literal["scan", "map", "mask", "proxies", "supervoxels", "residual", "marks"]

ROLE = "napari_anomaly"
SCAN = "napari_anomaly_scan"
VALUE = "napari_anomaly_value"

_MASK_COLOUR = (0.34, 0.71, 0.91, 1.0)
_CHOSEN_COLOUR = (1.0, 0.93, 0.35, 1.0)
_GHOST_COLOUR = (0.5, 0.5, 0.5, 1.0)
_UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "micrometer": 1e-3,
    "centimeter": 10.0,
    "meter": 1e3,
    "nanometer": 1e-6,
}


def placement(geometry: Geometry, *, oriented: bool = True) -> dict[str, Any]:
    """Give scale, translation, units and names of axes that put a scan's grid into the viewer's world.

    The world is (inferior, posterior, left) in mm; where the size of a voxel is not known it is counted in
    voxels. Axes bear these names only where the file says which side of the patient is which.
    """
    sz, sy, sx = geometry.spacing
    right, anterior, superior = geometry.affine[:3, 3].tolist()
    return {
        "scale": (-sz, sy, sx),
        "translate": (-superior, -anterior, -right),
        "units": ("mm" if geometry.unit == "mm" else "pixel",) * 3,
        "axis_labels": ("inferior", "posterior", "left") if oriented else ("z", "y", "x"),
    }


def scan_layer(scan: Scan, *, metadata: Mapping[str, Any] | None = None) -> LayerTuple:
    """Turn a scan into an image layer, greyscale, in the first window that fits it.

    Parameters
    ----------
    scan
        The scan.
    metadata
        More to keep with the layer, besides the scan.
    """
    keywords = {
        **placement(scan.geometry, oriented=scan.oriented),
        "name": scan.name,
        "colormap": "gray",
        "contrast_limits": windows_for(scan)[0].limits,
        "interpolation2d": "linear",
        "rendering": "attenuated_mip",
        "projection_mode": "max",
        "metadata": {**(metadata or {}), ROLE: "scan", SCAN: scan},
    }
    return scan.voxels, keywords, "image"


def mask_layer(scan: Scan) -> LayerTuple:
    """Turn a file that holds a mask into a labels layer, on its own grid."""
    voxels = scan.voxels
    labels = voxels.astype(np.uint8 if int(voxels.max(initial=0)) < 256 else np.uint16)
    keywords = {
        **placement(scan.geometry, oriented=scan.oriented),
        "name": scan.name,
        "opacity": 0.6,
        "metadata": {SCAN: scan},
    }
    if int(labels.max(initial=0)) <= 1:
        keywords["colormap"] = outline()
    return labels, keywords, "labels"


def role_of(layer: Layer) -> Role | None:
    """Tell what a layer is to us; None for a layer that another program made."""
    role: Role | None = layer.metadata.get(ROLE)
    return role


def is_scan(layer: Layer) -> bool:
    """Tell whether a layer can be looked at: a greyscale image in 3D that is no result of ours."""
    return (
        isinstance(layer, Image)
        and role_of(layer) in (None, "scan")
        and layer.ndim == 3
        and not layer.rgb
        and not layer.multiscale
    )


def scan_of(layer: Layer) -> Scan:
    """Give the scan that an image layer shows.

    A layer that was not opened by this package has no place in the patient that we could trust: it is taken
    as axial slices, the lowest first, with the spacing that the layer has.

    Raises
    ------
    ScanError
        If the layer does not hold one number per voxel in 3D.
    """
    scan = layer.metadata.get(SCAN)
    data = layer.data
    if isinstance(scan, Scan) and layer.metadata.get(ROLE) == "scan" and data.shape == scan.geometry.shape:
        # Another plugin may have filtered it in place; where it lies has not changed.
        return scan if data is scan.voxels else replace(scan, voxels=np.asarray(data))
    if not is_scan(layer):
        raise ScanError(
            f"The layer {layer.name} is not one greyscale image in 3D. "
            "Choose a layer with three axes (slice, row, column)."
        )
    spacing, unit = _spacing(layer)
    return Scan.from_array(np.asarray(data), spacing=spacing, unit=unit, name=layer.name)


def scan_behind(array: Num[np.ndarray, "..."], meta: Mapping[str, Any], others: Sequence[Layer]) -> Scan:
    """Give the scan on whose grid an array lies, so that it can be written there.

    Parameters
    ----------
    array
        What a layer holds.
    meta
        Attributes of the layer, as napari gives them to a writer.
    others
        Layers that are open: a layer that was drawn by hand lies on one of them.

    Raises
    ------
    ScanError
        If the array is not 3D.
    """
    if array.ndim != 3:
        raise ScanError(f"The layer has {array.ndim} axes; a mask or a map has three. Save one volume.")
    own = meta.get("metadata", {}).get(SCAN)
    scans = [own, *(layer.metadata.get(SCAN) for layer in others if _same_place(layer, array.shape, meta))]
    fitting = (scan for scan in scans if isinstance(scan, Scan) and scan.geometry.shape == array.shape)
    found = next(fitting, None)
    if found is not None:
        return found
    layer = Image(
        array,
        scale=meta.get("scale"),
        translate=meta.get("translate"),
        affine=meta.get("affine"),
        units=meta.get("units"),
    )
    spacing, unit = _spacing(layer)
    return Scan.from_array(array, spacing=spacing, unit=unit, name=str(meta.get("name", "layer")))


def _same_place(layer: Layer, shape: tuple[int, ...], meta: Mapping[str, Any]) -> bool:
    if role_of(layer) != "scan" or layer.data.shape != shape:
        return False
    mine = (meta.get("scale", (1.0,) * 3), meta.get("translate", (0.0,) * 3))
    return all(np.allclose(a, b) for a, b in zip(mine, (layer.scale, layer.translate), strict=True))


def _spacing(layer: Layer) -> tuple[tuple[float, float, float], Literal["mm", "voxel"]]:
    """Read the spacing from scale and affine alike; other plugins use either."""
    matrix = np.asarray(layer.affine.affine_matrix)[-4:-1, -4:-1] @ np.diag(layer.scale[-3:])
    lengths = np.linalg.norm(matrix, axis=0)
    factors = [_UNITS.get(str(unit)) for unit in layer.units[-3:]]
    if any(factor is None for factor in factors):
        z, y, x = (lengths / lengths.min()).tolist()
        return (z, y, x), "voxel"
    z, y, x = (lengths * np.array(factors, dtype=float)).tolist()
    return (z, y, x), "mm"


def outline() -> DirectLabelColormap:
    """Give the one colour of masks; everything else is clear."""
    clear = np.zeros(4)
    return DirectLabelColormap(color_dict={None: clear, 0: clear, 1: np.array(_MASK_COLOUR)})


def marks() -> DirectLabelColormap:
    """Give the colours of what is chosen (1) and of what was judged false (2)."""
    clear = np.zeros(4)
    colours = {None: clear, 0: clear, 1: np.array(_CHOSEN_COLOUR), 2: np.array(_GHOST_COLOUR)}
    return DirectLabelColormap(color_dict=colours)


def value_of(metadata: Mapping[str, Any]) -> Float32[np.ndarray, "z y x"] | None:
    """Give the scores behind a map's layer, whose own data is a display copy; None for other layers."""
    value = metadata.get(VALUE)
    return value.score if isinstance(value, AnomalyMap) else None


def lock(layer: Layer) -> None:
    """Protect a layer from being deleted by accident, where napari can."""
    if hasattr(layer, "locked"):
        layer.locked = True
