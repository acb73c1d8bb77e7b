"""Is a finding that both looks find more often true? Writes docs/results/stability.md.

    python benchmarks/stability.py --normals DIR... --label-maps DIR [--detector brain-mri] [--seeds 1]

Held-out normals are painted and looked at twice, as a detection does: at every slice, and at every other slice of the
mirror image. Findings at the detector's own threshold are true where a tenth of them was painted.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from pages import write_page
from unseen_tasks import held_out, options_of

from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import decades_map, of_contrast, score_map
from napari_anomaly.detector.detect import smoothed, turned_back
from napari_anomaly.detector.engine import OpenVinoEngine
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.tiling import score
from napari_anomaly.evaluation.metrics import auroc
from napari_anomaly.findings import find
from napari_anomaly.geometry import Geometry
from napari_anomaly.intensities import normalise
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import drain
from napari_anomaly.training.batch import paint_normal
from napari_anomaly.training.normals import make_normal

OUT = Path(__file__).parents[1] / "docs" / "results" / "stability.md"
TRUE = 0.1
BANDS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01))


def main() -> None:
    options = options_of(__doc__)
    detector = checkpoint.load(options.detector)
    subjects = held_out(options, detector)
    engine = OpenVinoEngine(detector.network, detector.sha256)
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    scans = 0
    for seed in options.seeds:
        rng = np.random.default_rng(seed + 4_000_003)
        for subject in subjects:
            normal = make_normal(subject, rng, torch.device("cpu"), harder=False)
            painted = paint_normal(normal, rng, difficulty=Difficulty(), library=None)
            contrast, seen = look_twice(engine, detector, painted.image, normal.mask)
            own = of_contrast(detector.card.calibrations[seen[0]], contrast)
            for finding, true in judged(seen[1], own, painted.truth.numpy()):
                found[contrast].append((finding.stability, true))
            scans += 1
    write(detector, found, scans)


def look_twice(engine, detector, image, mask) -> tuple[str, tuple[str, AnomalyMap]]:
    learned = detector.card
    image = normalise(image, mask)
    shown = as_seen(image, mask, engine.atlas, even=learned.even, ceiling=learned.ceiling)
    first = drain(score(engine, shown, mask))
    second = drain(score(engine, shown.flip(-1), mask.flip(-1), slice_step=2))
    way = learned.by_contrast.get(first.contrast, learned.best)
    own = of_contrast(learned.calibrations[way], first.contrast)
    one, other = (smoothed(look, way, detector) for look in (first, turned_back(second)))
    inside = mask.numpy()
    found = AnomalyMap(
        score=score_map(one, inside, own),
        geometry=Geometry.from_spacing(one.shape, (1.0, 1.0, 1.0)),
        scan_score=0.5,
        detector="held out",
        detector_sha256="0" * 64,
        default_threshold=own.default_threshold,
        default_min_volume_mm3=0.0,
        raw=one,
        least=decades_map(np.minimum(one, other), inside, own),
        hysteresis=own.hysteresis,
    )
    return first.contrast, (way, found)


def judged(seen: AnomalyMap, own, truth: np.ndarray):
    findings = find(seen, own.default_threshold, min_volume_mm3=own.default_min_volume_mm3)
    for finding in findings:
        inside = findings.labels[finding.slices] == finding.rank
        yield finding, bool(truth[finding.slices][inside].mean() >= TRUE)


def write(detector, found: dict[str, list[tuple[float, bool]]], scans: int) -> None:
    together = [pair for pairs in found.values() for pair in pairs]
    lines = [
        "# Stability",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}; {scans} held-out normals, "
        "painted. Findings at the detector's own thresholds; stability is the share of a finding that the look at the "
        "scan and the look at every other slice of its mirror image both find. A finding is true where a tenth of it "
        "was painted.",
        "",
        "Made by `python benchmarks/stability.py --normals DIR... --label-maps DIR`.",
        "",
        "| seen as | true findings | false findings | median stability, true | median, false | AUROC |",
        "|---|---|---|---|---|---|",
        *(row(name, pairs) for name, pairs in [*sorted(found.items()), ("all", together)]),
        "",
        "| stability | true findings | false findings |",
        "|---|---|---|",
    ]
    for low, high in BANDS:
        chosen = [true for value, true in together if low <= value < high]
        lines.append(f"| {low:.2f} to {min(high, 1):.2f} | {sum(chosen)} | {len(chosen) - sum(chosen)} |")
    write_page(OUT, "\n".join(lines))
    print(OUT.read_text(encoding="utf-8"))


def row(name: str, pairs: list[tuple[float, bool]]) -> str:
    values, truth = np.array([value for value, _ in pairs]), np.array([true for _, true in pairs], bool)
    medians = [f"{np.median(values[chosen]):.2f}" if chosen.any() else "" for chosen in (truth, ~truth)]
    both = truth.any() and not truth.all()
    area = f"{auroc(values, truth):.2f}" if both else ""
    return f"| {name} | {truth.sum()} | {(~truth).sum()} | {medians[0]} | {medians[1]} | {area} |"


if __name__ == "__main__":
    main()
