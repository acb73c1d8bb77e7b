"""Findings: the connected regions of an anomaly map above a threshold, worst first."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import cc3d
import numpy as np
from jaxtyping import Bool, Float64, Int8, Integer, UInt8, UInt16, UInt32
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from napari_anomaly.anomaly import AnomalyMap, Supervoxels, from_decades, to_decades
from napari_anomaly.errors import GridMismatch
from napari_anomaly.geometry import Geometry
from napari_anomaly.grouping import grouped_sizes, number_regions

__all__ = ["Box", "Edits", "Finding", "Findings", "find", "held"]

Box: TypeAlias = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

# Up to here all pairs of possible ends are compared, many regions at once; above, one region at a time.
_SMALL = 32
# From here on the convex hull is worth its time.
_MANY = 1000
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One connected region above the threshold.

    Parameters
    ----------
    id
        Flat C-order index (z, y, x) of the voxel with the highest score. Regions above rising thresholds are
        nested, so the id stays the same while the threshold moves, until findings merge.
    rank
        1 is the worst: highest peak, then highest raw score, then largest.
    volume_mm3
        Volume in mm3 (a count of voxels where the size of a voxel is not known).
    peak, mean
        Highest and mean calibrated score.
    voxels
        Number of voxels.
    peak_index, centroid_index
        Where the highest score and the centre of gravity are, as array index (z, y, x). The centre may lie
        outside of the region.
    peak_mm, centroid_mm
        The same in RAS+ millimetres (x, y, z).
    diameter_mm
        Longest extent: the distance between the two voxel centres that lie farthest apart, and one voxel more
        along that line, so that a row of five 1 mm voxels is 5 mm long.
    where
        Anatomy in words; empty where it is not known.
    box
        First index and the one after the last, along z, y and x.
    stability
        Share of its voxels that two looks, at the scan and at its mirror image, both find; None where there was one
        look.
    """

    id: int
    rank: int
    volume_mm3: float
    peak: float
    mean: float
    voxels: int
    peak_index: tuple[int, int, int]
    centroid_index: tuple[float, float, float]
    peak_mm: tuple[float, float, float]
    centroid_mm: tuple[float, float, float]
    diameter_mm: float
    where: str = ""
    box: Box = ((0, 0), (0, 0), (0, 0))
    stability: float | None = None

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array (z, y, x)."""
        (z0, z1), (y0, y1), (x0, x1) = self.box
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All findings of a map at one threshold.

    Parameters
    ----------
    items
        Worst first.
    labels
        The rank of the finding at every voxel, 0 where there is none.
    geometry
        The scan's own.
    threshold, min_volume_mm3, snapped, hysteresis
        How they were made: see `find`.
    """

    items: tuple[Finding, ...]
    labels: Integer[np.ndarray, "z y x"]
    geometry: Geometry
    threshold: float
    min_volume_mm3: float
    snapped: bool
    hysteresis: float = 0.0

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    @property
    def mask(self) -> UInt8[np.ndarray, "z y x"]:
        """1 where there is a finding, 0 elsewhere; made anew at every call."""
        return (self.labels > 0).view(np.uint8)

    def by_id(self, finding_id: int) -> Finding | None:
        """Give the finding with this id, or None."""
        return next((finding for finding in self.items if finding.id == finding_id), None)


