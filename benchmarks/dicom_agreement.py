"""DICOM as this package reads it against dcm2niix, series by series: grid, spacing, orientation, intensities.

``python benchmarks/dicom_agreement.py FOLDER`` takes every series below a folder and writes the table
``docs/results/dicom-agreement.md``. It needs ``pip install dcm2niix``, which brings the program. Both results are
compared as nibabel brings them to its closest canonical order. Where one of them was resampled, both are compared
with the pixels of the source slices, each at the place in space that its own header names.
"""

import argparse
import gzip
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.orientations import aff2axcodes
from pydicom import dcmread
from pydicom.uid import CTImageStorage, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy import ndimage

from napari_anomaly import io
from napari_anomaly.errors import ScanError
from napari_anomaly.io.dicom import frames_of, read
from napari_anomaly.io.instances import opener
from napari_anomaly.io.pixels import pixels
from napari_anomaly.io.series import Series, list_series
from napari_anomaly.io.stack import slice_affine
from napari_anomaly.samples import open_sample
from napari_anomaly.scan import Scan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicoms import AXIAL, ROOT, SAGITTAL, classic, enhanced, mosaic, places

Image: TypeAlias = tuple[str, nib.Nifti1Image]
TABLE = Path(__file__).parents[1] / "docs" / "results" / "dicom-agreement.md"
MEANING = (
    "Where both made the same grid, voxels must be equal and corners lie within 0.01 mm. A crooked series (gantry "
    "tilt, uneven slices) has no grid of its own: dcm2niix writes one image as if slices were even (it warns) and one "
    "resampled to even planes; this package resamples once and says so. What lies nearer to the source's pixels is "
    "the better account of them.\n\n"
)
HEAD = "| series | what | ours | dcm2niix | difference |\n|---|---|---|---|---|\n"


