"""What steps, normals and the size of the networks are worth: docs/results/training-curves.md.

    python benchmarks/training_curves.py --normals DIR... --label-maps DIR --lesion-shapes DIR --cases DIR --keep DIR
        [--steps 300] [--seed 1] [--threads 1]

Trainings from random weights that differ in one thing each, measured as in training_seeds.py. With the folder that it
keeps its trainings in, the first one is taken from there.
"""

import argparse

import numpy as np
import torch
from pages import write_page
from training_seeds import OUT as SEEDS
from training_seeds import known, parser_of

OUT = SEEDS.with_name("training-curves.md")
HALF = ((12, 24, 48, 80), (12, 24, 48, 64))
FEWER = 8
KINDS = ("voxel AP", "voxel Dice", "scan AUROC")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    few = options.steps // 3
    arms: list[tuple[str, str, dict]] = [
        ("all of it", "seed", {}),
        (f"{few} steps", f"steps-{few}", {"steps": few}),
        (f"every {FEWER}th normal", f"every-{FEWER}", {"every": FEWER}),
        ("half the channels", "half", {"widths": HALF}),
    ]
    rows = []
    for name, file, choices in arms:
        one = known(options, f"{options.steps}-steps-{file}-{options.seed}", options.seed, **choices)
        rows.append((name, one))
        write(rows, options)
    print(OUT.read_text(encoding="utf-8"))


def write(rows: list[tuple[str, dict]], options: argparse.Namespace) -> None:
    """Write the page; all figures are of the joint output."""
    lines = [
        "# What steps, normals and the size of the networks are worth",
        "",
        f"Trainings from random weights, seed {options.seed}; each differs in one thing from the first. Joint output, "
        f"averaged weights; {rows[0][1]['normals']} held-out normals with the six tasks that training never paints "
        "(means over the tasks), and real patients (means over their scans). One seed each: differences below the "
        "spread between seeds ([three trainings](training-seeds.md)) say nothing.",
        "",
        "Made by `python benchmarks/training_curves.py --normals DIR... --label-maps DIR --lesion-shapes DIR "
        f"--cases DIR --keep DIR --steps {options.steps}`.",
        "",
        "| training | steps | normals | parameters | minutes | six tasks: voxel AP | voxel Dice | scan AUROC "
        "| patients: voxel AP | voxel Dice |",
        "|" + "---|" * 10,
    ]
    for name, one in rows:
        tasks = [float(np.mean(one["tasks"]["joint"][kind])) for kind in KINDS]
        cases = [ways["joint"] for ways in one["patients"].values()]
        shown = " | ".join(f"{value:.3f}" for value in [*tasks, *np.mean(cases or [[np.nan] * 2], axis=0)])
        lines.append(
            f"| {name} | {one['steps']} | {one['learned_from']} | {one['parameters']:,} | {one['minutes']:.0f} "
            f"| {shown} |"
        )
    write_page(OUT, "\n".join(lines))


if __name__ == "__main__":
    main()
