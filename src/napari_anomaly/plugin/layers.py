"""Values to layers and back: the only place that knows how a scan, a map, proxies and a mask are displayed.

napari's 2D slicing does not honour permuted or oblique affines, so layers only have a scale and a
translation. Arrays point superior, posterior, left; with the first scale negative the world of the viewer is
(inferior, posterior, left): right-handed, so that 3D is not mirrored, and a plain slice is radiological. An
oblique scan is shown along its own axes.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Int8, Num, UInt8
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap

from napari_anomaly.anomaly import MAX_DECADES, AnomalyMap, Supervoxels, from_decades, to_decades
from napari_anomaly.errors import ScanError
from napari_anomaly.findings import Findings
from napari_anomaly.geometry import Geometry
from napari_anomaly.plugin.windows import windows_for
from napari_anomaly.scan import Scan

__all__ = [
    "TOP",
    "Display",
    "LayerTuple",
    "ResultLayers",
    "Role",
    "display_codes",
    "mask_layer",
    "placement",
    "prepare",
    "role_of",
    "scan_behind",
    "scan_layer",
    "scan_of",
    "step_of",
    "threshold_of",
    "value_of",
]

LayerTuple: TypeAlias = tuple[Any, dict[str, Any], str]
Role: TypeAlias = Literal["scan", "map", "mask", "proxies", "supervoxels"]

TOP = 255
"""Highest step of the slider and of the display copy of the map: 5 decades."""

ROLE = "napari_anomaly"
SCAN = "napari_anomaly_scan"
VALUE = "napari_anomaly_value"

_STEPS_PER_DECADE = TOP / MAX_DECADES
_LIMITS = np.array([from_decades(step / _STEPS_PER_DECADE) for step in range(TOP + 1)], dtype=np.float32)
# A share of the ramp is too dark to be told from the scan; what is left keeps even steps.
_RAMP_FROM = 0.38
_MASK_COLOUR = (0.34, 0.71, 0.91, 1.0)
_UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "micrometer": 1e-3,
    "centimeter": 10.0,
    "meter": 1e3,
    "nanometer": 1e-6,
}


def placement(geometry: Geometry) -> dict[str, Any]:
    """Give scale, translation, units and names of axes that put a scan's grid into the viewer's world.

    The world is (inferior, posterior, left) in mm; where the size of a voxel is not known it is counted in
    voxels.
    """
    sz, sy, sx = geometry.spacing
    right, anterior, superior = geometry.affine[:3, 3].tolist()
    return {
        "scale": (-sz, sy, sx),
        "translate": (-superior, -anterior, -right),
        "units": ("mm" if geometry.unit == "mm" else "pixel",) * 3,
        "axis_labels": ("inferior", "posterior", "left"),
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
        **placement(scan.geometry),
        "name": scan.name,
        "colormap": "gray",
        "contrast_limits": windows_for(scan)[0].limits,
        "interpolation2d": "linear",
        "rendering": "attenuated_mip",
        "metadata": {**(metadata or {}), ROLE: "scan", SCAN: scan},
    }
    return scan.voxels, keywords, "image"


def mask_layer(scan: Scan) -> LayerTuple:
    """Turn a file that holds a mask into a labels layer, on its own grid."""
    voxels = scan.voxels
    labels = voxels.astype(np.uint8 if int(voxels.max(initial=0)) < 256 else np.uint16)
    keywords = {
        **placement(scan.geometry),
        "name": scan.name,
        "opacity": 0.6,
        "metadata": {SCAN: scan},
    }
    if int(labels.max(initial=0)) <= 1:
        keywords["colormap"] = _outline()
    return labels, keywords, "labels"


def role_of(layer: Layer) -> Role | None:
    """Tell what a layer is to us; None for a layer that another program made."""
    role: Role | None = layer.metadata.get(ROLE)
    return role


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
    if not isinstance(layer, Image) or layer.rgb or layer.multiscale or layer.ndim != 3:
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


# The map on the screen


def threshold_of(step: int) -> float:
    """Give the calibrated score of a step of the slider."""
    return from_decades(step / _STEPS_PER_DECADE)


def step_of(threshold: float) -> int:
    """Give the step of the slider, 1 to 255, that lies nearest to a calibrated score."""
    return int(np.clip(np.rint(float(to_decades(float(threshold))) * _STEPS_PER_DECADE), 1, TOP))


def display_codes(score: Float32[np.ndarray, "z y x"]) -> UInt8[np.ndarray, "z y x"]:
    """Make the display copy of a map: for every voxel the highest step of the slider at which it is still in.

    So ``display_codes(score) >= step`` is exactly ``score >= threshold_of(step)`` for every step from 1.
    """
    codes = np.zeros(score.size, dtype=np.uint8)
    flat = score.reshape(-1)
    places = np.flatnonzero(flat)
    values = flat[places]
    steps = np.clip(to_decades(values) * _STEPS_PER_DECADE, 0, TOP).astype(np.int16)
    # The logarithm rounds: one comparison up and one down make it exact.
    steps += (steps < TOP) & (values >= _LIMITS[np.minimum(steps + 1, TOP)])
    steps -= (steps > 0) & (values < _LIMITS[steps])
    codes[places] = steps
    return codes.reshape(score.shape)


def _snapped_codes(anomaly_map: AnomalyMap, supervoxels: Supervoxels) -> UInt8[np.ndarray, "z y x"]:
    """Make the display copy in which every supervoxel has its mean score, as findings that snap see it."""
    means = anomaly_map.supervoxel_decades(supervoxels)
    table = np.floor(np.clip(means * _STEPS_PER_DECADE + 1e-6, 0, TOP)).astype(np.uint8)
    codes: UInt8[np.ndarray, "z y x"] = table[supervoxels.ids]
    outside = supervoxels.ids == 0
    if outside.any():
        codes[outside] = display_codes(anomaly_map.score)[outside]
    return codes


@dataclass(frozen=True, slots=True, eq=False)
class Display:
    """What is computed once per map so that the slider is fast; made off the window's thread.

    Parameters
    ----------
    anomaly_map, supervoxels
        What the detector made.
    plain, snapped
        Display copies of the map: voxel by voxel, and supervoxel by supervoxel.
    """

    anomaly_map: AnomalyMap
    supervoxels: Supervoxels
    plain: UInt8[np.ndarray, "z y x"]
    snapped: UInt8[np.ndarray, "z y x"]


def prepare(anomaly_map: AnomalyMap, supervoxels: Supervoxels) -> Display:
    """Compute the display copies of a map."""
    plain = display_codes(anomaly_map.score)
    return Display(anomaly_map, supervoxels, plain, _snapped_codes(anomaly_map, supervoxels))


def _ramp() -> Colormap:
    # Transparent below the threshold, then the bright part of a ramp with even steps for every kind of colour
    # vision.
    colours = ensure_colormap("inferno").map(np.linspace(_RAMP_FROM, 1.0, 64))
    return Colormap(colours, name="anomaly", display_name="anomaly", low_color=(0.0, 0.0, 0.0, 0.0))


def _outline() -> DirectLabelColormap:
    clear = np.zeros(4)
    return DirectLabelColormap(color_dict={None: clear, 0: clear, 1: np.array(_MASK_COLOUR)})


class ResultLayers:
    """The layers of one scan's result: map, mask, proxies and supervoxels.

    Layers are made once and then updated in place; one that the user has removed is made again.

    Parameters
    ----------
    viewer
        Where the layers live.
    layer
        The layer of the scan: the others share its place.
    """

    def __init__(self, viewer: ViewerModel, layer: Image) -> None:
        self._viewer = viewer
        self._layer = layer
        self._display: Display | None = None
        self._snap = False
        self._step = 1
        self._made: dict[Role, Layer] = {}
        self._mask_shown: UInt8[np.ndarray, "z y x"] | None = None
        self._strokes: Int8[np.ndarray, "z y x"] | None = None
        # The outline is for planes; that 3D shows the mask filled needs no box over the scan.
        warnings.filterwarnings("ignore", message="Contours are not displayed", category=UserWarning)

    @property
    def map(self) -> Image | None:
        """The anomaly map."""
        layer = self._find("map")
        return layer if isinstance(layer, Image) else None

    @property
    def mask(self) -> Labels | None:
        """The mask."""
        layer = self._find("mask")
        return layer if isinstance(layer, Labels) else None

    def shown(self, role: Role) -> Layer | None:
        """Give the layer of a role, if it is in the viewer."""
        return self._find(role)

    def show(self, display: Display, scan: Scan) -> None:
        """Show a result: the map at once, proxies and supervoxels hidden until the reader wants them."""
        self._display = display
        self._mask_shown = self._strokes = None
        selection = set(self._viewer.layers.selection)
        ids, image = display.supervoxels.ids, display.supervoxels.image
        plain = {"interpolation2d": "nearest", "rendering": "mip"}
        window = tuple(self._layer.contrast_limits)
        self._image("proxies", image, scan, visible=False, colormap="gray", contrast_limits=window, **plain)
        self._labels("supervoxels", ids, scan, visible=False, opacity=0.5)
        over = {"opacity": 0.8, "blending": "translucent_no_depth", "contrast_limits": self._limits}
        self._image("map", self._codes, scan, colormap=_ramp(), **over, **plain)
        map_layer = self._find("map")
        if map_layer is not None:
            map_layer.metadata[VALUE] = display.anomaly_map
        # Adding a layer selects it; the reader was windowing the scan.
        if selection:
            self._viewer.layers.selection = selection

    def show_threshold(self, step: int) -> None:
        """Move the threshold of the map, live: nothing is computed."""
        self._step = step
        layer = self.map
        if layer is not None:
            layer.contrast_limits = self._limits

    def show_snap(self, on: bool) -> None:
        """Show the map voxel by voxel, or supervoxel by supervoxel."""
        if on == self._snap:
            return
        self._snap = on
        layer = self.map
        if layer is not None and self._display is not None:
            layer.data = self._codes

    def show_findings(
        self, findings: Findings, scan: Scan, mask: UInt8[np.ndarray, "z y x"] | None = None
    ) -> None:
        """Show findings as the mask, an outline in one colour.

        Parameters
        ----------
        findings
            What was found.
        scan
            The scan they belong to.
        mask
            The mask where it is at hand already, or differs from the findings (a review took some out); it is
            taken over and must not be used further.
        """
        selection = set(self._viewer.layers.selection)
        self._note_strokes()
        voxels = findings.mask if mask is None else mask
        if self._strokes is not None:
            voxels[self._strokes > 0] = 1
            voxels[self._strokes < 0] = 0
        self._labels("mask", voxels, scan, visible=False, colormap=_outline(), opacity=1.0)
        self._mask_shown = voxels.copy()
        layer = self.mask
        if layer is not None and layer.contour != 1:
            layer.contour = 1
        if selection:
            self._viewer.layers.selection = selection

    def set_visible(self, role: Role, visible: bool) -> None:
        """Show or hide one of the layers."""
        layer = self._find(role)
        if layer is not None:
            layer.visible = visible

    def set_opacity(self, opacity: float) -> None:
        """Set how much the map and the proxies cover the scan, 0 to 1."""
        for role in ("map", "proxies", "supervoxels"):
            layer = self._find(role)
            if layer is not None:
                layer.opacity = opacity

    def set_window(self, limits: tuple[float, float]) -> None:
        """Show the proxies in the window of the scan."""
        layer = self._find("proxies")
        if isinstance(layer, Image):
            layer.contrast_limits = limits

    def hide(self) -> None:
        """Hide all of them, because another scan is being read."""
        for layer in self._made.values():
            layer.visible = False

    def _note_strokes(self) -> None:
        """Keep what the reader painted into the mask: a threshold that moves must not wipe it out."""
        layer = self.mask
        if layer is None or self._mask_shown is None or self._mask_shown.shape != layer.data.shape:
            return
        # Mostly nothing was painted, and then one fast comparison is all.
        if np.array_equal(layer.data, self._mask_shown):
            return
        painted = (layer.data > 0).astype(np.int8) - (self._mask_shown > 0)
        strokes = np.zeros_like(painted) if self._strokes is None else self._strokes
        self._strokes = np.where(painted != 0, painted, strokes)
        self._mask_shown = layer.data.copy()

    @property
    def painted(self) -> bool:
        """Whether the reader has painted into the mask."""
        self._note_strokes()
        return self._strokes is not None

    @property
    def _codes(self) -> UInt8[np.ndarray, "z y x"]:
        if self._display is None:
            return np.zeros((1, 1, 1), dtype=np.uint8)
        return self._display.snapped if self._snap else self._display.plain

    @property
    def _limits(self) -> tuple[float, float]:
        # Half a step below: the step itself is still in.
        return (self._step - 0.5, float(TOP))

    def _find(self, role: Role) -> Layer | None:
        layer = self._made.get(role)
        return layer if layer is not None and layer in self._viewer.layers else None

    def _image(self, role: Role, data: Num[np.ndarray, "z y x"], scan: Scan, **look: Any) -> None:
        layer = self._find(role)
        if layer is None:
            layer = self._viewer.add_image(data, **self._common(role, scan), **look)
            self._keep(role, layer)
        else:
            layer.data = data

    def _labels(self, role: Role, data: Num[np.ndarray, "z y x"], scan: Scan, **look: Any) -> None:
        layer = self._find(role)
        if layer is None:
            layer = self._viewer.add_labels(data, **self._common(role, scan), **look)
            self._keep(role, layer)
        else:
            layer.data = data

    def _keep(self, role: Role, layer: Layer) -> None:
        self._made[role] = layer
        if role in ("map", "proxies"):
            lock(layer)

    def _common(self, role: Role, scan: Scan) -> dict[str, Any]:
        layer = self._layer
        titles = {"map": "anomaly map", "mask": "mask", "proxies": "proxies", "supervoxels": "supervoxels"}
        return {
            "name": f"{layer.name}: {titles[role]}",
            "scale": layer.scale,
            "translate": layer.translate,
            "rotate": layer.rotate,
            "shear": layer.shear,
            "affine": layer.affine,
            "units": layer.units,
            "axis_labels": layer.axis_labels,
            "metadata": {ROLE: role, SCAN: scan},
        }


def value_of(metadata: Mapping[str, Any]) -> Float32[np.ndarray, "z y x"] | None:
    """Give the scores behind a map's layer, whose own data is a display copy; None for other layers."""
    value = metadata.get(VALUE)
    return value.score if isinstance(value, AnomalyMap) else None


def lock(layer: Layer) -> None:
    """Protect a layer from being deleted by accident, where napari can."""
    if hasattr(layer, "locked"):
        layer.locked = True
