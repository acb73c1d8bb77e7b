"""False findings of a detector on real normal scans as they are, and patients told from them by the scan score.

    python benchmarks/normal_scans.py --normals DIR... --patients FOLDER [--detector brain-mri]

Normals are the files of the given folders that training held out (the same folders must be given as in training).
FOLDER is that of benchmarks/real_cases.py. Writes docs/results/normal-scans.md.
"""

import argparse
from pathlib import Path

import numpy as np
from pages import write_page
from real_cases import scans_of

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.evaluation.metrics import auroc
from napari_anomaly.findings import find
from napari_anomaly.progress import drain
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import candidates

OUT = Path(__file__).parents[1] / "docs" / "results" / "normal-scans.md"
QUICK = DetectSettings(stability=False, anatomy=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normals", type=Path, nargs="+", required=True)
    parser.add_argument("--patients", type=Path, required=True)
    parser.add_argument("--detector", default=checkpoint.DEFAULT)
    options = parser.parse_args()
    detector = checkpoint.load(options.detector)
    normals = [held.path for held in candidates(TrainSettings(normals=tuple(options.normals)))[1]]
    missing = {path.name for path in normals} - set(detector.provenance["held_out"])
    if missing:
        raise SystemExit(f"The training of {detector.name} did not hold out {', '.join(sorted(missing))}.")
    patients = [path for path, _ in scans_of(options.patients)]
    rows, false, scores = [], [], {"normal": [], "patient": []}
    for kind, paths in (("normal", normals), ("patient", patients)):
        for path in paths:
            found = drain(detect(io.read_scan(path), detector, QUICK))
            scores[kind].append(found.map.scan_score)
            name = path.name.split(".")[0]
            label = name if kind == "normal" else f"{path.parent.name} {name}"
            made = found.map
            findings = find(made, made.default_threshold, min_volume_mm3=made.default_min_volume_mm3)
            ml = sum(finding.volume_mm3 for finding in findings) / 1000
            rows.append(
                f"| {kind} | {label} | {found.contrast} | {len(findings)} | {ml:.2f} | {made.scan_score:.3f} |"
            )
            if kind == "normal":
                false.append(len(findings))
            print(rows[-1], flush=True)
    write(detector, rows, false, scores, people=len({path.parent for path in patients}))


def write(
    detector: checkpoint.Detector,
    rows: list[str],
    false: list[int],
    scores: dict[str, list[float]],
    *,
    people: int,
) -> None:
    pooled = np.array([*scores["normal"], *scores["patient"]])
    apart = auroc(pooled, np.arange(len(pooled)) >= len(scores["normal"]))
    lines = [
        "# Normal scans as they are",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}, at its own thresholds. The "
        "normals are real scans that training held out, untouched; deformed copies of them took part in the "
        "calibration, so their number of false findings is no independent test.",
        "",
        f"**{np.mean(false):.2f} false findings a normal scan. AUROC of patients against normals by the scan score: "
        f"{apart:.2f}** "
        f"({len(scores['patient'])} scans of {people} patients, {len(scores['normal'])} of normals). "
        "So few people, of other scanners and mostly of other contrasts than the normals, say little: more than "
        "illness tells them apart.",
        "",
        "Made by `python benchmarks/normal_scans.py --normals DIR... --patients FOLDER`.",
        "",
        "| who | scan | seen as | findings | ml | scan score |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    write_page(OUT, "\n".join(lines))


if __name__ == "__main__":
    main()
