"""Measure a detector on real patients and write the table of docs/results/real-cases.md.

    python benchmarks/real_cases.py FOLDER [--detector brain-mri] [--device auto]

FOLDER holds one folder per patient with scans and one ``*mask*.nii.gz`` on their grid. The threshold and
the way to use the networks are the detector's own, fixed before.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pages import write_page
from PIL import Image

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import Detection, detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.evaluation.metrics import Curve
from napari_anomaly.evaluation.protocol import Scored, evaluate_case, read_truth
from napari_anomaly.findings import find
from napari_anomaly.progress import drain

OUT = Path(__file__).parents[1] / "docs" / "results"
WAYS = ("joint", "plane", "volume", "mean")
HEAD = (
    "| patient | scan | seen as | uses | threshold | extent, decades | smallest, mm3 | intensity AP "
    "| joint AP | 2D AP | 3D AP | mean AP | Dice of the findings | best Dice | lesions found | false findings "
    "| scan score | seconds |\n|" + "---|" * 18
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default=checkpoint.DEFAULT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="only the output that the detector uses")
    options = parser.parse_args()
    detector = checkpoint.load(options.detector)
    rows, strips = [], []
    for path, mask_path in scans_of(options.folder):
        row, strip = measure(path, mask_path, detector, options.device, WAYS if not options.quick else ())
        rows.append(row)
        strips.append(strip)
        print(row, flush=True)
    write(rows, strips, detector)


def scans_of(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every scan of every patient with the patient's mask."""
    for mask in sorted(folder.glob("*/*mask*.nii.gz")):
        for path in sorted(mask.parent.glob("*.nii.gz")):
            if path != mask:
                yield path, mask


def measure(
    path: Path, mask_path: Path, detector: checkpoint.Detector, device: str, ways: tuple[str, ...]
) -> tuple[str, np.ndarray]:
    scan = io.read_scan(path)
    truth = read_truth(io.read_scan(mask_path), scan)
    precision: dict[str, float] = {}
    found = drain(detect(scan, detector, DetectSettings(device=device)))
    used = detector.card.by_contrast.get(found.contrast, detector.card.best)
    precision[used] = average_precision(found, truth)
    at, smallest = found.map.default_threshold, found.map.default_min_volume_mm3
    findings = find(found.map, at, min_volume_mm3=smallest)
    seen = f"{found.contrast} | {used} | {at:.5f} | {found.map.hysteresis:.2f} | {smallest:.0f}"
    seconds = sum(found.seconds.values())
    own = evaluate_case(scan, truth, Scored.of_detection(found.map, findings), seconds=seconds)
    strip = picture(scan.voxels, truth, findings.mask > 0)
    for way in ways:
        if way != used:
            settings = DetectSettings(device=device, networks=way, anatomy=False)
            precision[way] = average_precision(drain(detect(scan, detector, settings)), truth)
    intensity = max(own.intensity.bright_average_precision or 0, own.intensity.dark_average_precision or 0)
    ranked = " | ".join(f"{precision[way]:.2f}" if way in precision else "" for way in WAYS)
    lesions = own.lesions
    row = (
        f"| {mask_path.parent.name} | {scan.name} | {seen} | {intensity:.2f} "
        f"| {ranked} | {own.inside.dice:.2f} | {own.inside.best_dice:.2f} "
        f"| {lesions.found}/{lesions.lesions} | {lesions.false_findings} | {own.scan_score:.3f} | {own.seconds:.1f} |"
    )
    return row, strip


def average_precision(found: Detection, truth: np.ndarray) -> float:
    """Over the voxels that the detector looked at."""
    inside = found.map.score > 0
    raw = found.map.score if found.map.raw is None else found.map.raw
    return Curve.of(raw[inside], truth[inside]).average_precision


def picture(voxels: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Scan, scan with truth (green) and findings (red) through the slice with most truth."""
    z = int(truth.sum((1, 2)).argmax())
    plane = np.asarray(voxels[z], np.float32)
    high = np.percentile(voxels[voxels > voxels.min()], 99.5)
    grey = np.clip(plane / high, 0, 1)
    colour = np.stack([grey] * 3, -1)
    colour[truth[z]] = colour[truth[z]] * 0.5 + np.array([0, 0.5, 0])
    colour[found[z]] = colour[found[z]] * 0.6 + np.array([0.4, 0, 0])
    side = np.zeros((240, 480, 3), np.float32)
    h, w = min(240, grey.shape[0]), min(240, grey.shape[1])
    side[:h, :w], side[:h, 240 : 240 + w] = grey[:h, :w, None], colour[:h, :w]
    return (side * 255).astype(np.uint8)


def write(rows: list[str], strips: list[np.ndarray], detector: checkpoint.Detector) -> None:
    lines = [
        "# Real patients",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}; at its own networks, "
        "threshold, extent and smallest finding for the contrast that it sees. No patient took part in training "
        "or calibration. Which weights and calibration ship, and how far findings may extend, was decided with results "
        "on these patients known, so they flatter the detector: measure it on others.",
        "AP is average precision over the voxels that the detector looked at; intensity is plain brightness or "
        "darkness, whichever is better, with the truth in hand.",
        "",
        "Made by `python benchmarks/real_cases.py FOLDER`.",
        "",
        HEAD,
        *rows,
        "",
        "![scan, and truth (green) under findings (red)](real-cases.jpg)",
    ]
    OUT.mkdir(parents=True, exist_ok=True)
    write_page(OUT / "real-cases.md", "\n".join(lines))
    half = -(-len(strips) // 2)
    strips += [np.zeros_like(strips[0])] * (2 * half - len(strips))
    sheet = np.concatenate([np.concatenate(strips[:half]), np.concatenate(strips[half:])], axis=1)
    Image.fromarray(sheet).save(OUT / "real-cases.jpg", quality=85)


if __name__ == "__main__":
    main()
