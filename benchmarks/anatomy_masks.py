"""What the global binary mask is worth, and how well the bundled anatomy network labels: docs/results/anatomy.md.

    python benchmarks/anatomy_masks.py LABELS --heads HEADS [--cases 1 2 4 8 16] [--steps 800]

LABELS holds whole-head label maps with FreeSurfer's numbers, HEADS T1 heads with <scan>_DLMUSE beside them (those that
the bundled network never saw are measured). Figures that are in docs/results/anatomy.json already, made with the same
settings, are kept: an interrupted run goes on.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_anomaly.anatomy import STRUCTURES
from napari_anomaly.detector.anatomy import load_anatomy
from napari_anomaly.evaluation.anatomy import Overlap, overlaps
from napari_anomaly.networks.anatomy import AnatomyNetwork, to_labels
from napari_anomaly.training.anatomy_cases import (
    AnatomyCase,
    Example,
    make_example,
    mirrored,
    read_lobes,
    read_whole,
)
from napari_anomaly.training.anatomy_fit import CHANNELS, anatomy_loss, named, seen_by
from napari_anomaly.training.atlases import UNKNOWN

OUT = Path(__file__).parents[1] / "docs" / "results"
HELD_OUT = ("seg_04", "seg_08", "seg_12", "seg_16")
SPACING, BUNDLED_SPACING = 6.0, 3.0
WIDTHS = (24, 48, 64)
POOL, TEST_SCANS = 48, 2
CPU = torch.device("cpu")

# stated before the first run: what a reader of brain scans would call the large structures
REGIONS = {
    "cerebrum": ("cerebral white matter", "cerebral cortex"),
    "deep grey matter": ("thalamus", "caudate", "putamen", "pallidum"),
    "lateral ventricle": ("lateral ventricle",),
    "hippocampus and amygdala": ("hippocampus", "amygdala"),
    "cerebellum": ("cerebellar cortex", "cerebellar white matter"),
    "brainstem": ("brainstem",),
}


def numbers_of(labels: torch.Tensor) -> torch.Tensor:
    """Place of the region of every label in REGIONS, counted from 1; 0 elsewhere, UNKNOWN stays."""
    table = torch.zeros(UNKNOWN + 1, dtype=torch.long)
    for number, wholes in enumerate(REGIONS.values(), start=1):
        table[[n for n, structure in enumerate(STRUCTURES) if structure.part_of in wholes]] = number
    table[UNKNOWN] = UNKNOWN
    return table[labels]


def with_sides(numbers: torch.Tensor, left: torch.Tensor) -> np.ndarray:
    """Number of the region on its side: 10 times the region, and 1 more on the left; the brainstem has none."""
    paired = numbers != 1 + list(REGIONS).index("brainstem")
    return (10 * numbers + (left & paired & (numbers > 0))).numpy()


SIDED = {
    f"{'left' if left else 'right'} {name}" if name != "brainstem" else name: (10 * number + left,)
    for number, name in enumerate(REGIONS, start=1)
    for left in ((0, 1) if name != "brainstem" else (0,))
}


def pool_of(cases: list[AnatomyCase], count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        coarser(make_example(cases[index % len(cases)], rng, CPU, stripped=False, diseased=0.0))
        for index in range(count)
    ]


def coarser(example: Example) -> Example:
    """The same scan in voxels of 6 mm: an eighth of the time, and fine enough for regions of this size."""
    # the commonest label of the eight voxels
    cells = example.truth.unfold(0, 2, 2).unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)
    inputs = torch.nn.functional.avg_pool3d(example.inputs, 2)
    return replace(example, inputs=inputs, truth=cells.mode(dim=-1).values)


def train(arm: str, pool: list[Example], steps: int, seed: int) -> AnatomyNetwork:
    """Train one arm without an atlas; all arms of a pool see the same scans in the same order."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = AnatomyNetwork(len(REGIONS) + 1, WIDTHS, ())
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.1)
    partition = torch.arange(len(REGIONS) + 1)
    for _ in range(steps):
        example = pool[int(rng.integers(len(pool)))]
        example = mirrored(example) if rng.random() < 0.5 else example
        # the whole field of view, since where the brain ends is what the mask tells
        logit = network(seen_by(arm, example.inputs))
        loss = anatomy_loss(logit, numbers_of(example.truth), named(example.truth)[1], partition)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    return network.eval()


