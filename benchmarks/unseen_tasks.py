"""2D alone, 3D alone, joint: measure the ways to use a detector on six tasks that training never painted.

    python benchmarks/unseen_tasks.py --normals DIR... --label-maps DIR [--detector brain-mri] [--seeds 1 2 3]

The held-out normals are those that training left out (the same folders must be given). Every one is synthesised once a
seed, scored as it is and with each of the six tasks painted (pretask/unseen.py). Writes docs/results/unseen-tasks.md.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from pages import write_page
from torch import Tensor

from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import scan_raw_score
from napari_anomaly.detector.detect import smooth
from napari_anomaly.detector.engine import Engine, OpenVinoEngine
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.tiling import score
from napari_anomaly.evaluation.metrics import Curve, auroc, average_precision
from napari_anomaly.intensities import normalise
from napari_anomaly.pretask.unseen import TASKS, paint_unseen
from napari_anomaly.progress import drain
from napari_anomaly.training.normals import Normal, Subject, make_normal
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Candidate, candidates, read_subjects, strip

OUT = Path(__file__).parents[1] / "docs" / "results" / "unseen-tasks.md"
KINDS = {
    "voxel AP": "Voxel average precision",
    "voxel Dice": "Voxel Dice, best threshold of each scan",
    "scan AUROC": "Scan AUROC",
    "scan AP": "Scan average precision",
}
WAYS = {"plane": "2D alone", "volume": "3D alone", "joint": "joint", "mean": "mean of the three"}


def options_of(doc: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--normals", type=Path, nargs="+", default=[])
    parser.add_argument("--label-maps", type=Path)
    parser.add_argument("--detector", default=checkpoint.DEFAULT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


def held_out(options: argparse.Namespace, detector: checkpoint.Detector) -> list[Subject]:
    settings = TrainSettings(normals=tuple(options.normals), label_maps=options.label_maps)
    return [
        strip(item, detector.extraction) if isinstance(item, Candidate) else item
        for _, item in read_subjects(candidates(settings)[1])
    ]


def main() -> None:
    options = options_of(__doc__)
    detector = checkpoint.load(options.detector)
    subjects = held_out(options, detector)
    engine = OpenVinoEngine(detector.network, detector.sha256)
    learned = detector.card
    by_task = look_at(
        engine,
        subjects,
        options.seeds,
        smoothing_mm=learned.smoothing_mm,
        even=learned.even,
        ceiling=learned.ceiling,
    )
    write(detector, by_task, len(subjects), options.seeds)


def look_at(
    engine: Engine,
    subjects: list[Subject],
    seeds: list[int],
    *,
    smoothing_mm: float,
    even: bool = True,
    ceiling: bool = True,
) -> dict[str, dict[str, list[float]]]:
    """Figures of every way by kind (`KINDS`), one a task: subjects untouched and with every task, once a seed."""
    voxels, scans = defaultdict(list), defaultdict(list)

    def measure(normal: Normal, image: Tensor, truth: Tensor | None, task: str) -> None:
        image = normalise(image, normal.mask)
        shown = as_seen(image, normal.mask, engine.atlas, even=even, ceiling=ceiling)
        raw = drain(score(engine, shown, normal.mask))
        inside = normal.mask.numpy()
        for way in WAYS:
            values = smooth(getattr(raw, way).numpy(), smoothing_mm)[inside]
            scans[way, task].append(scan_raw_score(values))
            if truth is not None and truth.any():
                curve = Curve.of(values, truth.numpy()[inside])
                voxels[way, task].append((curve.average_precision, curve.best_dice()[0]))

    for seed in seeds:
        rng = np.random.default_rng(seed + 3_000_003)
        for subject in subjects:
            normal = make_normal(subject, rng, torch.device("cpu"), harder=False)
            base = normal.image.float()
            measure(normal, base, None, "normal")
            for task in TASKS:
                painted = paint_unseen(base, normal.mask, task, rng)
                measure(normal, painted.image, painted.truth, task)
        print("seed", seed, flush=True)
    return {
        way: {
            "voxel AP": [float(np.mean([ap for ap, _ in voxels[way, task]])) for task in TASKS],
            "voxel Dice": [float(np.mean([dice for _, dice in voxels[way, task]])) for task in TASKS],
            "scan AUROC": [compare(auroc, scans[way, "normal"], scans[way, task]) for task in TASKS],
            "scan AP": [compare(average_precision, scans[way, "normal"], scans[way, task]) for task in TASKS],
        }
        for way in WAYS
    }


def write(detector, by_task, subjects: int, seeds: list[int]) -> None:
    lines = [
        "# Six tasks that training never painted",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}; {subjects} held-out normals, "
        f"seeds {', '.join(map(str, seeds))} for contrast and painting ({subjects * len(seeds)} scans a task). "
        "The tasks are the validation tasks of Kang & Park (2022). Voxel figures are means over scans; scan figures "
        "rank painted against untouched scans by the mean of the highest .05 % of raw scores. One training: the seeds "
        "are those of the test.",
        "",
        "Made by `python benchmarks/unseen_tasks.py --normals DIR... --label-maps DIR`.",
        "",
    ]
    for kind, title in KINDS.items():
        lines += [
            f"## {title}",
            "",
            *head(),
            *(row(name, by_task[way][kind]) for way, name in WAYS.items()),
            "",
        ]
    write_page(OUT, "\n".join(lines))
    print("\n".join(lines))


def compare(metric, normal: list[float], painted: list[float]) -> float:
    truth = np.repeat([False, True], [len(normal), len(painted)])
    return float(metric(np.array(normal + painted), truth))


def head() -> list[str]:
    return [f"| networks | {' | '.join(TASKS)} | mean |", "|" + "---|" * (len(TASKS) + 2)]


def row(name: str, values: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in [*values, np.mean(values)]) + " |"


if __name__ == "__main__":
    main()
