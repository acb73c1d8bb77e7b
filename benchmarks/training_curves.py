"""What steps, normals and the size of the networks are worth: docs/results/training-curves.md.

    python benchmarks/training_curves.py --normals DIR... --label-maps DIR --lesion-shapes DIR --cases DIR --keep DIR
        [--steps 300] [--seed 1] [--threads 1]

Trainings from random weights that differ in one thing each, measured as in training_seeds.py; with the same folder to
keep them in, the one with everything is the one of that table.
"""

import numpy as np
import torch
from training_seeds import OUT as SEEDS
from training_seeds import known, parser_of

from napari_anomaly.networks.joint import WIDTHS, Widths

OUT = SEEDS.with_name("training-curves.md")
FEWER = 8
HALF: Widths = tuple(tuple(channels // 2 for channels in level) for level in WIDTHS)  # type: ignore[assignment]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    few = options.steps // 3
    arms = {
        f"all normals, networks that ship, {options.steps} steps": (
            f"{options.steps}-steps-seed-{options.seed}",
            {},
        ),
        f"{few} steps": (f"{few}-steps-seed-{options.seed}", {"steps": few}),
        "half the channels": (f"{options.steps}-steps-half-{options.seed}", {"widths": HALF}),
        f"every {FEWER}th normal": (f"{options.steps}-steps-fewer-{options.seed}", {"fewer": FEWER}),
    }
    rows = []
    for name, (file, choices) in arms.items():
        rows.append((name, known(options, file, seed=options.seed, **choices)))
        write(rows, options)
    print(OUT.read_text(encoding="utf-8"))


def write(rows: list[tuple[str, dict]], options) -> None:
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
        "| training | normals | parameters | minutes | six tasks: voxel AP | voxel Dice | scan AUROC "
        "| patients: voxel AP | voxel Dice |",
        "|" + "---|" * 9,
    ]
    for name, one in rows:
        tasks = [
            float(np.mean(one["tasks"]["joint"][kind])) for kind in ("voxel AP", "voxel Dice", "scan AUROC")
        ]
        patients = (
            np.mean([ways["joint"] for ways in one["patients"].values()], axis=0) if one["patients"] else []
        )
        shown = " | ".join(f"{value:.3f}" for value in [*tasks, *patients])
        lines.append(
            f"| {name} | {one['learned_from']} | {one['parameters']:,} | {one['minutes']:.0f} | {shown} |"
        )
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
