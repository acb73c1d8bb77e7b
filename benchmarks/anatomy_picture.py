"""Draw the anatomy labels over synthesised and over the bundled real scans: docs/results/anatomy.png.

    python benchmarks/anatomy_picture.py [LABELS]

LABELS holds whole-head label maps with FreeSurfer's numbers; one that the bundled network never saw is drawn. Left is
warm, right is cold, the midline is green; axial and coronal slices in radiological convention.
"""

import argparse
import colorsys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from napari_anomaly import samples
from napari_anomaly.anatomy import NAMES, STRUCTURES, Anatomy
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.anatomy import find_anatomy, label_voxels, load_anatomy
from napari_anomaly.geometry import Geometry
from napari_anomaly.preprocess import prepare
from napari_anomaly.training.anatomy_cases import make_example, read_whole

OUT = Path(__file__).parents[1] / "docs" / "results"
SIDE = 300
HUES = {"left": 0.02, "right": 0.55, "": 0.33}


def palette() -> np.ndarray:
    """Colour of every label: hue by side, brightness and shade by name."""
    colours = np.zeros((len(STRUCTURES), 3))
    for label, structure in enumerate(STRUCTURES[1:], start=1):
        place = NAMES.index(structure.name)
        hue = (HUES[structure.side] + 0.16 * ((place * 7) % 11) / 11) % 1
        colours[label] = colorsys.hsv_to_rgb(
            hue, 0.45 + 0.55 * (place % 2), 0.5 + 0.5 * ((place * 5) % 7) / 6
        )
    return colours


def tile(grey: np.ndarray, labels: np.ndarray, step: tuple[float, float]) -> Image.Image:
    """Slice alone, and under the labels; `step` is the size of its rows and columns in mm."""
    low, high = np.percentile(grey, [1, 99.5])
    plain = np.repeat(np.clip((grey - low) / max(high - low, 1e-6), 0, 1)[..., None], 3, axis=2)
    coloured = np.where(labels[..., None] > 0, 0.45 * plain + 0.55 * palette()[labels], plain)
    both = np.concatenate([plain, coloured], axis=1)
    image = Image.fromarray((255 * both).astype(np.uint8))
    height = round(both.shape[0] * step[0])
    width = round(both.shape[1] * step[1])
    scale = min(SIDE / height, 2 * SIDE / width)
    return image.resize((round(width * scale), round(height * scale)), Image.Resampling.NEAREST)


def row(name: str, voxels: np.ndarray, anatomy: Anatomy, seconds: float) -> Image.Image:
    sz, sy, sx = anatomy.geometry.spacing
    thalamus = [n for n, s in enumerate(STRUCTURES) if s.name in ("thalamus", "putamen")]
    places = np.argwhere(np.isin(anatomy.labels, thalamus))
    z, y, _ = (places.mean(axis=0) if len(places) else np.array(voxels.shape) / 2).astype(int)
    tiles = [
        tile(voxels[z], anatomy.labels[z], (sy, sx)),
        tile(voxels[::-1, y], anatomy.labels[::-1, y], (sz, sx)),
    ]
    sheet = Image.new("RGB", (4 * SIDE + 20, SIDE + 24))
    for place, picture in enumerate(tiles):
        sheet.paste(picture, (place * (2 * SIDE + 10), 20))
    pen = ImageDraw.Draw(sheet)
    pen.text((6, 4), f"{name}: patient's right on the left of every picture ({seconds:.1f} s)", fill="white")
    return sheet


def synthesised(labels: Path) -> list[Image.Image]:
    labeller = load_anatomy()
    held = set(labeller.card.provenance["held_out"])
    path = next(path for path in sorted(labels.glob("*.nii*")) if path.name in held)
    case = read_whole(path)
    rows = []
    for seed in (1, 2):
        example = make_example(case, np.random.default_rng(seed), torch.device("cpu"))
        found = label_voxels(labeller.network, example.inputs).numpy()
        image = example.inputs[0, 0].numpy()
        for name, drawn in (("truth", example.truth.numpy() % 255), ("network", found[::2, ::2, ::2])):
            anatomy = Anatomy(
                drawn.astype(np.uint8),
                np.zeros(drawn.shape, np.uint8),
                Geometry.from_spacing(drawn.shape, (3.0,) * 3),
            )
            rows.append(row(f"{case.name}, synthesised scan {seed}, {name}", image, anatomy, 0.0))
    return rows


def real() -> list[Image.Image]:
    labeller, detector = load_anatomy(), checkpoint.load(checkpoint.DEFAULT)
    rows = []
    for name in ("ms-flair", "ms-t1", "ms-t2", "stroke-t2"):
        scan = samples.open_sample(name)
        prepared = prepare(scan, detector.extraction, device=torch.device("cpu"))
        began = time.process_time()
        anatomy = find_anatomy(labeller.network, prepared, scan.geometry)
        rows.append(row(name, np.asarray(scan.voxels, np.float32), anatomy, time.process_time() - began))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path, nargs="?")
    options = parser.parse_args()
    rows = ([] if options.labels is None else synthesised(options.labels)) + real()
    sheet = Image.new("RGB", (rows[0].width, sum(picture.height for picture in rows)))
    top = 0
    for picture in rows:
        sheet.paste(picture, (0, top))
        top += picture.height
    sheet.save(OUT / "anatomy.png", optimize=True)


if __name__ == "__main__":
    main()