def measure(arm: str, network: AnatomyNetwork, tests: list[Example]) -> dict[str, list[list[float]]]:
    """Dice and distance of every region in every test scan."""
    figures: dict[str, list[list[float]]] = {}
    for example in tests:
        with torch.inference_mode():
            logit = network(seen_by(arm, example.inputs))[0]
        numbers = logit[:-1].argmax(0)
        numbers[example.truth == UNKNOWN] = 0
        truth = numbers_of(example.truth)
        truth[example.truth == UNKNOWN] = 0
        labelled = with_sides(numbers, logit[-1] > 0)
        right = with_sides(truth, named(example.truth)[1] == 1)
        for name, overlap in overlaps(labelled, right, SIDED, spacing_mm=SPACING).items():
            figures.setdefault(name, []).append([overlap.dice, apart(overlap)])
    return figures


def apart(overlap: Overlap) -> float:
    # a region that was not found at all is as wrong as half a head
    return 75.0 if overlap.apart_mm is None else overlap.apart_mm


def experiment(labels: Path, counts: list[int], steps: int, kept: dict[str, dict]) -> None:
    paths = sorted(labels.glob("*.nii*"))
    held = [path for path in paths if path.name.split(".")[0] in HELD_OUT]
    trained = [path for path in paths if path not in held]
    cases: list[AnatomyCase] = []
    tests: list[Example] = []
    for count in counts:
        missing = [arm for arm in CHANNELS if f"{arm} {count} {steps}" not in kept]
        if not missing:
            continue
        cases += [read_whole(path) for path in trained[len(cases) : count]]
        tests = tests or pool_of([read_whole(path) for path in held], TEST_SCANS * len(held), seed=77)
        pool = pool_of(cases[:count], POOL, seed=count)
        for arm in missing:
            began = time.process_time()
            figures = measure(arm, train(arm, pool, steps, seed=1), tests)
            kept[f"{arm} {count} {steps}"] = {
                "arm": arm,
                "cases": count,
                "steps": steps,
                "cpu_seconds": round(time.process_time() - began),
                "figures": figures,
            }
            save(kept)
            print(arm, count, round(mean_of(figures, 0), 3), flush=True)


def bundled(labels: Path, heads: Path | None, kept: dict[str, dict]) -> None:
    """Dice of every structure in scans of brains that the bundled network never saw."""
    labeller = load_anatomy()
    held = set(labeller.card.provenance["held_out"])
    cases = [read_whole(path) for path in sorted(labels.glob("*.nii*")) if path.name in held]
    if heads is not None:
        for path in sorted(path for path in heads.glob("*.nii*") if path.name in held):
            cases.append(read_lobes(path, path.with_name(path.name.replace(".nii", "_DLMUSE.nii", 1))))
    rng = np.random.default_rng(5)
    figures: dict[str, list[list[float]]] = {}
    for case in cases:
        groups = groups_of(lobes=case.scan is not None)
        for _ in range(TEST_SCANS):
            example = make_example(case, rng, CPU)
            with torch.inference_mode():
                labels = to_labels(labeller.network(example.inputs)[0])
            known = (example.inputs[0, 1] >= 0.5) & (example.truth != UNKNOWN)
            labels, truth = (torch.where(known, values, 0).numpy() for values in (labels, example.truth))
            for name, overlap in overlaps(labels, truth, groups, spacing_mm=BUNDLED_SPACING).items():
                own = name.removeprefix("left ").removeprefix("right ")
                figures.setdefault(own, []).append([overlap.dice, apart(overlap)])
    kept["bundled"] = {"cases": [case.name for case in cases], "figures": figures}
    save(kept)


