"""Reading and writing a 256^3 scan as .nii.gz: this package against plain nibabel and SimpleITK, in one run.

``python benchmarks/io_speed.py`` writes the table ``docs/results/io-speed.md``. The scan is the bundled FLAIR one,
repeated to fill the grid and stored as float32; the mask is its lesions. Every way is called in turn, several times,
and the fastest call counts, so that other work on the machine slows none of them alone.
"""

import argparse
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own convention)

from napari_anomaly import io
from napari_anomaly.samples import open_sample, sample_truth
from napari_anomaly.scan import Scan

TABLE = Path(__file__).parents[1] / "docs" / "results" / "io-speed.md"
SIDE = 256
OURS = "napari-anomaly"


@dataclass(frozen=True)
class Row:
    """One task: seconds and, where a file was written, its size in bytes, by the name of the way."""

    task: str
    seconds: Mapping[str, float]
    sizes: Mapping[str, int]


def filled(array: np.ndarray, dtype: type) -> np.ndarray:
    """Repeat an array until it fills the grid."""
    counts = [-(-SIDE // n) for n in array.shape]
    return np.ascontiguousarray(np.tile(array, counts)[:SIDE, :SIDE, :SIDE].astype(dtype))


def fastest(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, call in ways.items():
            start = perf_counter()
            call()
            best[name] = min(best[name], perf_counter() - start)
    return best


def check_equal(ways: Mapping[str, Callable[[], np.ndarray]]) -> None:
    """Make sure that all ways read the same numbers before their times are compared."""
    sums = {name: float(np.asarray(call(), dtype=np.float64).sum()) for name, call in ways.items()}
    if not np.allclose(list(sums.values()), sums[OURS], rtol=1e-6):
        raise SystemExit(f"The ways do not read the same voxels: {sums}")


def reading(task: str, path: Path, repeats: int) -> Row:
    ways = {
        OURS: lambda: io.read_scan(path).voxels,
        "nibabel": lambda: np.ascontiguousarray(np.asarray(nib.load(path).dataobj).T),
        "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(path)),
    }
    check_equal(ways)
    return Row(task, fastest(ways, repeats), {})


def writing(task: str, array: np.ndarray, scan: Scan, folder: Path, kind: io.Kind, repeats: int) -> Row:
    image = nib.Nifti1Image(scan.source.to_file(array), scan.source.affine)
    itk = sitk.GetImageFromArray(array)
    paths = {name: folder / f"{name}.nii.gz" for name in (OURS, "nibabel", "SimpleITK")}
    ways = {
        OURS: lambda: io.write_like(array, scan, paths[OURS], kind=kind),
        "nibabel": lambda: image.to_filename(paths["nibabel"]),
        "SimpleITK": lambda: sitk.WriteImage(itk, paths["SimpleITK"], useCompression=True),
    }
    seconds = fastest(ways, repeats)
    check_equal({name: lambda path=path: np.asarray(nib.load(path).dataobj) for name, path in paths.items()})
    return Row(task, seconds, {name: path.stat().st_size for name, path in paths.items()})


def measured(repeats: int) -> list[Row]:
    sample = open_sample("ms-flair")
    grey = filled(sample.voxels, np.float32)
    mask = filled(sample_truth("ms-flair"), np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        array = Scan.from_array(grey)
        path = folder / "scan.nii.gz"
        # nibabel writes the file that all read, so that none has the advantage of its own compression.
        nib.Nifti1Image(grey.transpose(2, 1, 0), array.geometry.affine[:, [2, 1, 0, 3]]).to_filename(path)
        scan = io.read_scan(path)
        mask_path = folder / "mask.nii.gz"
        nib.Nifti1Image(mask.transpose(2, 1, 0), scan.source.affine).to_filename(mask_path)
        return [
            reading("read a scan, float32", path, repeats),
            reading("read a mask, uint8", mask_path, repeats),
            writing("write a map, float32", scan.voxels, scan, folder, "map", repeats),
            writing("write a mask, uint8", mask, scan, folder, "mask", repeats),
        ]


def table(rows: list[Row], repeats: int) -> str:
    """Write the figures as a page in Markdown: first the ratios, then what they were made from."""
    lines = [
        "# Speed of reading and writing",
        "",
        f"`python benchmarks/io_speed.py` makes this page. A {SIDE}^3 `.nii.gz`, fastest of {repeats} calls in turn, "
        f"one run; Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "Writing is safe as well as fast: to a temporary file, flushed to the disk, then renamed.",
        "",
        "| task | nibabel takes | SimpleITK takes | napari-anomaly, ms | nibabel, ms | SimpleITK, ms | size, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = row.seconds[OURS]
        others = [row.seconds["nibabel"], row.seconds["SimpleITK"]]
        ratios = " | ".join(f"{other / ours:.1f} times as long" for other in others)
        times = " | ".join(f"{1000 * seconds:.0f}" for seconds in (ours, *others))
        sizes = " / ".join(
            f"{row.sizes[name] / 1e6:.2f}" for name in (OURS, "nibabel", "SimpleITK") if row.sizes
        )
        lines.append(f"| {row.task} | {ratios} | {times} | {sizes or '-'} |")
    lines += ["", "Sizes are those of napari-anomaly, nibabel and SimpleITK, in this order.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    text = table(measured(options.repeats), options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
