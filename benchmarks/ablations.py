"""What each part of a detection is worth on held-out normals, plain and painted: docs/results/ablations.md.

    python benchmarks/ablations.py --normals DIR... --label-maps DIR [--detector brain-mri] [--seeds 1]

The held-out normals are those that training left out (the same folders must be given). Every row is calibrated anew:
its threshold is the lowest that makes no more than one false finding per normal scan. What is taken away here was there
while the networks learned, so a row says how much they lean on it, not what they could learn without it.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pages import write_page
from torch import Tensor
from unseen_tasks import held_out, options_of

from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import ANY
from napari_anomaly.detector.engine import Engine, OpenVinoEngine
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.tiling import RawScores, score
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.volume import VolumeFeatures
from napari_anomaly.preprocess import SLICE_OFFSETS_MM
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
from napari_anomaly.training.operating_point import USUAL_HYSTERESIS, Trial, operating_point, side_by_side

OUT = Path(__file__).parents[1] / "docs" / "results" / "ablations.md"
WHOLE = "the detector as it is"


class Changed:
    """An engine whose networks are shown other inputs, or whose atlas knows nothing."""

    def __init__(self, engine: Engine, *, silhouette: bool = True, atlas: bool = True) -> None:
        self.name, self._engine, self._silhouette = engine.name, engine, silhouette
        self.atlas = engine.atlas if atlas else torch.zeros_like(engine.atlas)

    def plane(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        return self._engine.plane(slices if self._silhouette else without(slices, len(SLICE_OFFSETS_MM) + 1))

    def volume(self, volume: Tensor) -> tuple[VolumeFeatures, Tensor]:
        """See `Engine`."""
        return self._engine.volume(volume if self._silhouette else without(volume, 2))

    def fuse(self, logit: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """See `Engine`."""
        return self._engine.fuse(logit, features, context)


def without(inputs: Tensor, mask: int) -> Tensor:
    """Inputs with a silhouette of ones, and no place within it."""
    blind = inputs.clone()
    blind[:, mask], blind[:, mask + 1 : mask + 4] = 1, 0
    return blind


def main() -> None:
    options = options_of(__doc__)
    detector = checkpoint.load(options.detector)
    subjects = held_out(options, detector)
    engine = OpenVinoEngine(detector.network, detector.sha256)
    normal, painted = defaultdict(list), defaultdict(list)
    for seed in options.seeds:
        rng = np.random.default_rng(seed + 4_000_003)
        for subject in subjects:
            for family in dict.fromkeys(PLAN[subject.kind]):
                made = make_normal(subject, rng, torch.device("cpu"), family=family, harder=False)
                look(engine, made.image, made.mask, None, normal)
                for scenario in PAINTED:
                    spoiled = paint_normal(
                        made, rng, difficulty=Difficulty(), library=None, scenario=scenario
                    )
                    look(engine, spoiled.image, made.mask, spoiled.truth, painted)
            print(len(normal[WHOLE]), "normals", flush=True)
    write_page(OUT, report(detector, normal, painted, options.seeds))
    print(OUT.read_text(encoding="utf-8"))


def look(engine, image, mask, truth, into) -> None:
    plain = normalise(image.float(), mask)
    seen = as_seen(plain, mask, engine.atlas)
    first = drain(score(engine, seen, mask))
    mirrored = drain(score(engine, seen.flip(-1), mask.flip(-1)))
    ways: dict[str, Tensor] = {
        WHOLE: first.joint,
        "2D network alone": first.plane,
        "3D network alone": first.volume,
        "mean of 2D, 3D and joint": first.mean,
        "averaged with the mirror image": (first.joint + mirrored.joint.flip(-1)) / 2,
        "without the silhouette": joint_of(Changed(engine, silhouette=False), seen, mask),
        "without the tissue model": joint_of(Changed(engine, atlas=False), seen, mask),
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


def joint_of(engine, image, mask) -> Tensor:
    found: RawScores = drain(score(engine, image, mask))
    return found.joint


def measured(normal, painted, sigma, **choices) -> tuple[np.ndarray, float]:
    """AP by painted scan, and mean Dice at quiet thresholds, each contrast at its own as finishing calibrates it."""
    own = _contrasts(normal)
    groups = {trial.contrast: trial.contrast if trial.contrast in own else ANY for trial in painted}
    dice = []
    for contrast, group in groups.items():
        spoiled = [trial for trial in painted if trial.contrast == contrast]
        dice += [operating_point(_of(group, normal), spoiled, sigma, **choices)[1]] * len(spoiled)
    precision = side_by_side(partial(_average_precision, sigma=sigma), painted)
    return np.array(precision), float(np.mean(dice))


def rows_of(detector, normal, painted) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield name, AP by painted scan and Dice of everything that is changed, the detector as it is first."""
    whole, own = (normal[WHOLE], painted[WHOLE]), detector.card.smoothing_mm
    half = {"hystereses": (USUAL_HYSTERESIS,)}
    for name in normal:
        yield name, *measured(normal[name], painted[name], own, **half)
    for sigma in SMOOTHING_MM:
        if sigma != own:
            yield f"smoothed by {sigma:.1f} mm", *measured(*whole, sigma, **half)
    unlined = {"evens": (None,)}
    for name, choices in (
        ("findings end at the threshold, no outlines", {"hystereses": (0.0,), **unlined}),
        ("findings end at the threshold, with outlines", {"hystereses": (0.0,)}),
        ("findings extend by half a decade, no outlines", {**half, **unlined}),
        ("findings extend as far as fits best, no outlines", unlined),
        ("findings extend as far as fits best, with outlines: what ships", {}),
    ):
        yield name, *measured(*whole, own, **choices)


def report(detector, normal, painted, seeds) -> str:
    lines = [
        "# Ablations",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}; {len(normal[WHOLE])} scans of "
        f"held-out normals, {len(painted[WHOLE])} painted, seeds {', '.join(map(str, seeds))} for contrast and "
        "painting. AP: mean over painted scans of the average precision over voxels, and its difference to the first "
        "row on the same scans, with the standard error. Dice: mean at a threshold that makes no more than one false "
        "finding per normal scan of the contrast, chosen for every row. Where nothing else is said findings extend by "
        "half a decade and have outlines. What is taken away of what the networks see was there while they learned: "
        "such a row says how much they lean on it, not what they could learn without it.",
        "",
        "Made by `python benchmarks/ablations.py --normals DIR... --label-maps DIR --seeds "
        f"{' '.join(map(str, seeds))}`.",
        "",
        "| what is changed | AP | difference | Dice |",
        "|---|---|---|---|",
    ]
    first = None
    for name, precision, dice in rows_of(detector, normal, painted):
        first = precision if first is None else first
        apart = (precision - first)[~np.isnan(precision - first)]
        gap = f"{apart.mean():+.3f} ± {apart.std(ddof=1) / np.sqrt(len(apart)):.3f}" if apart.any() else ""
        lines.append(f"| {name} | {np.nanmean(precision):.3f} | {gap} | {dice:.3f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
