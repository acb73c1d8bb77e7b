"""What each part of a detection is worth on held-out normals, plain and painted: docs/results/ablations.md.

    python benchmarks/ablations.py --normals DIR... --label-maps DIR [--detector brain-mri] [--seeds 1]

The held-out normals are those that training left out (the same folders must be given). Every row is calibrated anew:
its threshold is the lowest that makes no more than one false finding per normal scan. What is taken away here was there
while the networks learned, so a row says how much they lean on it, not what they could learn without it.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from unseen_tasks import held_out, options_of

from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import ANY
from napari_anomaly.detector.engine import TorchEngine
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.tiling import RawScores, score
from napari_anomaly.preprocess import SLICE_OFFSETS_MM, normalise
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import drain
from napari_anomaly.training.batch import paint_normal
from napari_anomaly.training.finish import (
    PAINTED,
    PLAN,
    SMOOTHING_MM,
    _average_precision,
    _box,
    _contrasts,
    _of,
)
from napari_anomaly.training.normals import make_normal
from napari_anomaly.training.operating_point import Trial, operating_point

OUT = Path(__file__).parents[1] / "docs" / "results" / "ablations.md"
WHOLE = "the detector as it is"


class NoSilhouette(TorchEngine):
    """Networks that are shown a mask of ones, and no place within it."""

    def plane(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """See `TorchEngine`."""
        return super().plane(without(slices, len(SLICE_OFFSETS_MM) + 1))

    def volume(self, volume: Tensor):
        """See `TorchEngine`."""
        return super().volume(without(volume, 2))


def without(inputs: Tensor, mask: int) -> Tensor:
    blind = inputs.clone()
    blind[:, mask], blind[:, mask + 1 : mask + 4] = 1, 0
    return blind


def main() -> None:
    options = options_of(__doc__)
    detector = checkpoint.load(options.detector)
    subjects = held_out(options, detector)
    normal, painted = defaultdict(list), defaultdict(list)
    for seed in options.seeds:
        rng = np.random.default_rng(seed + 4_000_003)
        for subject in subjects:
            for family in dict.fromkeys(PLAN[subject.kind]):
                made = make_normal(subject, rng, torch.device("cpu"), family=family, harder=False)
                look(detector, made.image, made.mask, None, normal)
                for scenario in PAINTED:
                    spoiled = paint_normal(
                        made, rng, difficulty=Difficulty(), library=None, scenario=scenario
                    )
                    look(detector, spoiled.image, made.mask, spoiled.truth, painted)
            print(len(normal[WHOLE]), "normals", flush=True)
    OUT.write_text(report(detector, normal, painted, options.seeds), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def look(detector, image, mask, truth, into) -> None:
    plain = normalise(image.float(), mask)
    engine = TorchEngine(detector.network)
    seen = as_seen(plain, mask, engine.atlas)
    first = drain(score(engine, seen, mask))
    mirrored = drain(score(engine, seen.flip(-1), mask.flip(-1)))
    blind = NoSilhouette(detector.network)
    ways: dict[str, Tensor] = {
        WHOLE: first.joint,
        "2D network alone": first.plane,
        "3D network alone": first.volume,
        "mean of 2D, 3D and joint": first.mean,
        "averaged with the mirror image": (first.joint + mirrored.joint.flip(-1)) / 2,
        "without the silhouette": joint_of(blind, seen, mask),
        "without the tissue model": joint_of(_no_atlas(detector), seen, mask),
        "without removing the scanner's gain": joint_of(
            engine, as_seen(plain, mask, engine.atlas, even=False), mask
        ),
        "without the ceiling on what shines": joint_of(
            engine, as_seen(plain, mask, engine.atlas, ceiling=False), mask
        ),
    }
    inside = mask.numpy()
    wanted = np.zeros_like(inside) if truth is None else truth.numpy()
    box = _box(inside)
    inside, wanted = inside[box].copy(), wanted[box].copy()
    for name, raw in ways.items():
        into[name].append(Trial(first.contrast, inside, raw.numpy()[box].astype(np.float16), wanted))


def _no_atlas(detector) -> TorchEngine:
    engine = TorchEngine(detector.network)
    engine.atlas = torch.zeros_like(engine.atlas)
    return engine


def joint_of(engine, image, mask) -> Tensor:
    found: RawScores = drain(score(engine, image, mask))
    return found.joint


def measured(normal, painted, sigma, **choices) -> tuple[float, float]:
    """Mean AP, and mean Dice at quiet thresholds, each contrast at its own as finishing calibrates it."""
    own = _contrasts(normal)
    groups = {trial.contrast: trial.contrast if trial.contrast in own else ANY for trial in painted}
    dice = []
    for contrast, group in groups.items():
        spoiled = [trial for trial in painted if trial.contrast == contrast]
        dice += [operating_point(_of(group, normal), spoiled, sigma, **choices)[1]] * len(spoiled)
    return float(np.nanmean([_average_precision(trial, sigma) for trial in painted])), float(np.mean(dice))


def report(detector, normal, painted, seeds) -> str:
    whole, own = (normal[WHOLE], painted[WHOLE]), detector.card.smoothing_mm
    rows = [(name, measured(normal[name], painted[name], own)) for name in normal]
    rows += [
        (f"smoothed by {sigma:.1f} mm", measured(*whole, sigma)) for sigma in SMOOTHING_MM if sigma != own
    ]
    rows += [
        ("findings end at the threshold", measured(*whole, own, hystereses=(0.0,), evens=(None,))),
        (
            "they extend by half a decade at most, no outlines",
            measured(*whole, own, hystereses=(0.5,), evens=(None,)),
        ),
        ("they extend as far as fits, no outlines", measured(*whole, own, evens=(None,))),
        ("outlines, ending at the threshold", measured(*whole, own, hystereses=(0.0,))),
    ]
    lines = [
        "# Ablations",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}; {len(whole[0])} scans of "
        f"held-out normals, {len(whole[1])} painted, seeds {', '.join(map(str, seeds))} for contrast and painting. "
        "AP: mean over painted scans of the average precision over voxels. Dice: their mean at a threshold "
        "that makes no more than one false finding per normal scan of the contrast, chosen for every row, with the "
        "extent and outlines that fit it best. What is taken away was there while the networks learned: a row says how "
        "much they lean on it, not what they could learn without it.",
        "",
        "Made by `python benchmarks/ablations.py --normals DIR... --label-maps DIR --seeds "
        f"{' '.join(map(str, seeds))}`.",
        "",
        "| what is changed | AP | Dice |",
        "|---|---|---|",
        *(f"| {name} | {ap:.3f} | {dice:.3f} |" for name, (ap, dice) in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
