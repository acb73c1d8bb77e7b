"""How much of a scanner's gain is taken out of synthesised scans whose gain is known, by ours and by N4.

    python benchmarks/bias_field.py LABELS [--scans 24] [--out docs/results/bias-field.md]

LABELS is a folder of whole-head label maps; every n-th, as in training, is one that no detector learned from.
Half of the scans carry a painted mass.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.seen import log_gain
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.bias_field import ZERO
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.training import normals
from napari_anomaly.training.batch import paint_normal
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Subject, candidates, read_subjects

OUT = Path(__file__).parents[1] / "docs" / "results" / "bias-field.md"
FAMILIES = ("t1", "t2", "flair")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    detector = checkpoint.load(checkpoint.DEFAULT)
    atlas = detector.network.atlas
    _, held = candidates(TrainSettings(label_maps=options.labels))
    subjects = [subject for _, subject in read_subjects(held) if isinstance(subject, Subject)]
    rng = np.random.default_rng(5)
    rows: dict[str, list[tuple[float, ...]]] = {family: [] for family in FAMILIES}
    for index in range(options.scans):
        family = FAMILIES[index % 3]
        true = random_gain(rng)
        normals.acquire = scanner(true)
        made = normals.make_normal(
            subjects[(index // 3) % len(subjects)], rng, torch.device("cpu"), family=family, harder=False
        )
        scenario = "mass" if index % 2 else None
        image = made.image.float()
        if scenario:
            image = paint_normal(made, rng, difficulty=Difficulty(), library=None, scenario=scenario).image
        image = normalise(image, made.mask)
        inside = made.mask & (image != 0)
        began = time.perf_counter()
        ours = log_gain(image, made.mask, atlas)
        between = time.perf_counter()
        theirs = n4(image, inside)
        seconds = (between - began, time.perf_counter() - between)
        left = [float((field - true)[inside].std()) for field in (torch.zeros_like(true), ours, theirs)]
        rows[family].append((*left, *seconds))
        print(family, scenario, np.round(rows[family][-1], 3), flush=True)
    write(rows, len(subjects), options)


def random_gain(rng: np.random.Generator) -> Tensor:
    """Logarithm of a smooth gain of the whole field of view."""
    knots = torch.from_numpy(rng.normal(0, 1, (1, 1, 3, 3, 3)).astype(np.float32)) * float(
        rng.uniform(0, 0.5)
    )
    return functional.interpolate(knots, size=normals.FIELD, mode="trilinear", align_corners=True)[0, 0]


def scanner(gain: Tensor):
    def acquire(image: Tensor, rng: np.random.Generator, device: torch.device) -> Tensor:
        return image * gain.exp() + float(rng.uniform(0.005, 0.04)) * torch.randn(image.shape)

    return acquire


def n4(image: Tensor, inside: Tensor) -> Tensor:
    """N4 as SimpleITK has it, at a quarter of the resolution, four levels of 50 rounds."""
    signal = SimpleITK.GetImageFromArray((image - ZERO).clamp(min=0.02).numpy())
    where = SimpleITK.GetImageFromArray(inside.numpy().astype(np.uint8))
    correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations([50] * 4)
    correction.SetConvergenceThreshold(1e-7)
    correction.Execute(SimpleITK.Shrink(signal, [4] * 3), SimpleITK.Shrink(where, [4] * 3))
    return torch.from_numpy(SimpleITK.GetArrayFromImage(correction.GetLogBiasFieldAsImage(signal)))


def write(rows: dict[str, list[tuple[float, ...]]], subjects: int, options: argparse.Namespace) -> None:
    lines = [
        "# The scanner's gain",
        "",
        f"{options.scans} scans synthesised from {subjects} label maps that no detector learned from, with a gain",
        "that is known; half of them carry a painted mass. Standard deviation within the brain of the logarithm of the",
        "gain that is left, root of the mean square over scans; seconds are means, in one run, on the CPU.",
        "",
        f"Made by `python benchmarks/bias_field.py LABELS --scans {options.scans}`.",
        "",
        "| contrast | as it is | tissue model (`networks.bias_field`) | N4 (SimpleITK) | seconds | seconds, N4 |",
        "|---|---|---|---|---|---|",
    ]
    for family, values in rows.items():
        table = np.array(values)
        left = np.sqrt((table[:, :3] ** 2).mean(0))
        spent = table[:, 3:].mean(0)
        lines.append(
            f"| {family} | {left[0]:.3f} | {left[1]:.3f} | {left[2]:.3f} | {spent[0]:.2f} | {spent[1]:.2f} |"
        )
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