@dataclass(frozen=True, slots=True, eq=False)
class Edits:
    """Voxels that the reader painted or erased, kept apart from what the map says.

    Parameters
    ----------
    strokes
        1 where a voxel was added, -1 where it was erased, 0 elsewhere.
    groups
        Number of the finding where the reader has split or merged (see `napari_anomaly.grouping`), 0
        elsewhere; None for nowhere.
    """

    strokes: Int8[np.ndarray, "z y x"]
    groups: UInt16[np.ndarray, "z y x"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    """Voxels of the kept components: flat index (rising) and number of the component, from 0."""

    flat: Integer[np.ndarray, " voxels"]
    owner: Integer[np.ndarray, " voxels"]
    counts: Integer[np.ndarray, " regions"]


def find(
    anomaly_map: AnomalyMap,
    threshold: float,
    *,
    min_volume_mm3: float = 0.0,
    supervoxels: Supervoxels | None = None,
    edits: Edits | None = None,
    hysteresis: float | None = None,
) -> Findings:
    """Find the connected regions of a map that reach a threshold.

    Parameters
    ----------
    anomaly_map
        The calibrated scores.
    threshold
        Calibrated score, 0 to 1, that a finding reaches. A score of 0 never does.
    min_volume_mm3
        Smallest finding, in mm3, before the reader added or erased anything.
    supervoxels
        Where given, findings snap to them: a supervoxel is in or out as a whole, by its mean score in
        decades. A voxel of no supervoxel goes by its own score.
    edits
        What the reader added and erased, split and merged; applied after threshold and smallest finding, so
        that nothing painted is too small, and nothing that was left of an erased finding goes by itself.
    hysteresis
        How far below the threshold, in decades of the share of normal voxels, a finding extends from the voxels
        that reach it (two thresholds as in Canny 1986): few false findings, and borders that are not cut short.
        What the map proposes if left out; 0 ends every finding at the threshold.

    Returns
    -------
    Findings
        Regions connected by face, edge or corner (26), or as the reader has split and merged them, worst
        first.

    Raises
    ------
    GridMismatch
        If supervoxels or edits do not have the shape of the map.
    ValueError
        If the threshold is not within 0..1, or the hysteresis is below 0.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be a calibrated score within 0..1, got {threshold}")
    hysteresis = anomaly_map.hysteresis if hysteresis is None else float(hysteresis)
    if not hysteresis >= 0.0:
        raise ValueError(f"hysteresis must be 0 decades or more, got {hysteresis}")
    lowest = max(float(to_decades(threshold)) - hysteresis, 0.0)
    chosen = _above(anomaly_map, threshold, supervoxels)
    if hysteresis and chosen.any():
        chosen = held(chosen, _above(anomaly_map, from_decades(lowest), supervoxels)) > 0
    regions = _large(chosen, min_volume_mm3 / anomaly_map.geometry.voxel_volume, edits)
    if edits is not None:
        kept = np.zeros(chosen.size, dtype=np.bool_)
        kept[regions.flat] = True
        chosen = kept.reshape(chosen.shape)
        _apply(edits, chosen)
        values = anomaly_map.score if anomaly_map.raw is None else anomaly_map.raw
        regions = _regions(chosen, number_regions(chosen, edits.groups, values))
    items, ranks = _describe(regions, anomaly_map, lowest)
    labels = np.zeros(chosen.size, dtype=np.uint16 if len(items) < 1 << 16 else np.uint32)
    labels[regions.flat] = ranks[regions.owner]
    labels.setflags(write=False)
    return Findings(
        items=items,
        labels=labels.reshape(chosen.shape),
        geometry=anomaly_map.geometry,
        threshold=float(threshold),
        min_volume_mm3=float(min_volume_mm3),
        snapped=supervoxels is not None,
        hysteresis=hysteresis,
    )


def held(strong: Bool[np.ndarray, "z y x"], weak: Bool[np.ndarray, "z y x"]) -> UInt32[np.ndarray, "z y x"]:
    """Label the connected regions (26) of a weak mask that hold a voxel of a strong one; 0 elsewhere.

    Parameters
    ----------
    strong, weak
        Masks; a strong voxel that is not weak is left out.

    Returns
    -------
    ndarray
        Labels from 1, with gaps.
    """
    labels: UInt32[np.ndarray, "z y x"] = cc3d.connected_components(
        weak, connectivity=26, out_dtype=np.uint32
    )
    seeded = np.zeros(int(labels.max()) + 1, dtype=np.bool_)
    seeded[labels[strong]] = True
    seeded[0] = False
    kept: UInt32[np.ndarray, "z y x"] = labels * seeded[labels]
    return kept


def _above(
    anomaly_map: AnomalyMap, threshold: float, supervoxels: Supervoxels | None
) -> Bool[np.ndarray, "z y x"]:
    score = anomaly_map.score
    limit = np.float32(threshold)
    chosen: Bool[np.ndarray, "z y x"] = score >= limit if limit > 0 else score > 0
    if supervoxels is None:
        return chosen
    means = anomaly_map.supervoxel_decades(supervoxels)
    # Means are rounded: without the margin a supervoxel of one score could miss exactly that threshold.
    inside = (means >= float(to_decades(float(limit))) - 1e-6) & (means > 0)
    inside[0] = False
    loose = chosen & (supervoxels.ids == 0)
    snapped: Bool[np.ndarray, "z y x"] = inside[supervoxels.ids]
    snapped |= loose
    return snapped


def _apply(edits: Edits, chosen: Bool[np.ndarray, "_ _ _"]) -> None:
    if edits.strokes.shape != chosen.shape or (
        edits.groups is not None and edits.groups.shape != chosen.shape
    ):
        raise GridMismatch(
            f"The corrections have shape {edits.strokes.shape} and the map {chosen.shape}; they must agree."
        )
    chosen[edits.strokes > 0] = True
    chosen[edits.strokes < 0] = False


def _large(chosen: Bool[np.ndarray, "z y x"], min_voxels: float, edits: Edits | None) -> _Regions:
    """Give the connected regions that are large enough, those that were merged counted together."""
    labels = cc3d.connected_components(chosen, connectivity=26, out_dtype=np.uint32)
    found = _regions(chosen, labels)
    groups = edits.groups if edits is not None else None
    sizes = found.counts if groups is None else grouped_sizes(labels, found.counts, groups)
    keep = sizes >= min_voxels * (1 - 1e-9)
    if keep.all():
        return found
    mine = keep[found.owner]
    owner = (np.cumsum(keep) - 1)[found.owner[mine]]
    return _Regions(found.flat[mine], owner, found.counts[keep])


def _regions(chosen: Bool[np.ndarray, "z y x"], labels: Integer[np.ndarray, "z y x"]) -> _Regions:
    flat = np.flatnonzero(chosen)
    owner = labels.reshape(-1)[flat].astype(np.intp) - 1
    return _Regions(flat, owner, np.bincount(owner))


def _describe(
    regions: _Regions, anomaly_map: AnomalyMap, lowest: float
) -> tuple[tuple[Finding, ...], Integer[np.ndarray, " regions"]]:
    """Measure every region; give the findings, worst first, and the rank of every region.

    Voxels of a finding reach `lowest` decades.
    """
    shape, geometry = anomaly_map.geometry.shape, anomaly_map.geometry
    score = anomaly_map.score.reshape(-1)[regions.flat]
    raw = score if anomaly_map.raw is None else anomaly_map.raw.reshape(-1)[regions.flat]
    peak_at = _peaks(regions, score, raw)
    ids = regions.flat[peak_at]
    order = np.lexsort(
        (ids, -regions.counts, -raw[peak_at].astype(np.float64), -score[peak_at].astype(np.float64))
    )
    ranks = np.empty(order.size, dtype=np.intp)
    ranks[order] = np.arange(1, order.size + 1)

    index = np.stack(np.unravel_index(regions.flat, shape), axis=-1)
    centroids = np.stack([_means(regions, index[:, axis]) for axis in range(3)], axis=-1)
    columns = zip(
        ids[order].tolist(),
        ranks[order].tolist(),
        (regions.counts[order] * geometry.voxel_volume).tolist(),
        score[peak_at][order].astype(np.float64).tolist(),
        _means(regions, score)[order].tolist(),
        regions.counts[order].tolist(),
        map(tuple, index[peak_at][order].tolist()),
        map(tuple, centroids[order].tolist()),
        map(tuple, geometry.index_to_mm(index[peak_at][order]).tolist()),
        map(tuple, geometry.index_to_mm(centroids[order]).tolist()),
        _diameters(regions, index, geometry.affine[:3, :3])[order].tolist(),
        _where(regions, anomaly_map, order),
        map(_box, _boxes(regions, index)[order].tolist()),
        _stability(regions, anomaly_map, lowest, order),
        strict=True,
    )
    return tuple(Finding(*row) for row in columns), ranks


def _stability(
    regions: _Regions, anomaly_map: AnomalyMap, lowest: float, order: Integer[np.ndarray, " regions"]
) -> Iterator[float | None]:
    if anomaly_map.least is None:
        return (None for _ in order)
    # a score that was rounded must not miss its own threshold
    again = anomaly_map.least.reshape(-1)[regions.flat] >= max(lowest - 1e-2, 1e-6)
    return iter(_means(regions, again)[order].tolist())


def _where(
    regions: _Regions, anomaly_map: AnomalyMap, order: Integer[np.ndarray, " regions"]
) -> Iterator[str]:
    if anomaly_map.anatomy is None:
        return ("" for _ in order)
    words = anomaly_map.anatomy.where(regions.flat, regions.owner, regions.counts.size)
    return (words[region] for region in order)


def _boxes(regions: _Regions, index: Integer[np.ndarray, "voxels 3"]) -> Integer[np.ndarray, "regions 3 2"]:
    if not regions.counts.size:
        return np.empty((0, 3, 2), dtype=np.intp)
    sorted_index = index[np.argsort(regions.owner, kind="stable")]
    starts = np.cumsum(regions.counts) - regions.counts
    low, high = (reduce.reduceat(sorted_index, starts) for reduce in (np.minimum, np.maximum))
    return np.stack([low, high + 1], axis=-1)


def _box(ends: list[list[int]]) -> Box:
    (z0, z1), (y0, y1), (x0, x1) = ends
    return (z0, z1), (y0, y1), (x0, x1)


def _means(regions: _Regions, values: np.ndarray) -> Float64[np.ndarray, " regions"]:
    sums = np.bincount(regions.owner, values, minlength=regions.counts.size)
    return np.asarray(sums / regions.counts)


def _peaks(regions: _Regions, score: np.ndarray, raw: np.ndarray) -> Integer[np.ndarray, " regions"]:
    """Find the place, among the voxels of all regions, of the peak of each: score, then raw, then first."""
    owner = regions.owner
    at = np.arange(owner.size)
    for values in (score, raw):
        highest = np.full(regions.counts.size, -np.inf, dtype=np.float32)
        np.maximum.at(highest, owner[at], values[at])
        at = at[values[at] == highest[owner[at]]]
    peak_at = np.empty(regions.counts.size, dtype=np.intp)
    # Written backwards, so that the first of equals is what stays.
    peak_at[owner[at[::-1]]] = at[::-1]
    return peak_at


def _diameters(
    regions: _Regions, index: Integer[np.ndarray, "voxels 3"], axes: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, " regions"]:
    """Measure the longest extent of every region (see `Finding.diameter_mm`)."""
    order = np.argsort(regions.owner, kind="stable")
    ends = _Ends(regions.owner[order], index[order])
    for along in (2, 1, 0):
        ends = _ends_of_rows(ends, along)
    ends = _far_from_centre(ends, axes)
    counts = np.bincount(ends.owner, minlength=regions.counts.size)
    starts = np.cumsum(counts) - counts
    lengths = np.empty(counts.size)
    for size in np.unique(counts[counts <= _SMALL]):
        same = np.flatnonzero(counts == size)
        for some in np.array_split(same, 1 + same.size * int(size) ** 2 // _PAIRS_AT_ONCE):
            points = ends.index[starts[some, None] + np.arange(size)]
            lengths[some] = _longest(points[:, :, None] - points[:, None, :], axes)
    for region in np.flatnonzero(counts > _SMALL):
        own = ends.index[starts[region] : starts[region] + counts[region]]
        lengths[region] = _longest(_farthest_steps(own, axes)[None, :, None], axes)[0]
    # A region of one voxel, or one narrower than a voxel is long.
    return np.asarray(np.maximum(lengths, np.linalg.norm(axes, axis=0).max()))


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """Voxels that may end the longest extent of their region, sorted by region."""

    owner: Integer[np.ndarray, " voxels"]
    index: Integer[np.ndarray, "voxels 3"]

    def __getitem__(self, chosen: np.ndarray) -> "_Ends":
        return _Ends(self.owner[chosen], self.index[chosen])


def _ends_of_rows(ends: _Ends, along: int) -> _Ends:
    """Keep first and last voxel of every row: what lies between two others is no corner of the region."""
    if not ends.owner.size:
        return ends
    one, other = (axis for axis in range(3) if axis != along)
    lengths = ends.index.max(axis=0) + 1
    rows = (ends.owner * lengths[one] + ends.index[:, one]) * lengths[other] + ends.index[:, other]
    if along != 2:  # rows along x are in order already
        order = np.argsort(rows * lengths[along] + ends.index[:, along])
        ends, rows = ends[order], rows[order]
    changes = rows[1:] != rows[:-1]
    return ends[np.concatenate(([True], changes)) | np.concatenate((changes, [True]))]


def _far_from_centre(ends: _Ends, axes: Float64[np.ndarray, "3 3"]) -> _Ends:
    """Drop voxels so near to a centre that even the farthest voxel on the other side makes no longest extent."""
    if not ends.owner.size:
        return ends
    mm = ends.index @ axes.T
    starts = np.flatnonzero(np.concatenate(([True], ends.owner[1:] != ends.owner[:-1])))
    sizes = np.diff(np.append(starts, ends.owner.size))
    regions = np.repeat(np.arange(starts.size), sizes)

    def farthest(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give distances to a centre per region, their maximum, and where it is."""
        apart = np.linalg.norm(mm - centres[regions], axis=1)
        most = np.maximum.reduceat(apart, starts)
        at = np.flatnonzero(apart >= most[regions])
        where = np.empty(starts.size, dtype=np.intp)
        where[regions[at]] = at
        return apart, most, mm[where]

    _, _, one = farthest(np.add.reduceat(mm, starts, axis=0) / sizes[:, None])
    _, reached, other = farthest(one)
    # Between two voxels that lie far apart is a better centre: d <= r1 + r2, so r1 must be at least d - r2.
    apart, most, _ = farthest((one + other) / 2)
    return ends[apart >= (reached - most)[regions] * (1 - 1e-9) - 1e-9]


def _farthest_steps(
    index: Integer[np.ndarray, "voxels 3"], axes: Float64[np.ndarray, "3 3"]
) -> Integer[np.ndarray, "pairs 3"]:
    """Give the steps between the voxels of one region that lie farthest apart."""
    if len(index) > _MANY:
        with suppress(QhullError):  # a flat region has no hull in 3D; the ends of its rows are few
            index = index[ConvexHull(index).vertices]
    mm = index @ axes.T
    best, steps = 0.0, []
    for some in np.array_split(np.arange(len(mm)), 1 + len(mm) ** 2 // _PAIRS_AT_ONCE):
        apart = cdist(mm[some], mm)
        best = max(best, float(apart.max()))
        one, other = np.nonzero(apart >= best * (1 - 1e-9))
        steps.append((apart[one, other], index[some[one]] - index[other]))
    lengths = np.concatenate([apart for apart, _ in steps])
    return np.concatenate([step for _, step in steps])[lengths >= best * (1 - 1e-9)]


def _longest(
    steps: Integer[np.ndarray, "regions a b 3"], axes: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, " regions"]:
    """Give the length of the longest step, from face to face, of every region."""
    flat = steps.reshape(len(steps), -1, 3)
    centres = np.linalg.norm(flat @ axes.T, axis=-1)
    most = np.abs(flat).max(axis=-1)
    # A line through a voxel's centre along the step leaves it where its longest component reaches the face.
    whole = centres * (1 + 1 / np.maximum(most, 1))
    farthest = centres >= centres.max(axis=1, keepdims=True) * (1 - 1e-9)
    return np.asarray(np.where(farthest, whole, 0.0).max(axis=1))
