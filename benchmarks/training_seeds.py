"""Train the networks anew with several seeds and compare 2D alone, 3D alone and joint: docs/results/training-seeds.md.

    python benchmarks/training_seeds.py --normals DIR... --label-maps DIR --lesion-shapes DIR --cases DIR --keep DIR
        [--steps 300] [--seeds 1 2 3] [--threads 1]

Every training begins from random weights and takes the same number of steps; seeds decide the weights, the scans and
what is painted. All are measured on the same held-out normals, plain and with the six tasks that training never paints
(pretask/unseen.py), and on the patients of ``--cases`` (a folder each, with scans and one ``*mask*.nii.gz``). A
training that was stopped goes on, and one that was measured is not repeated: both lie in ``--keep``.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from pages import write_page
from real_cases import scans_of
from unseen_tasks import KINDS, WAYS, held_out, look_at

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.engine import OpenVinoEngine
from napari_anomaly.detector.seen import as_seen
from napari_anomaly.detector.tiling import score
from napari_anomaly.evaluation.metrics import Curve
from napari_anomaly.evaluation.protocol import read_truth
from napari_anomaly.preprocess import place, prepare, resample
from napari_anomaly.pretask.unseen import TASKS
from napari_anomaly.progress import drain
from napari_anomaly.training.finish import DEFAULT_SMOOTHING_MM
from napari_anomaly.training.run import Run, fit, resume, start
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Candidate, candidates, read_library, read_subjects, strip

OUT = Path(__file__).parents[1] / "docs" / "results" / "training-seeds.md"
MEASURED_WITH = 1


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    measured = []
    for seed in options.seeds:
        measured.append(known(options, f"{options.steps}-steps-seed-{seed}", seed))
        write(measured, options)
    print(OUT.read_text(encoding="utf-8"))


def parser_of(doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--normals", type=Path, nargs="+", required=True)
    parser.add_argument("--label-maps", type=Path)
    parser.add_argument("--lesion-shapes", type=Path, nargs="+", default=[])
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def known(options: argparse.Namespace, name: str, seed: int, **choices) -> dict:
    """Figures of a training, which is made and measured where the folder that keeps them lacks it."""
    file = options.keep / f"{name}.json"
    if not file.exists():
        run = trained(options, seed, file.with_suffix(".checkpoint.safetensors"), **choices)
        file.write_text(json.dumps(figures(run, options), indent=1), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def trained(
    options: argparse.Namespace,
    seed: int,
    file: Path,
    *,
    steps: int = 0,
    every: int = 1,
    widths: tuple[tuple[int, ...], ...] = (),
) -> Run:
    """Train from random weights; brains are found by the bundled detector, which is not what is compared.

    ``steps`` other than the options say, from ``every`` n-th normal of the list, with other ``widths`` of the networks.
    """
    settings = TrainSettings(
        normals=tuple(options.normals),
        label_maps=options.label_maps,
        lesion_shapes=tuple(options.lesion_shapes),
        steps=steps or options.steps,
        pool=28,
        renew_every=6,
        threads=options.threads,
        seed=seed,
        device="cpu",
    )
    run = start(settings, torch.device("cpu"), widths)
    found = candidates(settings)[0][::every]
    run.normals = tuple(sorted(candidate.path.name for candidate in found))
    if file.exists():
        resume(run, file)
    if run.progress < 1:
        extraction = checkpoint.load(checkpoint.DEFAULT).extraction
        subjects = [
            strip(item, extraction) if isinstance(item, Candidate) else item
            for _, item in read_subjects(found)
        ]
        for progress in fit(run, subjects, read_library(settings.lesion_shapes), file):
            if run.step % 20 == 0:
                print(file.name, progress.text, flush=True)
    return run


def figures(run: Run, options: argparse.Namespace) -> dict:
    """Everything that is measured of one training."""
    network = run.average.module.eval()
    engine = OpenVinoEngine(network, None)
    subjects = held_out(options, checkpoint.load(checkpoint.DEFAULT))
    return {
        "seed": run.settings.seed,
        "steps": run.step,
        "minutes": round(run.seconds / 60, 1),
        "learned_from": len(run.normals),
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "normals": len(subjects),
        "tasks": look_at(engine, subjects, [MEASURED_WITH], smoothing_mm=DEFAULT_SMOOTHING_MM),
        "patients": patients(engine, options.cases) if options.cases else {},
    }


def patients(engine: OpenVinoEngine, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Average precision and best Dice of every way on every scan of a patient."""
    extraction = checkpoint.load(checkpoint.DEFAULT).extraction
    found: dict[str, dict[str, list[float]]] = {}
    for path, mask_path in scans_of(folder):
        scan = io.read_scan(path)
        seen = prepare(scan, extraction, device=torch.device("cpu"))
        lesions = torch.from_numpy(read_truth(io.read_scan(mask_path), scan).astype(np.float32))
        truth = place(resample(lesions, seen.canonical), seen.image.shape, seen.centre).numpy() > 0.5
        shown = as_seen(seen.image, seen.mask, engine.atlas, even=True, ceiling=True)
        raw, inside = drain(score(engine, shown, seen.mask)), seen.mask.numpy()
        curves = {way: Curve.of(getattr(raw, way).numpy()[inside], truth[inside]) for way in WAYS}
        found[f"{mask_path.parent.name}, {scan.name}"] = {
            way: [curve.average_precision, curve.best_dice()[0]] for way, curve in curves.items()
        }
    return found