def groups_of(*, lobes: bool) -> dict[str, list[int]]:
    """Labels of what a label map tells apart, by side and name."""
    groups: dict[str, list[int]] = {}
    for label, structure in enumerate(STRUCTURES[1:], start=1):
        name = structure.name if lobes else structure.part_of
        groups.setdefault(f"{structure.side} {name}".strip(), []).append(label)
    return groups


def mean_of(figures: dict[str, list[list[float]]], column: int) -> float:
    return float(np.mean([np.nanmean(np.array(values)[:, column]) for values in figures.values()]))


def save(kept: dict[str, dict]) -> None:
    (OUT / "anatomy.json").write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


def rows_of_arms(kept: dict[str, dict], steps: int) -> list[str]:
    rows = []
    runs = {(r["arm"], r["cases"]): r["figures"] for r in kept.values() if r.get("steps") == steps}
    for count in sorted({count for _, count in runs}):
        cells = []
        for arm in ("mask", "image", "image+mask"):
            figures = runs.get((arm, count))
            cells.append("|" if figures is None else f"{mean_of(figures, 0):.3f} | {mean_of(figures, 1):.1f}")
        both, image = runs.get(("image+mask", count)), runs.get(("image", count))
        gain = (
            ""
            if both is None or image is None
            else f"{100 * (mean_of(both, 0) / mean_of(image, 0) - 1):+.1f} %"
        )
        rows.append(f"| {count} | {' | '.join(cells)} | {gain} |")
    return rows


def rows_of_regions(kept: dict[str, dict], steps: int) -> list[str]:
    counts = [r["cases"] for r in kept.values() if r.get("steps") == steps]
    runs = {(r["arm"], r["cases"]): r["figures"] for r in kept.values() if r.get("steps") == steps}
    rows = []
    for name in REGIONS:
        cells = []
        for count in (min(counts), max(counts)):
            for arm in ("mask", "image", "image+mask"):
                figures = runs.get((arm, count), {})
                own = {key: value for key, value in figures.items() if key.endswith(name)}
                cells.append(f"{mean_of(own, 0):.2f}" if own else "")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def rows_of_bundled(figures: dict[str, list[list[float]]]) -> list[str]:
    return [
        f"| {name} | {np.nanmean(np.array(values)[:, 0]):.2f} | {np.nanmean(np.array(values)[:, 1]):.1f} |"
        for name, values in sorted(figures.items(), key=lambda item: -np.nanmean(np.array(item[1])[:, 0]))
    ]


def write(kept: dict[str, dict], steps: int) -> None:
    facts = load_anatomy().card.provenance
    counts = [r["cases"] for r in kept.values() if r.get("steps") == steps]
    template = (Path(__file__).with_name("anatomy_masks.template.md")).read_text(encoding="utf-8")
    text = template.format(
        steps=steps,
        widths="-".join(map(str, WIDTHS)),
        pool=POOL,
        tests=TEST_SCANS * len(HELD_OUT),
        held=", ".join(HELD_OUT),
        arms="\n".join(rows_of_arms(kept, steps)),
        few=min(counts),
        many=max(counts),
        regions="\n".join(rows_of_regions(kept, steps)),
        trained=len(facts["trained_on"]),
        network_steps=facts["steps"],
        minutes=facts["minutes"],
        seed=facts["settings"]["seed"],
        scans=TEST_SCANS * len(kept["bundled"]["cases"]),
        never=", ".join(kept["bundled"]["cases"]),
        bundled="\n".join(rows_of_bundled(kept["bundled"]["figures"])),
    )
    (OUT / "anatomy.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = OUT / "anatomy.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    experiment(options.labels, options.cases, options.steps, kept)
    bundled(options.labels, options.heads, kept)
    write(kept, options.steps)


if __name__ == "__main__":
    main()
