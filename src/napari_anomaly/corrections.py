"""Painted corrections as steps of a review, such that no verdict is lost on the way.

A finding's id is the voxel of its peak. Erasing that voxel, or adding one that scores higher, gives the
finding another id; so a stroke carries the judgement along, in the same step, and one undo takes both back.
"""

from collections.abc import Iterator

import cc3d
import numpy as np
from jaxtyping import Bool, Int, Int8, Integer, UInt32

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import Findings
from napari_anomaly.review import Change, Judgement, Review, paint_of

__all__ = ["carried", "painting"]

_AROUND = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def painting(
    review: Review,
    findings: Findings | None,
    anomaly_map: AnomalyMap,
    flat: Integer[np.ndarray, " voxels"],
    value: int | Int8[np.ndarray, " voxels"],
) -> Change:
    """Give the step that paints or erases voxels and carries judgements to the findings that come of it.

    Parameters
    ----------
    review
        What was said so far.
    findings
        Those on the screen; None where there are none yet.
    anomaly_map
        Their map.
    flat
        Flat C-order indices (z, y, x) of the voxels, rising.
    value
        1 to add, -1 to erase, 0 to leave it to the threshold again; one for all or one for each.
    """
    values = np.broadcast_to(np.asarray(value, dtype=np.int8), flat.shape)
    plain = Change(paint=paint_of(flat, values))
    if findings is None or not review.verdicts or not flat.size:
        return plain
    before = _mask(findings, review)
    after = before.copy()
    after.reshape(-1)[flat[values > 0]] = True
    after.reshape(-1)[flat[values < 0]] = False
    verdicts = dict(_inherited(review, anomaly_map, before, after, flat))
    return Change(verdicts=verdicts, paint=plain.paint)


def carried(review: Review, findings: Findings) -> Change | None:
    """Give the step that brings judgements to findings whose peaks have moved a little; None where none has.

    The same detector may score the same scan a little differently on another machine. A judgement whose voxel
    is no finding's peak, but lies inside of a finding that has no judgement, is that finding's.

    Parameters
    ----------
    review
        What was said on the map before.
    findings
        What the map of now has.
    """
    ids = {finding.id for finding in findings}
    labels = findings.labels.reshape(-1)
    moved: dict[int, Judgement | None] = {}
    for key, judgement in review.verdicts.items():
        rank = int(labels[key]) if key < labels.size else 0
        if key in ids or rank == 0:
            continue
        target = findings.items[rank - 1].id
        if target not in review.verdicts and target not in moved:
            moved[target] = judgement
    return Change(verdicts=moved) if moved else None


def _mask(findings: Findings, review: Review) -> Bool[np.ndarray, "z y x"]:
    # Findings may be older than the last stroke; what was painted since is known.
    mask: Bool[np.ndarray, "z y x"] = findings.labels > 0
    edits = review.edits(mask.shape)
    if edits is not None:
        mask[edits.strokes > 0] = True
        mask[edits.strokes < 0] = False
    return mask


def _inherited(
    review: Review,
    anomaly_map: AnomalyMap,
    before: Bool[np.ndarray, "z y x"],
    after: Bool[np.ndarray, "z y x"],
    flat: Integer[np.ndarray, " voxels"],
) -> Iterator[tuple[int, Judgement]]:
    """Give judgements of the regions that a stroke touched, for those that they have become."""
    near = _near(flat, before.shape)
    old, new = (
        cc3d.connected_components(mask, connectivity=26, out_dtype=np.uint32) for mask in (before, after)
    )
    touched = _numbers(old, near)
    peaks = {number: _peak(old, number, anomaly_map) for number in touched}
    # The worst of the regions that become one gives its judgement.
    by_worst = sorted(touched, key=lambda number: _rank(peaks[number], anomaly_map))
    # An erased middle leaves parts that lie far from each other, and none of them near the stroke's own border.
    inside = np.isin(old, touched) | (after & ~before)
    for number in _numbers(new, np.flatnonzero(inside)):
        here = new == number
        key = _peak(new, number, anomaly_map)
        source = next((peaks[one] for one in by_worst if here[old == one].any()), None)
        if source is None or source == key or key in review.verdicts:
            continue
        judgement = review.verdicts.get(source)
        if judgement is not None:
            yield key, judgement


def _near(flat: Integer[np.ndarray, " voxels"], shape: tuple[int, ...]) -> Int[np.ndarray, " near"]:
    """Give flat indices of voxels and of their 26 neighbours."""
    index = np.stack(np.unravel_index(flat, shape), axis=-1)
    around = (index[:, None, :] + _AROUND).reshape(-1, 3)
    inside = ((around >= 0) & (around < np.array(shape))).all(axis=1)
    return np.unique(np.ravel_multi_index(tuple(around[inside].T), shape))


def _numbers(labels: UInt32[np.ndarray, "z y x"], flat: Int[np.ndarray, " some"]) -> list[int]:
    found = np.unique(labels.reshape(-1)[flat])
    return [int(number) for number in found if number]


def _peak(labels: UInt32[np.ndarray, "z y x"], number: int, anomaly_map: AnomalyMap) -> int:
    """Give the id of a region: as in `napari_anomaly.findings.find`."""
    flat = np.flatnonzero(labels == number)
    for values in (anomaly_map.score, anomaly_map.raw):
        if values is not None:
            here = values.reshape(-1)[flat]
            flat = flat[here == here.max()]
    return int(flat[0])


def _rank(peak: int, anomaly_map: AnomalyMap) -> tuple[float, float, int]:
    score = anomaly_map.score.reshape(-1)
    raw = score if anomaly_map.raw is None else anomaly_map.raw.reshape(-1)
    return -float(score[peak]), -float(raw[peak]), peak
