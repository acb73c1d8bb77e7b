"""Train a detector for another region than the brain by the command that users have, and measure it.

    python benchmarks/body_recipe.py CT [--minutes 8] [--threads 0]

CT is one abdomen CT (NIfTI). Two populations are made: deformed copies of the CT, and phantoms of bodies whose organs
vary in place, size and brightness. Of each, most train a detector with ``--region body`` and the last ones are kept
out altogether; these get the six synthetic tasks that training never paints (pretask/unseen.py). Writes
docs/results/body.md.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from pages import write_page
from scipy import ndimage

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.evaluation.metrics import Curve, auroc
from napari_anomaly.findings import find
from napari_anomaly.preprocess import silhouette
from napari_anomaly.pretask.unseen import TASKS, paint_unseen
from napari_anomaly.progress import drain
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.train import train

OUT = Path(__file__).parents[1] / "docs" / "results" / "body.md"
PEOPLE, KEPT_OUT = 20, 3
WINDOW_HU = (-1000.0, 1000.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, people in (
            ("abdomen CT, deformed copies of one", copies(options.ct)),
            ("phantoms", phantoms()),
        ):
            folder = Path(place) / name.split()[0].strip(",")
            rows += measure(name, folder, people, options)
            print(*rows[-len(TASKS) - 1 :], sep="\n", flush=True)
    write(rows, options)


def copies(path: Path):
    """Yield (voxels, affine) of the CT, deformed: up to 12 mm, and up to a tenth larger or smaller."""
    source = nibabel.load(path)
    voxels = np.clip(source.get_fdata(dtype=np.float32), *WINDOW_HU)
    for seed in range(PEOPLE):
        rng = np.random.default_rng(seed)
        moves = [ndimage.gaussian_filter(rng.standard_normal(voxels.shape), 10) for _ in range(3)]
        moves = [4 * move / np.abs(move).max() for move in moves]
        scale = rng.uniform(0.92, 1.08, 3)
        grid = np.indices(voxels.shape, dtype=np.float32)
        middle = np.array(voxels.shape)[:, None, None, None] / 2
        places = (grid - middle) * scale[:, None, None, None] + middle + np.stack(moves)
        moved = ndimage.map_coordinates(voxels, places, order=1, mode="nearest")
        yield moved + 12 * rng.standard_normal(moved.shape), source.affine


def phantoms():
    """Yield (voxels, affine) of bodies of 3 mm voxels: a trunk with spine, liver, kidneys, aorta and fat."""
    shape = (104, 80, 96)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), axis=-1)

    def inside(centre, half):
        return (((grid - centre) / half) ** 2).sum(-1) < 1

    for seed in range(PEOPLE):
        rng = np.random.default_rng(1000 + seed)

        def near(*values, rng=rng, by=0.05):
            return np.array(values) + rng.uniform(-by, by, len(values))

        body = np.full(shape, -1000.0, np.float32)
        trunk = near(0.85, 0.75, 2.0, by=0.04)
        body[inside((0, 0, 0), trunk)] = -100 + rng.uniform(-15, 15)
        body[inside((0, 0.02, 0), trunk * (0.9, 0.86, 1))] = 45 + rng.uniform(-10, 10)
        organs = (
            ((0.38, 0.1, 0.25), (0.36, 0.4, 0.45), 65),
            ((-0.45, -0.1, 0.2), (0.2, 0.25, 0.3), 55),
            ((0.4, -0.35, -0.25), (0.14, 0.16, 0.28), 35),
            ((-0.4, -0.35, -0.25), (0.14, 0.16, 0.28), 35),
            ((-0.05, -0.22, 0), (0.08, 0.09, 2.0), 50),
            ((0.0, -0.5, 0), (0.18, 0.16, 2.0), 300),
        )
        for centre, half, value in organs:
            body[inside(near(*centre), near(*half, by=0.02))] = value + rng.uniform(-12, 12)
        yield ndimage.gaussian_filter(body, 0.6) + 12 * rng.standard_normal(shape), affine


def measure(name: str, folder: Path, people, options: argparse.Namespace) -> list[str]:
    normals, kept = folder / "normals", folder / "kept"
    for part in (normals, kept):
        part.mkdir(parents=True)
    for index, (voxels, affine) in enumerate(people):
        place = kept if index >= PEOPLE - KEPT_OUT else normals
        nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), affine), place / f"{index:02d}.nii.gz")
    settings = TrainSettings(
        normals=(normals,),
        region="body",
        begin_with=checkpoint.DEFAULT,
        out=folder / "body.safetensors",
        name="body",
        minutes=options.minutes,
        steps=100_000,
        pool=8,
        threads=options.threads,
        scans_per_step=1,
        held_out_every=4,
    )
    detector = checkpoint.load(drain(train(settings)))
    steps = f"{detector.provenance['steps']} steps, voxels of {detector.card.spacing_mm:g} mm"
    looked = DetectSettings(stability=False, anatomy=False)
    ranked: dict[str, list[float]] = {task: [] for task in TASKS}
    overlap: dict[str, list[float]] = {task: [] for task in TASKS}
    scores: dict[str, list[float]] = {task: [] for task in ("normal", *TASKS)}
    false = []
    for path in sorted(kept.glob("*.nii.gz")):
        scan = io.read_scan(path)
        normal = drain(detect(scan, detector, looked)).map
        scores["normal"].append(normal.scan_score)
        false.append(len(found_in(normal)))
        voxels = torch.from_numpy(np.array(scan.voxels, np.float32))
        low, high = WINDOW_HU
        shown = (voxels - low) / (high - low)
        outline = silhouette(shown)
        for number, task in enumerate(TASKS):
            painted = paint_unseen(shown, outline, task, np.random.default_rng(number))
            image = np.where(outline.numpy(), painted.image.numpy() * (high - low) + low, scan.voxels)
            seen = drain(detect(replace(scan, voxels=image.astype(np.float32)), detector, looked)).map
            truth, inside = painted.truth.numpy(), seen.score > 0
            ranked[task].append(Curve.of(seen.raw[inside], truth[inside]).average_precision)
            mask = found_in(seen).mask > 0
            overlap[task].append(2 * (mask & truth).sum() / max(1, mask.sum() + truth.sum()))
            scores[task].append(seen.scan_score)
    lines = [f"| {name} | none | | | {np.mean(false):.1f} | |"]
    for task in TASKS:
        pooled = np.array([*scores["normal"], *scores[task]])
        apart = auroc(pooled, np.arange(len(pooled)) >= len(scores["normal"]))
        lines.append(
            f"| {steps} | {task} | {np.mean(ranked[task]):.2f} | {np.mean(overlap[task]):.2f} | | {apart:.2f} |"
        )
    return lines


def found_in(made):
    return find(made, made.default_threshold, min_volume_mm3=made.default_min_volume_mm3)


def write(rows: list[str], options: argparse.Namespace) -> None:
    lines = [
        "# Another region than the brain",
        "",
        "A detector for any region is made from a folder of normal scans, without label maps: "
        "[how to](../how-to/train.md). Here that is done on an abdomen CT and on phantoms of bodies, "
        f"{PEOPLE - KEPT_OUT} normals each, {options.minutes:g} minutes of training on a CPU that others were "
        f"using, too, begun with the weights of `{checkpoint.DEFAULT}`; "
        f"{KEPT_OUT} more took no part and carry synthetic tasks that training never paints.",
        "",
        f"Made by `python benchmarks/body_recipe.py CT --minutes {options.minutes:g}`. AP and Dice are means over the "
        "voxels that were looked at, Dice at the detector's own threshold; AUROC tells painted from normal scans by "
        "the scan score.",
        "",
        "| normals | painted | AP | Dice | false findings a normal | AUROC |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "All copies of the CT are one person's, deformed: this shows that the recipe runs on CT, sees all of the "
        "field of view and finds what is painted. It says nothing of other people; that takes scans of several.",
    ]
    write_page(OUT, "\n".join(lines))


if __name__ == "__main__":
    main()