def made(folder: Path) -> None:
    """Write series of the bundled scan in ways that hospitals' files differ, and unpack nibabel's own test files."""
    scan = open_sample("ms-flair")
    head = np.rint(scan.voxels[::8, ::4, ::3] * (3000 / scan.voxels.max())).astype(np.int16)
    turn = np.radians(25)
    oblique = ((1.0, 0.0, 0.0), (0.0, np.cos(turn), np.sin(turn)))
    ways: dict[str, dict[str, Any]] = {
        "axial MR": {},
        "sagittal MR": {"directions": SAGITTAL},
        "oblique MR": {"directions": oblique},
        "CT, unsigned, slope and intercept": {
            "kind": CTImageStorage,
            "PixelRepresentation": 0,
            "RescaleSlope": 2,
            "RescaleIntercept": -1024,
        },
        "CT, MONOCHROME1": {"kind": CTImageStorage, "PhotometricInterpretation": "MONOCHROME1"},
    }
    for number, (name, words) in enumerate(ways.items()):
        classic(folder / name, head, SeriesInstanceUID=f"{ROOT}70.{number}", SeriesDescription=name, **words)
    for number, syntax in enumerate((RLELossless, JPEGLSLossless, JPEG2000Lossless)):
        name = f"MR, {syntax.name}"
        for path in classic(
            folder / name, head, SeriesInstanceUID=f"{ROOT}71.{number}", SeriesDescription=name
        ):
            packed = dcmread(path)
            packed.compress(syntax, generate_instance_uid=False)
            packed.save_as(path)
    for echo in (0, 1):
        words = {"EchoTime": 10.0 + 70 * echo, "EchoNumbers": echo + 1, "SeriesInstanceUID": f"{ROOT}72.1"}
        numbered = {"first": 1 + echo * len(head), "SeriesDescription": "two echoes"}
        classic(folder / "two echoes", head // (echo + 1), **numbered, **words)
    enhanced(folder / "enhanced MR" / "one.dcm", head, SeriesInstanceUID=f"{ROOT}73.1")
    mosaic(folder / "Siemens mosaic" / "one.dcm", head, directions=AXIAL, SeriesInstanceUID=f"{ROOT}74.1")
    leaning = places(len(head), lean=np.array((0.0, 1.0, 0.0)))
    classic(folder / "tilted", head, positions=leaning, SeriesInstanceUID=f"{ROOT}75.1")
    for packed in sorted((Path(nib.__file__).parent / "nicom" / "tests" / "data").glob("*.dcm.gz")):
        name = packed.name.removesuffix(".dcm.gz")
        series = folder / f"nibabel {name.rstrip('0123456789_')}"
        series.mkdir(exist_ok=True)
        (series / f"{name}.dcm").write_bytes(gzip.decompress(packed.read_bytes()))


def converted(series: Series, folder: Path) -> tuple[list[Image], list[str]]:
    """Let dcm2niix convert the files of one series; give its volumes with their names, and its warnings."""
    (folder / "in").mkdir()
    for number, path in enumerate(dict.fromkeys(frame.place.path for frame in series.frames)):
        (folder / "in" / f"{number:05d}.dcm").symlink_to(path.resolve())
    words = [Path(sys.executable).with_name("dcm2niix"), "-f", "out", "-o", folder, folder / "in"]
    answer = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    lines = dict.fromkeys(answer.stdout.splitlines())
    warned = [line for line in lines if line.startswith(("Warning", "Error"))]
    volumes: list[Image] = []
    for path in sorted(folder.glob("*.nii*")):
        image = canonical(path)
        parts = nib.four_to_three(image) if len(image.shape) == 4 else [image]
        volumes += [
            (f"{path.name} {k}" if len(parts) > 1 else path.name, part) for k, part in enumerate(parts)
        ]
    return volumes, warned


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
    count = len(series.stack.volumes) if series.stack is not None else 1
    try:
        scans = [read(path, volume=number) for number in range(count)]
    except ScanError as error:
        yield f"| {name} | read | refused: {error} | - | - |"
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images, warned = converted(series, folder)
        if not images:
            yield f"| {name} | read | read | refused: {' '.join(warned)} | - |"
            return
        for number, scan in enumerate(scans):
            io.write_like(scan.voxels, scan, folder / "ours.nii", kind="image")
            ours = canonical(folder / "ours.nii")
            for which, theirs in images if count == 1 else nearest(ours, images):
                title = f"{name}, {f'volume {number}, ' if count > 1 else ''}{which}"
                yield from grid_rows(title, ours, theirs)
                yield from value_rows(title, scan, ours, theirs)
            del ours
        notes = [*(f"ours: {note}" for note in scans[0].notes), *(f"dcm2niix: {line}" for line in warned)]
        yield from (f"| {name} | said | {note} | | |" for note in notes)


def nearest(ours: nib.Nifti1Image, images: list[Image]) -> list[Image]:
    """Give the one of dcm2niix's volumes that is most like ours, for it counts volumes in another way."""
    alike = [each for each in images if each[1].shape == ours.shape]
    mine = np.asarray(ours.dataobj, np.float64)
    apart = [np.abs(mine - np.asarray(each.dataobj, np.float64)).mean() for _, each in alike]
    return [alike[int(np.argmin(apart))]] if alike else images[:1]


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
        empty = "" if np.any(scan.voxels) else "; the file holds nothing but 0"
        yield (
            f"| {name} | intensities | | | largest {apart.max():g}, in {np.count_nonzero(apart)} voxels{empty} |"
        )
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


def rows_in(folder: Path) -> Iterator[str]:
    """Compare all series below a folder."""
    for series in list_series(folder).series:
        if series.frames:
            print(series.label, flush=True)
            yield from rows_of(series, series.frames[0].place.path.relative_to(folder).parts[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made(Path(place))
        lines = [line for folder in (*options.folders, Path(place)) for line in rows_in(folder)]
    versions = {name: importlib.metadata.version(name) for name in ("dcm2niix", "pydicom")}
    options.out.write_text(
        "# DICOM: agreement with dcm2niix\n\n"
        "`python benchmarks/dicom_agreement.py FOLDER...` makes this page: every series below the folders, the bundled "
        "scan written as DICOM in the ways that hospitals' files differ, and nibabel's own test files, read by this "
        f"package (pydicom {versions['pydicom']}) and by dcm2niix {versions['dcm2niix']}, both brought to nibabel's "
        "closest canonical order. Where grids differ, both are compared with the pixels of the source slices, each at "
        "the place that its header names.\n\n" + MEANING + HEAD + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
