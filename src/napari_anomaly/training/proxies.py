"""What stands between a scan and its reconstruction: superpixel images, and the proxies they are compared with."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from napari_anomaly.detector.second_opinion import PIXEL_MM
from napari_anomaly.proxy import superpixel_image, supervoxels
from napari_anomaly.training.proxy_settings import Proxy

LEVELS = 5
"""Intensities of a quantised image."""

_FEWEST = 30  # pixels of a slice that are worth cutting into superpixels


def make_proxy(
    kind: Proxy, image: Float32[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"], side_mm: float
) -> Float32[np.ndarray, "z y x"]:
    """Make the proxy of a scan; 0 outside the mask.

    Parameters
    ----------
    kind : str
        superpixels: mean of every superpixel, each slice by itself; supervoxels: the same in 3D; blurred: Gaussian of
        the same width; quantised: the nearest of `LEVELS` intensities; edges: gradient magnitude; image: the scan.
    image : ndarray
        Normalised scan in voxels of `PIXEL_MM`.
    mask : ndarray
        Region that is looked at.
    side_mm : float
        Side of a superpixel, or width of the Gaussian at half its height.
    """
    if kind == "image" or not mask.any():
        return np.where(mask, image, 0).astype(np.float32)
    match kind:
        case "supervoxels":
            made = _superpixels(image, mask, side_mm)
        case "superpixels":
            made = np.zeros(image.shape, np.float32)
            for z in np.flatnonzero(mask.sum((1, 2)) >= _FEWEST):
                made[z] = _superpixels(image[z : z + 1], mask[z : z + 1], side_mm)[0]
        case "blurred":
            made = _blurred(image, mask, side_mm)
        case "quantised":
            made = _quantised(image, mask)
        case "edges":
            made = ndimage.gaussian_gradient_magnitude(image, 0.7)
    return np.where(mask, made, 0).astype(np.float32)


def _superpixels(
    image: Float32[np.ndarray, "_ _ _"], mask: Bool[np.ndarray, "_ _ _"], side_mm: float
) -> Float32[np.ndarray, "_ _ _"]:
    ids = supervoxels(image, mask, spacing=(PIXEL_MM,) * 3, size_mm3=side_mm**3)
    return superpixel_image(image, ids)


def _blurred(
    image: Float32[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"], side_mm: float
) -> Float32[np.ndarray, "z y x"]:
    sigma = side_mm / PIXEL_MM / 2.355
    inside = ndimage.gaussian_filter(mask.astype(np.float32), (0, sigma, sigma))
    summed = ndimage.gaussian_filter(np.where(mask, image, 0).astype(np.float32), (0, sigma, sigma))
    blurred: Float32[np.ndarray, "z y x"] = summed / np.maximum(inside, 1e-3)
    return blurred


def _quantised(
    image: Float32[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"]
) -> Float32[np.ndarray, "z y x"]:
    edges = np.quantile(image[mask], np.linspace(0, 1, LEVELS + 1))
    step = np.clip(np.searchsorted(edges, image, side="right") - 1, 0, LEVELS - 1)
    means = [
        image[mask & (step == level)].mean() if (mask & (step == level)).any() else 0.0
        for level in range(LEVELS)
    ]
    made: Float32[np.ndarray, "z y x"] = np.asarray(means, np.float32)[step]
    return made
