"""A picture of the worst slices: what a detection found, to be looked at without a viewer.

Two rows of axial slices in radiological convention (the patient's right on the left, front up): the scan as
it is, and the same with the anomaly map and the outline of the findings.  No name and no date is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from napari_anomaly.anomaly import MAX_DECADES, AnomalyMap, to_decades
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.io.atomic import together
from napari_anomaly.scan import Scan

_TILE = 320
_MARGIN = 12
_LINE = 18
_OUTLINE = (0, 229, 255)
_TEXT = (225, 225, 225)
# From dark violet to pale yellow, even in lightness and safe for colour-blind readers.
_RAMP = np.array(
    [(20, 11, 54), (101, 21, 110), (190, 55, 82), (249, 142, 9), (252, 255, 164)], dtype=np.float64
)
# Three of a hundred normal voxels score as high: below it nothing is coloured.
_FIRST_DECADE = 1.5


def snapshot(scan: Scan, anomaly_map: AnomalyMap, findings: Findings, *, slices: int = 3) -> Image.Image:
    """Draw the slices through the worst findings, or through the highest score where there is no finding.

    Parameters
    ----------
    scan
        The scan.
    anomaly_map
        Its map, on the same grid.
    findings
        What was found in it.
    slices
        Number of slices at most; findings that share a slice share a picture.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    chosen = _worst_slices(anomaly_map, findings, slices)
    low, high = _window(scan.voxels)
    size = _tile_size(scan)
    width = _MARGIN + len(chosen) * (size[0] + _MARGIN)
    height = _MARGIN + 2 * (size[1] + _MARGIN) + 3 * _LINE
    # Wide enough for the text below.
    picture = Image.new("RGB", (max(width, 2 * _TILE), height))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for column, (z, finding) in enumerate(chosen):
        left = _MARGIN + column * (size[0] + _MARGIN)
        grey = _grey(scan.voxels[z], low, high)
        coloured = _overlay(grey, anomaly_map.score[z])
        picture.paste(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), (left, _MARGIN))
        below = _MARGIN + size[1] + _LINE
        picture.paste(_outlined(coloured, findings.labels[z] > 0, size), (left, below))
        draw.text((left, _MARGIN + size[1] + 2), _caption(z, finding), fill=_TEXT, font=font)
        for top in (_MARGIN, below):
            draw.text((left + 4, top + size[1] // 2), "R", fill=_TEXT, font=font)
    total = sum(finding.volume_mm3 for finding in findings) / 1000
    for line, text in enumerate(_legend(anomaly_map, findings, total)):
        draw.text((_MARGIN, height - (2 - line) * _LINE - 4), text, fill=_TEXT, font=font)
    return picture


def write_snapshot(picture: Image.Image, path: Path) -> Path:
    """Write a picture as PNG, whole or not at all, and give back its path.

    Raises
    ------
    ScanError
        If the disk refuses.
    """
    with together() as stage:
        picture.save(stage(path), format="PNG", optimize=True)
    return path


def _worst_slices(
    anomaly_map: AnomalyMap, findings: Findings, count: int
) -> list[tuple[int, Finding | None]]:
    chosen: dict[int, Finding | None] = {}
    for finding in findings:
        if len(chosen) == count:
            break
        chosen.setdefault(finding.peak_index[0], finding)
    if not chosen:
        chosen[int(np.unravel_index(int(anomaly_map.score.argmax()), anomaly_map.score.shape)[0])] = None
    return list(chosen.items())


def _window(voxels: Num[np.ndarray, "z y x"]) -> tuple[float, float]:
    sample = voxels.reshape(-1)[:: max(1, voxels.size // 200_000)].astype(np.float32)
    inside = sample[sample > sample.min()]
    if inside.size == 0:
        return float(sample.min()), float(sample.min()) + 1.0
    low, high = np.percentile(inside, [1.0, 99.7])
    return float(low), float(max(high, low + 1e-6))


def _tile_size(scan: Scan) -> tuple[int, int]:
    _, rows, columns = scan.geometry.shape
    _, step_y, step_x = scan.geometry.spacing
    scale = _TILE / max(rows * step_y, columns * step_x)
    return max(1, round(columns * step_x * scale)), max(1, round(rows * step_y * scale))


def _grey(plane: Num[np.ndarray, "y x"], low: float, high: float) -> UInt8[np.ndarray, "y x"]:
    share = np.clip((plane.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    return np.asarray(share * 255).astype(np.uint8)


def _overlay(grey: UInt8[np.ndarray, "y x"], score: Float[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    share = (to_decades(score) - _FIRST_DECADE) / (MAX_DECADES - _FIRST_DECADE)
    place = np.clip(share, 0.0, 1.0) * (len(_RAMP) - 1)
    stops = np.arange(len(_RAMP))
    colour = np.stack([np.interp(place, stops, _RAMP[:, channel]) for channel in range(3)], axis=-1)
    alpha = np.where(share > 0, 0.25 + 0.6 * np.clip(share, 0.0, 1.0), 0.0)[..., None]
    mixed: UInt8[np.ndarray, "y x 3"] = (grey[..., None] * (1 - alpha) + colour * alpha).astype(np.uint8)
    return mixed


def _outlined(
    plane: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"], size: tuple[int, int]
) -> Image.Image:
    picture = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)
    large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    edge = large & ~binary_erosion(large)
    picture.paste(_OUTLINE, mask=Image.fromarray(edge))
    return picture


def _caption(z: int, finding: Finding | None) -> str:
    if finding is None:
        return f"slice {z}: highest score, no finding"
    peak = ">.99999" if finding.peak > 0.99999 else f"{finding.peak:.5f}".rstrip("0").lstrip("0")
    return f"slice {z}: finding {finding.rank}, {finding.volume_mm3:.0f} mm3, {peak}"


def _legend(anomaly_map: AnomalyMap, findings: Findings, total_ml: float) -> Sequence[str]:
    count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}, {total_ml:.1f} ml"
    return (
        f"{count} at threshold {findings.threshold:.5g}. More unusual than "
        f"{100 * anomaly_map.scan_score:.0f} of 100 normal scans.",
        f"{anomaly_map.detector}. Research software, not a medical device.",
    )
