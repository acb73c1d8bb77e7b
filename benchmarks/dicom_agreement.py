"""DICOM as this package reads it against dcm2niix, series by series: grid, spacing, orientation, intensities.

``python benchmarks/dicom_agreement.py FOLDER`` takes every series below a folder and writes the table
``docs/results/dicom-agreement.md``. It needs ``pip install dcm2niix``, which brings the program. Both results are
compared as nibabel brings them to its closest canonical order. Where one of them was resampled, both are compared
with the pixels of the source slices, each at the place in space that its own header names.
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import aff2axcodes
from scipy import ndimage

from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom import frames_of, read
from napari_anomaly.io.instances import opener
from napari_anomaly.io.pixels import pixels
from napari_anomaly.io.series import Series, list_series
from napari_anomaly.io.stack import slice_affine
from napari_anomaly.scan import Scan

TABLE = Path(__file__).parents[1] / "docs" / "results" / "dicom-agreement.md"
MEANING = (
    "Where both made the same grid, voxels must be equal and corners lie within 0.01 mm. A crooked series (gantry "
    "tilt, uneven slices) has no grid of its own: dcm2niix writes one image as if slices were even (it warns) and one "
    "resampled to even planes; this package resamples once and says so. What lies nearer to the source's pixels is "
    "the better account of them.\n\n"
)
HEAD = "| series | what | ours | dcm2niix | difference |\n|---|---|---|---|---|\n"


def converted(series: Series, folder: Path) -> tuple[list[Path], list[str]]:
    """Let dcm2niix convert the files of one series; give its images and its warnings."""
    (folder / "in").mkdir()
    for number, path in enumerate(dict.fromkeys(frame.place.path for frame in series.frames)):
        (folder / "in" / f"{number:05d}.dcm").symlink_to(path.resolve())
    words = [Path(sys.executable).with_name("dcm2niix"), "-f", "out", "-o", folder, folder / "in"]
    answer = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    warned = [line for line in answer.stdout.splitlines() if line.startswith(("Warning", "Error"))]
    return sorted(folder.glob("*.nii*")), warned


def canonical(path: Path) -> nib.Nifti1Image:
    """Load an image in nibabel's closest canonical order."""
    return nib.as_closest_canonical(nib.load(path))


def corners_apart(ours: nib.Nifti1Image, theirs: nib.Nifti1Image) -> float:
    """Give the largest distance of corner voxels, mm; infinite where the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    ends = np.stack(np.meshgrid(*[(0, n - 1) for n in ours.shape], indexing="ij"), -1).reshape(-1, 3)
    apart = nib.affines.apply_affine(ours.affine, ends) - nib.affines.apply_affine(theirs.affine, ends)
    return float(np.linalg.norm(apart, axis=1).max())


def off_source(image: nib.Nifti1Image, scan: Scan, stored: np.ndarray) -> tuple[float, float]:
    """Compare an image with the pixels of the source slices: mean difference, and share that it covers."""
    array = np.asarray(image.dataobj, dtype=np.float32)
    inverse = np.linalg.inv(image.affine)
    rows, columns = np.indices(stored.shape[1:])
    differences, covered = [], []
    for frame, plane in zip(frames_of(scan), stored, strict=True):
        index = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)]).reshape(4, -1)
        at = (inverse @ slice_affine(frame) @ index)[:3]
        limits = np.array(array.shape)[:, None] - 0.99
        inside = np.all((at >= -0.01) & (at <= limits), axis=0)
        found = ndimage.map_coordinates(array, at[:, inside], order=1, mode="nearest")
        differences.append(np.abs(found - plane.ravel()[inside]))
        covered.append(inside)
    return float(np.concatenate(differences).mean()), float(np.concatenate(covered).mean())


def rows_of(series: Series, name: str) -> Iterator[str]:
    """Compare one series and give the rows of the table."""
    path = series.frames[0].place.path
    try:
        scan = read(path)
    except ScanError as error:
        yield f"| {name} | read | refused: {error} | - | - |"
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images, warned = converted(series, folder)
        if not images:
            yield f"| {name} | read | read | refused: {' '.join(warned)} | - |"
            return
        io.write_like(scan.voxels, scan, folder / "ours.nii", kind="image")
        ours = canonical(folder / "ours.nii")
        for image in images:
            theirs = canonical(image)
            yield from grid_rows(f"{name}, {image.name}", ours, theirs)
            yield from value_rows(f"{name}, {image.name}", scan, ours, theirs)
        notes = [*(f"ours: {note}" for note in scan.notes), *(f"dcm2niix: {line}" for line in warned)]
        yield from (f"| {name} | said | {note} | | |" for note in notes)


def grid_rows(name: str, ours: nib.Nifti1Image, theirs: nib.Nifti1Image) -> Iterator[str]:
    """Compare where the voxels lie."""
    one, two = (" x ".join(map(str, image.shape)) for image in (ours, theirs))
    yield f"| {name} | grid | {one} | {two} | {'none' if one == two else 'another grid'} |"
    spacings = [nib.affines.voxel_sizes(image.affine) for image in (ours, theirs)]
    one, two = (" x ".join(f"{size:.4f}" for size in sizes) for sizes in spacings)
    apart = float(np.abs(spacings[0] - spacings[1]).max())
    yield f"| {name} | spacing, mm | {one} | {two} | {apart:.4f} |"
    one, two = ("".join(aff2axcodes(image.affine)) for image in (ours, theirs))
    yield f"| {name} | orientation | {one} | {two} | {'none' if one == two else 'another'} |"
    apart = corners_apart(ours, theirs)
    if np.isfinite(apart):
        yield f"| {name} | corners apart, mm | | | {apart:.4f} |"


def value_rows(name: str, scan: Scan, ours: nib.Nifti1Image, theirs: nib.Nifti1Image) -> Iterator[str]:
    """Compare the intensities: voxel by voxel where the grids agree, else with the source slices."""
    if corners_apart(ours, theirs) < 0.01:
        apart = np.abs(np.asarray(ours.dataobj, np.float64) - np.asarray(theirs.dataobj, np.float64))
        yield f"| {name} | intensities | | | largest {apart.max():g}, in {np.count_nonzero(apart)} voxels |"
        return
    frames = frames_of(scan)
    with opener() as open_place:
        first = list_series(frames[0].place.path).readable[0].header
        stored = pixels(frames, (int(first.Rows), int(first.Columns)), open_place)
    mine, theirs_off = off_source(ours, scan, stored), off_source(theirs, scan, stored)
    yield (
        f"| {name} | mean difference to the source's pixels | {mine[0]:.2f} ({100 * mine[1]:.1f} % covered) "
        f"| {theirs_off[0]:.2f} ({100 * theirs_off[1]:.1f} % covered) | resampled: ours, theirs or both |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    listing = list_series(options.folder)
    lines = []
    for series in listing.series:
        name = (
            series.frames[0].place.path.relative_to(options.folder).parts[0] if series.frames else series.name
        )
        print(series.label, flush=True)
        lines += rows_of(series, name)
    versions = {name: importlib.metadata.version(name) for name in ("dcm2niix", "pydicom")}
    options.out.write_text(
        "# DICOM: agreement with dcm2niix\n\n"
        "`python benchmarks/dicom_agreement.py FOLDER` makes this page: every series below the folder, read by this "
        f"package (pydicom {versions['pydicom']}) and by dcm2niix {versions['dcm2niix']}, both brought to nibabel's "
        "closest canonical order. Where grids differ, both are compared with the pixels of the source slices, each at "
        "the place that its header names.\n\n" + MEANING + HEAD + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