def write(measured: list[dict], options: argparse.Namespace) -> None:
    """Write the page: every training, and their mean."""
    minutes = ", ".join(f"{one['minutes']:.0f}" for one in measured)
    lines = [
        "# Three trainings: 2D alone, 3D alone, joint",
        "",
        f"Trainings from random weights with seeds {', '.join(str(one['seed']) for one in measured)}, "
        f"{options.steps} steps each ({minutes} minutes), otherwise as the bundled detector is trained; averaged "
        f"weights. {measured[0]['normals']} held-out normals, the same for all, untouched and with each of the six "
        "tasks of Kang & Park (2022) that training never paints. Figures are means over the tasks: voxel AP and best "
        "Dice of each scan; scans painted against untouched, ranked by their scan score. Far fewer steps than the "
        "bundled weights had: this compares ways, and is no measure of the product.",
        "",
        "Made by `python benchmarks/training_seeds.py --normals DIR... --label-maps DIR --lesion-shapes DIR "
        f"--cases DIR --keep DIR --steps {options.steps}`.",
        "",
    ]
    means = {
        kind: {way: np.mean([one["tasks"][way][kind] for one in measured]) for way in WAYS} for kind in KINDS
    }
    leads = [kind for kind, of in means.items() if of["joint"] > max(of["plane"], of["volume"])]
    lines += [f"In the mean of the trainings joint leads 2D and 3D in: {', '.join(leads) or 'nothing'}.", ""]
    for kind in KINDS:
        values = {way: [float(np.mean(one["tasks"][way][kind])) for one in measured] for way in WAYS}
        lines += [
            f"## Six tasks: {kind}",
            "",
            *table(values, [f"seed {one['seed']}" for one in measured]),
            "",
        ]
    lines += ["## Six tasks, one by one: voxel AP, mean over the trainings", ""]
    lines += [f"| networks | {' | '.join(TASKS)} |", "|" + "---|" * (len(TASKS) + 1)]
    for way, name in WAYS.items():
        by_task = np.mean([one["tasks"][way]["voxel AP"] for one in measured], axis=0)
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in by_task) + " |")
    lines.append("")
    if measured[0]["patients"]:
        for title, of in (("voxel AP", 0), ("voxel Dice, best threshold of each scan", 1)):
            lines += [f"## Patients: {title}, mean over the trainings", ""]
            lines += ["| scan | " + " | ".join(WAYS.values()) + " |", "|" + "---|" * (len(WAYS) + 1)]
            scans = list(measured[0]["patients"])
            grid = np.array(
                [[[one["patients"][scan][way][of] for way in WAYS] for scan in scans] for one in measured]
            ).mean(0)
            lines += [
                f"| {scan} | " + " | ".join(f"{value:.3f}" for value in row) + " |"
                for scan, row in zip([*scans, "mean"], [*grid, grid.mean(0)], strict=True)
            ]
            lines.append("")
    write_page(OUT, "\n".join(lines))


def table(values: dict[str, list[float]], heads: list[str]) -> list[str]:
    lines = [f"| networks | {' | '.join(heads)} | mean | sd |", "|" + "---|" * (len(heads) + 3)]
    for way, name in WAYS.items():
        own = values[way]
        spread = f"{np.std(own, ddof=1):.3f}" if len(own) > 1 else ""
        lines.append(
            f"| {name} | "
            + " | ".join(f"{value:.3f}" for value in own)
            + f" | {np.mean(own):.3f} | {spread} |"
        )
    return lines


if __name__ == "__main__":
    main()
