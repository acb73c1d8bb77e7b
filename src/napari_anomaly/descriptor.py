"""What a finding looks like, in numbers: so that one can be told to be like another, in this scan or the next.

Nothing here needs a network. Where a detector gives an embedding of a finding, it is kept and compared too.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from napari_anomaly.anomaly import AnomalyMap, to_decades
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.scan import Scan

__all__ = ["SCALES", "Describer", "Descriptor", "distances"]

SCALES = MappingProxyType(
    {
        "log10 volume": 0.35,
        "peak": 0.8,
        "mean": 0.5,
        "raw peak": 0.5,
        "intensity inside": 0.5,
        "spread inside": 0.4,
        "intensity around": 0.5,
        "spread around": 0.4,
        "contrast": 0.5,
        "elongation": 0.15,
        "up": 0.2,
        "back": 0.2,
        "aside": 0.2,
    }
)
"""What is measured, and by how much two findings differ that are of one kind.

Volume in mm3; peak and mean score in decades; raw score and intensities in robust standard deviations of the
scan, compressed where they are large; elongation as the logarithm of longest diameter over that of a ball of the
same volume; the place in standard deviations of the silhouette along each axis, times one half, left and right
alike.
"""

_WORDS = 0.6
"""Share of different words of anatomy that counts as much as one difference of `SCALES`."""

_TURN = 0.15
"""The same for embeddings: one minus the cosine between them."""

_LINEAR = 3.0
"""Standard deviations up to which intensities are compared as they are; beyond, more and more their ratios."""

_AROUND_VOXELS = 3
_SAMPLE = 200_000


class Descriptor(BaseModel):
    """What a finding looks like.

    Parameters
    ----------
    numbers
        In the order of `SCALES`.
    anatomy
        Words for where it lies, without sides, in alphabetical order; empty where they are not known.
    contrast
        Modality of the scan, in lower case; empty where it is not known.
    embedding
        What a network makes of it; empty where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[float, ...] = Field(min_length=len(SCALES), max_length=len(SCALES))
    anatomy: tuple[str, ...] = ()
    contrast: str = ""
    embedding: tuple[float, ...] = ()


class Describer:
    """Describes the findings of one scan; what was described once is kept.

    Parameters
    ----------
    scan, anomaly_map
        The scan and its map.
    """

    def __init__(self, scan: Scan, anomaly_map: AnomalyMap) -> None:
        self._scan = scan
        self._map = anomaly_map
        self._known: dict[tuple[int, int, object], Descriptor] = {}
        self._looked_at: Bool[np.ndarray, "z y x"] = anomaly_map.score > 0
        self._middle, self._width = _silhouette(self._looked_at)
        self._intensity = _Robust(scan.voxels, self._looked_at)
        self._raw = None if anomaly_map.raw is None else _Robust(anomaly_map.raw, self._looked_at)

    def describe(self, findings: Findings, finding: Finding) -> Descriptor:
        """Describe one of the findings of the map."""
        key = (finding.id, finding.voxels, finding.box)
        if key not in self._known:
            self._known[key] = self._measured(findings, finding)
        return self._known[key]

    def _measured(self, findings: Findings, finding: Finding) -> Descriptor:
        inside, outside = self._inside(findings, finding)
        place = (np.array(finding.centroid_index) - self._middle) / self._width / 2
        ball = 2 * (3 * max(finding.volume_mm3, 1e-6) / (4 * np.pi)) ** (1 / 3)
        raw = 0.0
        if self._raw is not None and self._map.raw is not None:
            raw = float(self._raw(np.asarray(self._map.raw[finding.peak_index])))
        numbers = (
            float(np.log10(max(finding.volume_mm3, 1e-6))),
            float(to_decades(finding.peak)),
            float(to_decades(finding.mean)),
            _soft(raw),
            _soft(inside.mean()),
            _soft(inside.std()),
            _soft(outside.mean()),
            _soft(outside.std()),
            _soft(inside.mean() - outside.mean()),
            float(np.log10(max(finding.diameter_mm, 1e-6) / ball)),
            float(place[0]),
            float(place[1]),
            float(abs(place[2])),
        )
        words = sorted(_words(finding.where))
        return Descriptor(numbers=numbers, anatomy=tuple(words), contrast=(self._scan.modality or "").lower())

    def _inside(
        self, findings: Findings, finding: Finding
    ) -> tuple[Float64[np.ndarray, " inside"], Float64[np.ndarray, " around"]]:
        """Give the intensities of a finding and of what surrounds it, in robust standard deviations."""
        grown = tuple(
            slice(max(0, span.start - _AROUND_VOXELS), span.stop + _AROUND_VOXELS) for span in finding.slices
        )
        inside = findings.labels[grown] == finding.rank
        around = ndimage.binary_dilation(inside, iterations=_AROUND_VOXELS) & ~inside & self._looked_at[grown]
        voxels = self._scan.voxels[grown]
        here = self._intensity(voxels[inside])
        return here, self._intensity(voxels[around]) if around.any() else here


