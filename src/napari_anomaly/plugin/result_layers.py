"""The layers of a result: made once, then updated in place.

Removing a layer and adding another would lose what the reader set on it, and crashes some graphics drivers.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Int, Int8, Num, UInt8
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, ensure_colormap

from napari_anomaly.plugin.display import TOP, Display, step_of
from napari_anomaly.plugin.layers import ROLE, SCAN, VALUE, Role, lock, marks, outline
from napari_anomaly.plugin.preferences import preferences
from napari_anomaly.scan import Scan

__all__ = ["Place", "ResultLayers", "Strokes"]

Place: TypeAlias = tuple[slice, slice, slice]
Strokes: TypeAlias = tuple[Int[np.ndarray, " voxels"], Int8[np.ndarray, " voxels"]]

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
    """The layers of one scan's result: map, mask, proxies, supervoxels, second opinion, outlines of the chosen.

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
        self._marked: list[tuple[slice, slice, slice]] = []
        self._holding = 0
        self._stale: set[Layer] = set()
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
        self._mask_shown = None
        if self._find("marks") is not None:
            empty = np.zeros(scan.geometry.shape, dtype=np.uint8)
            self._labels("marks", empty, scan)
        selection = set(self._viewer.layers.selection)
        ids, image = display.supervoxels.ids, display.supervoxels.image
        plain = {"interpolation2d": "nearest", "rendering": "mip"}
        window = tuple(self._layer.contrast_limits)
        self._image("proxies", image, scan, visible=False, colormap="gray", contrast_limits=window, **plain)
        self._labels("supervoxels", ids, scan, visible=False, opacity=0.5)
        over = {"opacity": 0.8, "blending": "translucent_no_depth", "contrast_limits": self._limits}
        colours = preferences().colours
        self._show_residual(display.residual, scan, {**over, **plain})
        self._image("map", self._codes, scan, colormap=_ramp(colours), **over, **plain)
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
            # another one than the map's
            ramp = _ramp("inferno" if preferences().colours == "viridis" else "viridis", "second opinion")
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

    def show_mask(self, mask: UInt8[np.ndarray, "z y x"], scan: Scan) -> None:
        """Show the mask, an outline in one colour; a stroke that is being painted stays.

        Parameters
        ----------
        mask
            1 inside, 0 outside.
        scan
            The scan it belongs to.
        """
        pending = self._unread()
        layer = self.mask
        if layer is not None and layer.data.shape == mask.shape:
            # In place: a new array would end a stroke that the reader's hand is still making.
            layer.data[...] = mask
            self._mask_shown = mask
            if pending is not None:
                flat, values = pending
                layer.data.reshape(-1)[flat] = values > 0
            self._draw(layer)
            return
        selection = set(self._viewer.layers.selection)
        self._labels("mask", mask.copy(), scan, visible=False, colormap=outline(), opacity=1.0)
        self._mask_shown = mask
        layer = self.mask
        if layer is not None and layer.contour != 1:
            layer.contour = 1
        if selection:
            self._viewer.layers.selection = selection

    def change_mask(self, changes: Sequence[tuple[Place, Bool[np.ndarray, "_ _ _"], bool]]) -> None:
        """Take regions into the mask, or out of it.

        Parameters
        ----------
        changes
            A box, which voxels of it, and whether they are in.
        """
        layer = self.mask
        if layer is None or self._mask_shown is None or not changes:
            return
        for place, where, inside in changes:
            for voxels in (layer.data, self._mask_shown):
                voxels[place][where] = inside
        self._draw(layer)

    def show_marks(self, regions: Sequence[tuple[Place, Bool[np.ndarray, "_ _ _"], int]], scan: Scan) -> None:
        """Outline regions: what is chosen, and the ghosts of what was judged false.

        Parameters
        ----------
        regions
            A box, which voxels of it, and 1 for chosen or 2 for a ghost; later ones cover earlier ones.
        scan
            The scan they belong to.
        """
        layer = self._find("marks")
        if not isinstance(layer, Labels) or layer.data.shape != scan.geometry.shape:
            if not regions:
                return
            selection = set(self._viewer.layers.selection)
            empty = np.zeros(scan.geometry.shape, dtype=np.uint8)
            self._labels("marks", empty, scan, visible=True, colormap=marks(), opacity=1.0)
            self._viewer.layers.selection = selection
            layer = self._find("marks")
        if not isinstance(layer, Labels):
            return
        for place in self._marked:
            layer.data[place] = 0
        for place, where, value in regions:
            layer.data[place][where] = value
        self._marked = [place for place, _, _ in regions]
        # napari draws a layer, or the whole scene, anew even where such a value stays as it is
        if layer.contour != 1:
            layer.contour = 1
        if layer.visible:
            self._draw(layer)
        else:
            layer.visible = True

    @contextmanager
    def drawn_once(self) -> Iterator[None]:
        """Draw what changes within a block at its end, and not at all where another slice has been gone to since."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            if not self._holding:
                stale, self._stale = self._stale, set()
                for layer in stale:
                    self._draw(layer)

    def _draw(self, layer: Layer) -> None:
        if self._holding:
            self._stale.add(layer)
        else:
            layer.refresh(extent=False)

    def _on_drawn(self, event: Any) -> None:
        self._stale.discard(event.source)

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

    def strokes(self) -> Strokes | None:
        """Give the voxels that the reader painted or erased since the last `keep_strokes`.

        Returns
        -------
        tuple of arrays, or None
            Flat indices, rising, and 1 (added) or -1 (erased) for each; None where nothing was painted.
        """
        return self._unread()

    def keep_strokes(self, strokes: Strokes) -> None:
        """Count strokes as shown."""
        if self._mask_shown is not None:
            flat, values = strokes
            self._mask_shown.reshape(-1)[flat] = values > 0

    def drop_strokes(self) -> None:
        """Take back what was painted since the last `keep_strokes`."""
        layer = self.mask
        if layer is not None and self._mask_shown is not None:
            layer.data[...] = self._mask_shown
            self._draw(layer)

    def _unread(self) -> Strokes | None:
        layer = self.mask
        if layer is None or self._mask_shown is None or self._mask_shown.shape != layer.data.shape:
            return None
        # Mostly nothing was painted, and then one fast comparison is all.
        shown, data = self._mask_shown.reshape(-1), np.asarray(layer.data).reshape(-1)
        if np.array_equal(shown, data):
            return None
        flat = np.flatnonzero((data > 0) != (shown > 0))
        return (flat, np.where(data[flat] > 0, 1, -1).astype(np.int8)) if flat.size else None

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
            layer = self._viewer.add_image(data, projection_mode="max", **self._common(role, scan), **look)
            self._keep(role, layer)
        else:
            self._follow(layer, role, scan)
            layer.data = data

    def _labels(self, role: Role, data: Num[np.ndarray, "z y x"], scan: Scan, **look: Any) -> None:
        layer = self._find(role)
        if layer is None:
            layer = self._viewer.add_labels(data, **self._common(role, scan), **look)
            layer.events.set_data.connect(self._on_drawn)
            self._keep(role, layer)
        else:
            self._follow(layer, role, scan)
            layer.data = data
            if role == "marks":
                self._marked = []

    def _follow(self, layer: Layer, role: Role, scan: Scan) -> None:
        """Bring a layer to the place of the scan, which may be another one than the layer was made for."""
        if layer.metadata.get(SCAN) is scan:
            return
        common = self._common(role, scan)
        layer.metadata.update(common["metadata"])
        layer.name = common["name"]
        if not (
            np.allclose(layer.scale, common["scale"]) and np.allclose(layer.translate, common["translate"])
        ):
            layer.scale, layer.translate = common["scale"], common["translate"]

    def _keep(self, role: Role, layer: Layer) -> None:
        self._made[role] = layer
        if role in ("map", "proxies", "residual"):
            lock(layer)

    def _common(self, role: Role, scan: Scan) -> dict[str, Any]:
        layer = self._layer
        titles = {"map": "anomaly map", "marks": "chosen finding", "residual": "second opinion"}
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
