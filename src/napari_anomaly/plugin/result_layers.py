"""The layers of a result: made once, then updated in place.

Removing a layer and adding another would lose what the reader set on it, and crashes some graphics drivers.
"""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Int8, Num, UInt8
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, ensure_colormap

from napari_anomaly.findings import Findings
from napari_anomaly.plugin.display import TOP, Display, step_of
from napari_anomaly.plugin.layers import ROLE, SCAN, VALUE, Role, lock, outline
from napari_anomaly.scan import Scan

__all__ = ["ResultLayers"]

# A share of the ramp is too dark to be told from the scan; what is left keeps even steps.
_RAMP_FROM = 0.38


_RESIDUAL_FROM = 0.9
"""Share of normal voxels with a lower residual at which the second opinion begins to show."""


def _ramp(source: str = "inferno", name: str = "anomaly") -> Colormap:
    # Transparent below the threshold, then the bright part of a ramp with even steps for every kind of colour
    # vision.
    colours = ensure_colormap(source).map(np.linspace(_RAMP_FROM, 1.0, 64))
    return Colormap(colours, name=name, display_name=name, low_color=(0.0, 0.0, 0.0, 0.0))


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
        """Give the layer of a role, if it is in the viewer and holds something of the last result."""
        stale = role == "residual" and (self._display is None or self._display.residual is None)
        return None if stale else self._find(role)

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
        self._show_residual(display.residual, scan, {**over, **plain})
        self._image("map", self._codes, scan, colormap=_ramp(), **over, **plain)
        map_layer = self._find("map")
        if map_layer is not None:
            map_layer.metadata[VALUE] = display.anomaly_map
        # Adding a layer selects it; the reader was windowing the scan.
        if selection:
            self._viewer.layers.selection = selection

    def _show_residual(
        self, codes: UInt8[np.ndarray, "z y x"] | None, scan: Scan, look: dict[str, Any]
    ) -> None:
        if codes is not None:
            limits = (step_of(_RESIDUAL_FROM) - 0.5, float(TOP))
            ramp = _ramp("viridis", "second opinion")
            look = {**look, "contrast_limits": limits, "colormap": ramp, "visible": False}
            self._image("residual", codes, scan, **look)
            return
        # one of an earlier detection would contradict the map
        layer = self._find("residual")
        if layer is not None:
            layer.visible = False
            layer.data = np.zeros(scan.geometry.shape, np.uint8)

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
        self._labels("mask", voxels, scan, visible=False, colormap=outline(), opacity=1.0)
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
        for role in ("map", "proxies", "supervoxels", "residual"):
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
        if role in ("map", "proxies", "residual"):
            lock(layer)

    def _common(self, role: Role, scan: Scan) -> dict[str, Any]:
        layer = self._layer
        titles = {"map": "anomaly map", "residual": "second opinion"}
        return {
            "name": f"{layer.name}: {titles.get(role, role)}",
            "scale": layer.scale,
            "translate": layer.translate,
            "rotate": layer.rotate,
            "shear": layer.shear,
            "affine": layer.affine,
            "units": layer.units,
            "axis_labels": layer.axis_labels,
            "metadata": {ROLE: role, SCAN: scan},
        }
