"""The loss curve of a training as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

_SIZE, _MARGIN = (900, 480), 60
_INK = {"loss": (31, 119, 180), "dice": (214, 39, 40)}


def draw_curve(curve: Sequence[dict[str, float]], path: Path) -> None:
    """Draw loss and Dice of the painted slices against steps.

    Parameters
    ----------
    curve : sequence of dict
        Entries with "step", "loss" and "dice".
    path : Path
        PNG file.
    """
    picture = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(picture)
    steps = np.array([entry["step"] for entry in curve], float)
    if len(steps) < 2:
        picture.save(path)
        return
    left, right, top, bottom = _MARGIN, _SIZE[0] - _MARGIN, 30, _SIZE[1] - 40
    pen.rectangle((left, top, right, bottom), outline="black")
    x = left + (right - left) * (steps - steps[0]) / max(1.0, steps[-1] - steps[0])
    for name, ink in _INK.items():
        values = _running_mean(np.array([entry[name] for entry in curve], float))
        high = 1.0 if name == "dice" else float(values.max())
        y = bottom - (bottom - top) * values / max(high, 1e-9)
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=ink, width=2)
        edge = right + 5 if name == "dice" else 5
        pen.text((edge, top - 4), f"{high:.2f}", fill=ink)
        pen.text((edge, bottom - 8), "0", fill=ink)
    pen.text((left + 10, 8), "loss (blue, left) and Dice at .5 on painted slices (red, right)", fill="black")
    pen.text((left, bottom + 12), f"{steps[0]:.0f}", fill="black")
    pen.text((right - 90, bottom + 12), f"{steps[-1]:.0f} steps", fill="black")
    picture.save(path)


def _running_mean(values: np.ndarray, width: int = 15) -> np.ndarray:
    width = min(width, len(values))
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")
