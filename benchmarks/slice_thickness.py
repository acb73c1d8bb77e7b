"""How detection fares on thicker slices of the same patients: docs/results/slice-thickness.md.

    python benchmarks/slice_thickness.py FOLDER [--detector brain-mri] [--slices 1 3 5 8]

FOLDER holds one folder per patient with scans and one ``*mask*.nii.gz`` on their grid. Slices are averaged in groups
along the axis that runs from feet to head, as a scanner with thicker slices would; a voxel of the truth is a lesion
where more than half of it was one. Everything else is the detector's own, fixed before.
"""

import argparse
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from pages import write_page
from real_cases import average_precision, scans_of

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.evaluation.protocol import read_truth
from napari_anomaly.findings import find
from napari_anomaly.progress import drain

OUT = Path(__file__).parents[1] / "docs" / "results" / "slice-thickness.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default=checkpoint.DEFAULT)
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 3, 5, 8])
    options = parser.parse_args()
    detector = checkpoint.load(options.detector)
    rows: dict[str, list[tuple[str, float, float]]] = {}
    thickness = 1.0
    with tempfile.TemporaryDirectory() as place:
        for path, mask in scans_of(options.folder):
            name = f"{mask.parent.name}, {path.name.split('.')[0]}"
            for count in options.slices:
                thin = (
                    thicker(path, count, Path(place) / "scan.nii.gz"),
                    thicker(mask, count, Path(place) / "truth.nii.gz", truth=True),
                )
                rows.setdefault(name, []).append(measure(*thin, detector))
                print(name, count, rows[name][-1], flush=True)
            thickness = float(nibabel.load(path).header.get_zooms()[axis_of(path)])
    write(rows, detector, [count * thickness for count in options.slices])


def axis_of(path: Path) -> int:
    """Axis of the file that runs from feet to head."""
    return next(i for i, code in enumerate(nibabel.aff2axcodes(nibabel.load(path).affine)) if code in "SI")


def thicker(path: Path, count: int, out: Path, *, truth: bool = False) -> Path:
    """Average every `count` slices and write them."""
    image, axis = nibabel.load(path), axis_of(path)
    voxels = np.moveaxis(image.get_fdata(dtype=np.float32), axis, -1)
    number = voxels.shape[-1] // count
    voxels = (voxels > 0 if truth else voxels)[..., : number * count]
    mean = np.moveaxis(voxels.reshape(*voxels.shape[:2], number, count).mean(-1), -1, axis)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (count - 1) / 2
    affine[:3, axis] *= count
    nibabel.save(nibabel.Nifti1Image((mean > 0.5).astype(np.uint8) if truth else mean, affine), out)
    return out


def measure(path: Path, mask: Path, detector: checkpoint.Detector) -> tuple[str, float, float]:
    """Contrast that the detector sees, AP, and Dice of the findings at its threshold."""
    scan = io.read_scan(path)
    truth = read_truth(io.read_scan(mask), scan)
    found = drain(detect(scan, detector, DetectSettings(anatomy=False, stability=False)))
    mine = (
        find(found.map, found.map.default_threshold, min_volume_mm3=found.map.default_min_volume_mm3).mask > 0
    )
    dice = 2 * (mine & truth).sum() / max(1, mine.sum() + truth.sum())
    return found.contrast, average_precision(found, truth), float(dice)


def write(rows: dict, detector: checkpoint.Detector, thicknesses: list[float]) -> None:
    heads = [f"{thickness:g} mm" for thickness in thicknesses]
    lines = [
        "# Thicker slices",
        "",
        f"Detector {detector.name} {detector.version}, sha256 {detector.sha256[:16]}. The scans of "
        "[real patients](real-cases.md) with their slices averaged in groups, from feet to head. AP, and Dice of the "
        "findings at the detector's own threshold; what the detector takes the scan for stands beside it where that "
        "changes.",
        "",
        "Made by `python benchmarks/slice_thickness.py FOLDER`.",
        "",
        f"| scan | {' | '.join(f'AP, {head}' for head in heads)} | {' | '.join(f'Dice, {head}' for head in heads)} |",
        "|" + "---|" * (2 * len(heads) + 1),
    ]
    for name, found in rows.items():
        first = found[0][0]
        ranked = [f"{ap:.2f}" + (f" ({seen})" if seen != first else "") for seen, ap, _ in found]
        lines.append(f"| {name} | {' | '.join(ranked)} | {' | '.join(f'{dice:.2f}' for *_, dice in found)} |")
    means = [
        np.mean([[ap, dice] for _, ap, dice in column], axis=0) for column in zip(*rows.values(), strict=True)
    ]
    cells = [f"{value:.2f}" for value in [*(ap for ap, _ in means), *(dice for _, dice in means)]]
    lines.append(f"| mean | {' | '.join(cells)} |")
    write_page(OUT, "\n".join(lines))
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