def distances(one: Descriptor, others: Sequence[Descriptor]) -> Float64[np.ndarray, " others"]:
    """Tell how far a finding is from others: below 1 they differ less than two of one kind do.

    Parameters
    ----------
    one, others
        The root of the mean square of their differences in units of `SCALES`; infinite where the scans are of
        different contrast.
    """
    if not others:
        return np.empty(0)
    scales = np.array(list(SCALES.values()))
    table = np.array([other.numbers for other in others], dtype=np.float64)
    squares = ((table - np.array(one.numbers)) / scales) ** 2
    total, count = squares.sum(axis=1), np.full(len(others), float(scales.size))
    for place, other in enumerate(others):
        for extra in _extras(one, other):
            total[place] += extra**2
            count[place] += 1
        if one.contrast and other.contrast and one.contrast != other.contrast:
            total[place] = np.inf
    return np.asarray(np.sqrt(total / count))


def _extras(one: Descriptor, other: Descriptor) -> Iterable[float]:
    if one.anatomy and other.anatomy:
        mine, theirs = set(one.anatomy), set(other.anatomy)
        yield (1 - len(mine & theirs) / len(mine | theirs)) / _WORDS
    if one.embedding and len(one.embedding) == len(other.embedding):
        a, b = np.array(one.embedding), np.array(other.embedding)
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        yield (1 - float(a @ b) / norm if norm else 1.0) / _TURN


def _words(where: str) -> set[str]:
    words = {word.strip("(),;.").lower() for word in where.split()}
    return {word for word in words if word.isalpha() and word not in _SAYING}


_SAYING = frozenset(
    {"left", "right", "both", "sides", "and", "the", "of", "to", "mostly", "next", "near", "in", "on", "at"}
)


def _soft(value: float) -> float:
    """Keep small differences as they are: far out, the same again is no longer as different."""
    return float(_LINEAR * np.arcsinh(value / _LINEAR))


class _Robust:
    """Turns values into robust standard deviations from the median of what was looked at."""

    def __init__(self, values: np.ndarray, looked_at: Bool[np.ndarray, "z y x"]) -> None:
        flat = np.flatnonzero(looked_at)
        some = values.reshape(-1)[flat[:: max(1, flat.size // _SAMPLE)]].astype(np.float64)
        some = some[np.isfinite(some)]
        if not some.size:
            some = np.zeros(1)
        self._middle = float(np.median(some))
        spread = 1.4826 * float(np.median(np.abs(some - self._middle)))
        self._spread = spread or float(some.std()) or 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Turn these."""
        # a single value stays an array
        scaled = (np.asarray(values, dtype=np.float64) - self._middle) / self._spread
        return np.asarray(np.nan_to_num(scaled))


def _silhouette(
    looked_at: Bool[np.ndarray, "z y x"],
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Give the middle of what was looked at, and its standard deviation along each axis, in voxels."""
    middle, width = np.zeros(3), np.ones(3)
    for axis in range(3):
        counts = looked_at.sum(axis=tuple(other for other in range(3) if other != axis)).astype(np.float64)
        places = np.arange(counts.size)
        if counts.any():
            middle[axis] = np.average(places, weights=counts)
            width[axis] = max(np.sqrt(np.average((places - middle[axis]) ** 2, weights=counts)), 0.5)
        else:
            middle[axis], width[axis] = (counts.size - 1) / 2, max(counts.size / 4, 0.5)
    return middle, width
