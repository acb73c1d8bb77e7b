"""How many repeated false positives the memory marks, and how many true findings.

Writes docs/results/rejected-memory.md.

    python benchmarks/rejected_memory.py

Heads are phantoms, so every finding has a known cause. Three kinds of false positives come back from scan to
scan, on either side, at about the same place, of about the same size and brightness; true lesions are anywhere
in the white matter, some of them beside the false ones and as bright. A reader goes through the scans one by
one, rejects what is false and confirms what is true; what the memory would have marked is counted before.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.descriptor import Describer, Descriptor
from napari_anomaly.findings import find
from napari_anomaly.recall import LIMIT, Remembered, Reviewed, alike
from napari_anomaly.review import Verdict
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan

OUT = Path(__file__).parents[1] / "docs" / "results" / "rejected-memory.md"
SHAPE = (40, 48, 40)
SITES, SCANS = 3, 15
PLACES = np.moveaxis(np.indices(SHAPE), 0, -1)
THRESHOLD = 0.99
LIMITS = (LIMIT, 0.9, 1.2)

# Place in shares of half the head (up, back, aside), radius in mm, intensity; white matter is 64, noise 3.
KINDS = {
    "bright spot beside the ventricle": ((0.05, 0.25, 0.25), 9.0, 105.0),
    "bright spot at the pole": ((-0.35, -0.45, 0.2), 11.0, 115.0),
    "dark spot below": ((-0.45, 0.1, 0.3), 10.0, 28.0),
}
APPEARS = 0.7
NOISE = 3.0


@dataclass(frozen=True)
class Seen:
    """A finding, what caused it, and what it looks like."""

    key: int
    cause: str
    looks: Descriptor


def main() -> None:
    sites = [
        [one_scan(np.random.default_rng((site, number))) for number in range(SCANS)] for site in range(SITES)
    ]
    lines = [row(limit, counter, sites) for counter in (True, False) for limit in LIMITS]
    OUT.write_text(report(lines, sites), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def one_scan(rng: np.random.Generator) -> list[Seen]:
    """Make a head with what is in it, find what stands out, and describe it."""
    size = rng.uniform(0.94, 1.06, 3)
    shift = rng.normal(0, 1.0, 3)
    normal = np.asarray(phantom(SHAPE, noise=0.0).voxels, dtype=np.float64)
    voxels, causes = normal.copy(), np.zeros(SHAPE, dtype=np.uint8)
    names = list(KINDS)
    for number, name in enumerate(names, 1):
        if rng.random() < APPEARS:
            place, radius, value = KINDS[name]
            side = rng.choice((-1, 1))
            where = np.array(place) * (1, 1, side) * size + rng.normal(0, 0.03, 3)
            ball(voxels, causes, where, radius * rng.uniform(0.8, 1.25), value * rng.normal(1, 0.07), number)
    for _ in range(rng.integers(0, 4)):
        where = rng.uniform(-0.5, 0.5, 3)
        ball(voxels, causes, where, rng.uniform(6.0, 14.0), rng.uniform(95.0, 140.0), 9)
    voxels = gaussian_filter(voxels, 0.6) + rng.normal(0, NOISE, SHAPE)
    voxels = np.roll(np.where(normal > 0, voxels, 0), np.round(shift).astype(int), (0, 1, 2))
    causes = np.roll(causes, np.round(shift).astype(int), (0, 1, 2))
    expected = np.roll(gaussian_filter(normal, 0.6), np.round(shift).astype(int), (0, 1, 2))
    gain, offset = rng.uniform(0.5, 3.0), rng.uniform(0.0, 30.0)
    head = expected > 5
    scan = Scan.from_array(
        np.where(head, gain * voxels + offset, 0).astype(np.float32), spacing=(200 / 48,) * 3
    )
    return seen(scan, np.where(head, np.abs(voxels - expected) / NOISE, 0), causes, names)


def ball(
    voxels: np.ndarray, causes: np.ndarray, where: np.ndarray, radius_mm: float, value: float, cause: int
) -> None:
    half = np.array(SHAPE) / 2
    centre = (where + 1) * half - 0.5
    apart = np.linalg.norm((PLACES - centre) * 200 / 48, axis=-1)
    inside = (apart < radius_mm) & (voxels > 15)
    voxels[inside], causes[inside] = value, cause


def seen(scan: Scan, deviation: np.ndarray, causes: np.ndarray, names: list[str]) -> list[Seen]:
    decades = np.clip(gaussian_filter(deviation, 0.5) / 2.0, 0, 4.9)
    score = np.where(deviation > 0, 1 - 10.0**-decades, 0).astype(np.float32)
    found = AnomalyMap(
        score, scan.geometry, 0.5, "phantom", "0" * 64, THRESHOLD, 0.0, None, deviation.astype("f4")
    )
    findings = find(found, THRESHOLD, min_volume_mm3=300.0)
    describer = Describer(scan, found)
    result = []
    for one in findings:
        inside = causes[findings.labels == one.rank]
        number = int(np.bincount(inside, minlength=10).argmax())
        cause = {0: "noise", 9: "lesion"}.get(number) or names[number - 1]
        result.append(Seen(one.id, cause, describer.describe(findings, one)))
    return result


def row(limit: float, counter: bool, sites: list[list[list[Seen]]]) -> dict[str, object]:
    """Read all scans with one limit, with or without what was confirmed as counter-examples."""
    marked = {"repeat": [], "first": [], "lesion": []}
    for scans in sites:
        memory: list[Remembered] = []
        known: set[str] = set()
        for number, scan in enumerate(scans):
            reviewed = Reviewed(f"{number:064x}", "0" * 64, "r")
            likes = alike({one.key: one.looks for one in scan}, memory, reviewed, limit=limit)
            for one in scan:
                kind = "lesion" if one.cause == "lesion" else "repeat" if one.cause in known else "first"
                marked[kind].append(one.key in likes)
            for one in scan:
                verdict = Verdict.REAL if one.cause == "lesion" else Verdict.FALSE_POSITIVE
                if counter or verdict is Verdict.FALSE_POSITIVE:
                    memory.append(Remembered(reviewed, one.key, verdict, "", "2026-01-01", one.looks))
            known |= {one.cause for one in scan if one.cause in KINDS}
    return {"limit": limit, "counter": counter, **marked}


def report(lines: list[dict[str, object]], sites: list[list[list[Seen]]]) -> str:
    findings = sum(len(scan) for scans in sites for scan in scans)
    text = [
        "# What the memory of rejected findings marks",
        "",
        f"{SITES} readers with {SCANS} phantom heads each, {findings} findings. Three kinds of false positives come",
        "back in seven of ten scans; true lesions are anywhere, as bright or brighter. A reader goes through the",
        "scans one by one; what would have been marked is counted before each is judged. These are phantoms: they",
        "tell that the arithmetic works and what it costs, not how often a real detector repeats itself. Most findings",
        "are noise at borders of tissue; the reader rejects them too, and they are counted in neither column.",
        "The limit that is shipped was chosen by this table.",
        "",
        "    python benchmarks/rejected_memory.py",
        "",
        "| limit | confirmed findings speak against a mark | repeats marked | true lesions wrongly marked |",
        "|---|---|---|---|",
    ]
    for line in lines:
        shown = (
            f"**{line['limit']}** (as shipped)"
            if line["limit"] == LIMIT and line["counter"]
            else line["limit"]
        )
        text.append(
            f"| {shown} | {'yes' if line['counter'] else 'no'} | {share(line['repeat'])} | {share(line['lesion'])} |"
        )
    text += [
        "",
        "A mark hides nothing: a marked finding stands below others of as high a score, and says why.",
    ]
    return "\n".join(text) + "\n"


def share(marks: object) -> str:
    values = np.array(marks, dtype=bool)
    return f"{values.mean():.0%} ({values.sum()} of {values.size})"


if __name__ == "__main__":
    main()
