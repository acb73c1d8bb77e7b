"""Corrections as steps of a review, such that no verdict is lost on the way: painting, splitting, merging.

A finding's id is the voxel of its peak. Erasing that voxel, or adding one that scores higher, gives the
finding another id; so a stroke carries the judgement along, in the same step, and one undo takes both back.
Parts of a finding that was split begin with its judgement, and so does what findings were merged into.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Integer, UInt16, UInt32

from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.errors import ReviewError
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.grouping import divide, number_regions
from napari_anomaly.review import (
    MOST_GROUPS,
    Change,
    Group,
    Judgement,
    Review,
    Verdict,
    groups_of,
    paint_of,
)

__all__ = ["become", "carried", "judging", "merging", "noting", "painting", "splitting"]

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


def splitting(
    review: Review,
    findings: Findings,
    anomaly_map: AnomalyMap,
    finding_id: int,
    supervoxels: Supervoxels | None = None,
) -> Change:
    """Give the step that splits a finding: see `napari_anomaly.grouping.divide`.

    Each part begins with the judgement on the whole.

    Parameters
    ----------
    review, findings, anomaly_map
        See `painting`.
    finding_id
        Which one.
    supervoxels
        Where given, each of them goes to one part as a whole.

    Raises
    ------
    ReviewError
        If there is no such finding, or it cannot be divided.
    """
    (finding,) = _known(findings, [finding_id])
    box = finding.slices
    inside = findings.labels[box] == finding.rank
    ids = None if supervoxels is None else supervoxels.ids[box]
    parts = divide(_values(anomaly_map)[box], inside, ids)
    count = int(parts.max())
    if count < 2:
        along = " along superpixels" if supervoxels is not None else ""
        raise ReviewError(
            f"Finding {finding.rank} cannot be split{along}: it has one peak and no waist. "
            "Part it with the eraser (E), or leave it whole."
        )
    first = _free(review, count)
    where = np.flatnonzero(findings.labels.reshape(-1) == finding.rank)
    numbers = parts[inside].astype(np.int32) + (first - 1)
    verdicts: dict[int, Judgement | None] = {}
    judgement = review.verdicts.get(finding_id)
    for number in range(first, first + count):
        key = _highest(where[numbers == number], anomaly_map)
        if judgement is not None and key not in review.verdicts:
            verdicts[key] = judgement
    return Change(verdicts=verdicts, groups=_regrouped(review, findings, where, numbers))


def merging(
    review: Review, findings: Findings, anomaly_map: AnomalyMap, finding_ids: Iterable[int]
) -> Change:
    """Give the step that makes several findings one, whether they touch or not.

    It begins with the judgement on the most unusual one that was judged, and with all of their notes.

    Parameters
    ----------
    review, findings, anomaly_map
        See `painting`.
    finding_ids
        Which ones.

    Raises
    ------
    ReviewError
        If they are fewer than two.
    """
    chosen = sorted(_known(findings, finding_ids), key=lambda finding: finding.rank)
    if len(chosen) < 2:
        raise ReviewError("Choose two findings or more to merge them: Shift and Ctrl choose several.")
    ranks = np.array([finding.rank for finding in chosen])
    where = np.flatnonzero(np.isin(findings.labels.reshape(-1), ranks))
    numbers = np.full(where.size, _free(review, 1), dtype=np.int32)
    key = _highest(where, anomaly_map)
    said = [review.verdicts[finding.id] for finding in chosen if finding.id in review.verdicts]
    verdicts: dict[int, Judgement | None] = {}
    if said:
        judgement = next((one for one in said if one.verdict is not None), said[0])
        notes = dict.fromkeys(one.note for one in said if one.note)
        verdicts[key] = judgement.model_copy(update={"note": "; ".join(notes)})
    if verdicts.get(key) == review.verdicts.get(key):
        verdicts = {}
    return Change(verdicts=verdicts, groups=_regrouped(review, findings, where, numbers))


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


def become(finding_ids: Iterable[int], before: Findings, now: Findings) -> dict[int, int]:
    """Give what findings have become by strokes or settings that the screen does not show yet.

    Parameters
    ----------
    finding_ids
        Which ones.
    before
        The findings on the screen.
    now
        The findings as they are.

    Returns
    -------
    dict
        By id: the same id where it is still a finding or wholly gone, else the worst finding on its voxels.
    """
    ids = {finding.id for finding in now}
    return {key: key if key in ids else _successor(key, before, now) for key in finding_ids}


def _successor(finding_id: int, before: Findings, now: Findings) -> int:
    old = before.by_id(finding_id)
    if old is None:
        return finding_id
    ranks = now.labels[old.slices][before.labels[old.slices] == old.rank]
    ranks = ranks[ranks > 0]
    return now.items[int(ranks.min()) - 1].id if ranks.size else finding_id


def judging(
    review: Review, targets: Mapping[int, int], verdict: Verdict | None, *, reason: str = ""
) -> Change:
    """Give the step that judges findings as what they have become; see `become`.

    Raises
    ------
    ReviewError
        If one has become part of another that the reader judged already.
    """
    for key, target in targets.items():
        said = review.verdicts.get(target)
        if target not in targets and said is not None and said != review.verdicts.get(key):
            raise ReviewError(
                "What you drew or set has just made this finding a part of another, which you judged already. "
                "Choose it in the table, which shows it now, and judge it there."
            )
    return review.marking(targets.values(), verdict, reason=reason)


def noting(review: Review, targets: Mapping[int, int], finding_id: int, note: str) -> Change:
    """Give the step that writes a note on what a finding has become, after the note that stands there already."""
    target = targets[finding_id]
    there = review.note(target)
    return review.noting(target, f"{there}; {note}" if target != finding_id and there and note else note)


def _known(findings: Findings, finding_ids: Iterable[int]) -> list[Finding]:
    found = [findings.by_id(finding_id) for finding_id in dict.fromkeys(finding_ids)]
    known = [finding for finding in found if finding is not None]
    if len(known) < len(found):
        raise ReviewError("This finding is not there at the settings of now. Choose one of the table.")
    return known


def _free(review: Review, count: int) -> int:
    """Give the first of some numbers that no finding has."""
    first = max((group.value for group in review.groups), default=0) + 1
    if first + count - 1 > MOST_GROUPS:
        raise ReviewError("Too many findings of this scan were split or merged. Take some steps back first.")
    return first


def _regrouped(
    review: Review,
    findings: Findings,
    where: Integer[np.ndarray, " voxels"],
    numbers: Integer[np.ndarray, " voxels"],
) -> tuple[Group, ...]:
    """Number the voxels of findings; what had their numbers before, and is hidden now, goes as it touches."""
    edits = review.edits(findings.labels.shape)
    if edits is None or edits.groups is None:
        return groups_of(where, numbers)
    before: UInt16[np.ndarray, " all"] = edits.groups.reshape(-1)
    old = np.unique(before[where])
    values = np.zeros(before.size, dtype=np.int32)
    values[where] = numbers
    flat = np.flatnonzero((np.isin(before, old) & (before > 0)) | (values > 0))
    return groups_of(flat, values[flat])


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
    edits = review.edits(before.shape)
    groups = edits.groups if edits is not None else None
    old, new = (number_regions(mask, groups, _values(anomaly_map)) for mask in (before, after))
    touched = _numbers(old, near)
    peaks = {number: _peak(old, number, anomaly_map) for number in touched}
    # The worst of the regions that become one gives its judgement.
    by_worst = sorted(touched, key=lambda number: _rank(peaks[number], anomaly_map))
    # An erased middle leaves parts that lie far from each other, and none of them near the stroke's own border.
    inside = np.isin(old, touched) | (after & ~before)
    for number in _numbers(new, np.flatnonzero(inside)):
        here = new == number
        key = _peak(new, number, anomaly_map)
        sources = [peaks[one] for one in by_worst if here[old == one].any()]
        if key in review.verdicts or not sources:
            continue
        judgement = _heritage(review, sources)
        if judgement is not None:
            yield key, judgement


def _heritage(review: Review, sources: list[int]) -> Judgement | None:
    """Give the judgement of what several regions, worst first, have become.

    That of the worst; where it has none, that of the next which is not false: what was confirmed stays in the mask,
    and nothing leaves it that nobody has judged.
    """
    worst = review.verdicts.get(sources[0])
    if worst is not None:
        return worst
    said = (review.verdicts.get(source) for source in sources[1:])
    return next((one for one in said if one and one.verdict is not Verdict.FALSE_POSITIVE), None)


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
    return _highest(np.flatnonzero(labels == number), anomaly_map)


def _highest(flat: Integer[np.ndarray, " voxels"], anomaly_map: AnomalyMap) -> int:
    """Give the id of a region: as in `napari_anomaly.findings.find`."""
    for values in (anomaly_map.score, anomaly_map.raw):
        if values is not None:
            here = values.reshape(-1)[flat]
            flat = flat[here == here.max()]
    return int(flat[0])


def _values(anomaly_map: AnomalyMap) -> Float[np.ndarray, "z y x"]:
    return anomaly_map.score if anomaly_map.raw is None else anomaly_map.raw


def _rank(peak: int, anomaly_map: AnomalyMap) -> tuple[float, float, int]:
    score = anomaly_map.score.reshape(-1)
    raw = score if anomaly_map.raw is None else anomaly_map.raw.reshape(-1)
    return -float(score[peak]), -float(raw[peak]), peak
