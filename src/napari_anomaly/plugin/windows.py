"""Window presets: which intensities run from black to white, in the words of a reading room."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from napari_anomaly.scan import Scan

__all__ = ["Window", "windows_for"]

# Enough voxels for stable percentiles, few enough to take no time.
_SAMPLE = 400_000

# Width and level in Hounsfield units, as reading rooms use them.
_CT = (
    ("brain", 100, 50, "grey and white matter, fresh blood"),
    ("bone", 1000, 400, "skull, spine, fractures"),
    ("lung", 1400, -500, "airways and lung tissue"),
    ("abdomen", 350, 40, "liver, spleen, soft tissue"),
)

# Percentiles of the tissue that run from black to white, for scans without absolute units.
_RELATIVE = (
    ("automatic", 1.0, 99.7, "all tissue, from dark to bright"),
    ("high contrast", 15.0, 98.0, "steeper, for faint differences"),
    ("bright detail", 50.0, 99.95, "differences among bright voxels: lesions on FLAIR and T2"),
    ("dark detail", 0.0, 60.0, "differences among dark voxels: lesions on T1"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """One preset.

    Parameters
    ----------
    name
        What the reader chooses.
    text
        What it is good for.
    limits
        Intensities shown as black and as white, the first smaller.
    """

    name: str
    text: str
    limits: tuple[float, float]


def windows_for(scan: Scan) -> tuple[Window, ...]:
    """Give the presets that fit a scan, the one to begin with first.

    CT, told by its modality or by Hounsfield units, gets the windows of its DICOM header, the presets of CT and the
    relative ones; everything else the relative ones, which are percentiles of its tissue, and then those of its
    header: scanners set them for each slice by itself, so the first may fit no other.
    """
    sample = _sample(scan.voxels)
    relative = tuple(Window(name, text, _between(sample, low, high)) for name, low, high, text in _RELATIVE)
    full = Window(
        "full range", "every intensity of the scan", _rising(float(sample.min()), float(sample.max()))
    )
    named = tuple(_of_header(scan, full.limits))
    if not _is_ct(scan, sample):
        return (*relative, *named, full)
    fixed = tuple(Window(n, text, (level - width / 2, level + width / 2)) for n, width, level, text in _CT)
    return (*named, *fixed, *relative, full)


def _of_header(scan: Scan, full: tuple[float, float]) -> Iterator[Window]:
    """Give the windows that a DICOM header names; not those in which all of the scan would be black or white."""
    taken: set[str] = set()
    for place, told in enumerate(scan.source.details.get("windows", ()), start=1):
        level, width = float(told["center"]), float(told["width"])
        low, high = level - width / 2, level + width / 2
        if not (np.isfinite(low) and np.isfinite(high) and low < high and low < full[1] and high > full[0]):
            continue
        words = str(told["name"]).strip().lower()[:24]
        name = f"header: {words}" if words else f"header {place}"
        name = f"{name} ({place})" if name in taken else name
        taken.add(name)
        yield Window(name, f"as the scan's header has it: level {level:g}, width {width:g}", (low, high))


def _sample(voxels: Num[np.ndarray, "z y x"]) -> Num[np.ndarray, " voxels"]:
    # A cubic stride keeps all of space in the sample, and touches few pages of a memory map.
    step = max(1, round((voxels.size / _SAMPLE) ** (1 / 3)))
    flat = np.asarray(voxels[::step, ::step, ::step]).reshape(-1)
    finite = flat[np.isfinite(flat)]
    return finite if finite.size else np.zeros(1)


def _is_ct(scan: Scan, sample: Num[np.ndarray, " voxels"]) -> bool:
    if scan.modality is not None:
        return scan.modality.upper() == "CT"
    # Air is -1000 HU, and nothing else that is scanned holds so much of so low a value.
    return float(np.percentile(sample, 2)) <= -900 and float(sample.max()) > 100


def _between(sample: Num[np.ndarray, " voxels"], low: float, high: float) -> tuple[float, float]:
    """Give two percentiles of the tissue: voxels above the commonest dark value, which is the background."""
    darkest = sample.min()
    tissue = sample[sample > darkest + 0.02 * (np.percentile(sample, 99.5) - darkest)]
    lower, upper = np.percentile(tissue if tissue.size else sample, (low, high))
    return _rising(float(lower), float(upper))


def _rising(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low, low + 1.0)
