"""Draw what the second opinion sees and write docs/results/proxyano.jpg.

    python benchmarks/proxy_picture.py [--weights FILE]

One row for each bundled sample, in its slice with most lesion: scan, true superpixel image, proxy through the memory,
rebuilt scan, residual |x - x_hat|, and its calibrated share (0.9 to 1) with the lesions that raters drew.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from napari_anomaly import samples
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.calibration import calibrate
from napari_anomaly.detector.second_opinion import SecondOpinion, bundled, coarse, load, look, residual
from napari_anomaly.preprocess import place, prepare, resample
from napari_anomaly.progress import drain
from napari_anomaly.training.proxies import make_proxy

OUT = Path(__file__).parents[1] / "docs" / "results" / "proxyano.jpg"
SAMPLES = ("ms-flair", "stroke-t2")
LARGER = 4


def main() -> None:
    """Draw one row for each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    second = load(options.weights) if options.weights else bundled()
    rows = [row(name, second) for name in SAMPLES]
    picture = np.concatenate(rows)
    large = Image.fromarray(picture).resize((picture.shape[1] * LARGER, picture.shape[0] * LARGER), 0)
    large.save(options.out, quality=88)


def row(name: str, second: SecondOpinion) -> np.ndarray:
    """One sample, as an RGB strip."""
    prepared = prepare(
        samples.open_sample(name), checkpoint.load(checkpoint.DEFAULT).extraction, device=torch.device("cpu")
    )
    drawn = resample(torch.from_numpy(samples.sample_truth(name).astype(np.float32)), prepared.canonical)
    truth = place(drawn, prepared.image.shape, prepared.centre)
    scan = coarse(prepared.image, prepared.mask, multiple=second.network.multiple)
    lesions = (coarse(truth, prepared.mask, multiple=second.network.multiple).image >= 0.5).numpy()
    seen = drain(look(second.network, scan))
    rest = residual(scan, seen.image, second.card.smoothing_mm).numpy()
    share = np.where(scan.mask.numpy(), calibrate(rest, second.card.calibration), 0)
    side_mm = second.card.provenance["settings"]["superpixel_mm"]
    proxy = make_proxy("superpixels", scan.image.numpy(), scan.mask.numpy(), side_mm)
    z = int(lesions.sum((1, 2)).argmax())
    greys = [scan.image.numpy(), proxy, seen.proxy.numpy(), seen.image.numpy(), rest * 2]
    tiles = [np.repeat(np.clip(grey[z] / 1.5, 0, 1)[..., None], 3, axis=2) for grey in greys]
    last = np.repeat(np.clip((share[z] - 0.9) * 10, 0, 1)[..., None], 3, axis=2)
    outline = lesions[z] ^ ndimage.binary_erosion(lesions[z])
    last[outline] = (0.2, 0.9, 0.2)
    strip = np.concatenate([*tiles, last], axis=1)
    return np.round(strip * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
