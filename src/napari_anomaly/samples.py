"""Scans to try things out on: real ones that come with the package, and a phantom with a known answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy.ndimage import gaussian_filter

from napari_anomaly.errors import ScanError
from napari_anomaly.geometry import Geometry
from napari_anomaly.io import read_scan
from napari_anomaly.scan import Scan

__all__ = [
    "SAMPLES",
    "Sample",
    "list_samples",
    "open_sample",
    "phantom",
    "phantom_lesion",
    "sample_path",
    "sample_truth",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """A real scan that comes with the package; licence and citation stand in ``sample_data/README.md``.

    Parameters
    ----------
    name
        What to ask for.
    text
        What it is, in words for a menu.
    file, truth
        Inside of ``sample_data``.
    modality
        Kind of image.
    """

    name: str
    text: str
    file: str
    truth: str
    modality: str


_ALL = (
    Sample("ms-flair", "Multiple sclerosis, FLAIR", "ms/ms-flair.nii.gz", "ms/ms-lesions.nii.gz", "FLAIR"),
    Sample("ms-t1", "Multiple sclerosis, T1", "ms/ms-t1.nii.gz", "ms/ms-lesions.nii.gz", "T1"),
    Sample("ms-t2", "Multiple sclerosis, T2", "ms/ms-t2.nii.gz", "ms/ms-lesions.nii.gz", "T2"),
    Sample(
        "stroke-t2", "Chronic stroke, T2", "stroke/stroke-t2.nii.gz", "stroke/stroke-lesions.nii.gz", "T2"
    ),
)
SAMPLES: Mapping[str, Sample] = MappingProxyType({sample.name: sample for sample in _ALL})
"""The samples by name."""

# The phantom's parts: half axes as shares of half the field of view (z, y, x), and grey values as in FLAIR.
_PARTS = (
    ((0.92, 0.92, 0.88), 90.0),  # scalp
    ((0.86, 0.87, 0.82), 12.0),  # skull
    ((0.81, 0.82, 0.77), 22.0),  # cerebrospinal fluid
    ((0.78, 0.79, 0.74), 82.0),  # grey matter
    ((0.66, 0.68, 0.62), 64.0),  # white matter
)
_VENTRICLES = ((0.26, 0.34, 0.09), (0.05, 0.0, 0.15), 18.0)
_LESION_VALUE = 118.0
_LESION_AT = (0.3, -0.3, 0.35)


def list_samples() -> tuple[str, ...]:
    """Give the names of the scans that come with the package."""
    return tuple(SAMPLES)


def sample_path(name: str = "ms-flair") -> Path:
    """Give the file of a sample.

    Raises
    ------
    ScanError
        If there is no such sample, or its file was not installed.
    """
    return _file(_sample(name).file)


def open_sample(name: str = "ms-flair") -> Scan:
    """Open a real scan that comes with the package.

    Parameters
    ----------
    name
        One of `list_samples`.

    Raises
    ------
    ScanError
        If there is no such sample, or its file was not installed.
    """
    sample = _sample(name)
    scan = read_scan(_file(sample.file))
    return Scan(scan.voxels, scan.geometry, scan.source, scan.name, sample.modality)


def sample_truth(name: str = "ms-flair") -> UInt8[np.ndarray, "z y x"]:
    """Give the mask that human raters drew for a sample: 1 inside of a lesion, 0 outside.

    Raises
    ------
    ScanError
        If there is no such sample, or its file was not installed.
    """
    return (read_scan(_file(_sample(name).truth)).voxels > 0).view(np.uint8)


def phantom(
    shape: tuple[int, int, int] = (40, 48, 40),
    *,
    rng: np.random.Generator | None = None,
    field_mm: float = 200.0,
    lesion_mm: float = 0.0,
    noise: float = 1.5,
) -> Scan:
    """Build a head of ellipsoids: scalp, skull, fluid, grey and white matter, ventricles.

    Grey values are as in FLAIR.

    Parameters
    ----------
    shape
        Number of voxels along z, y and x. The head always fills it, so this chooses the spacing.
    rng
        Source of the noise; without it, the same noise at every call.
    field_mm
        Length of the field of view along y, in mm.
    lesion_mm
        Radius of a bright ball in the white matter, in mm; 0 for a normal head. `phantom_lesion` is its mask.
    noise
        Standard deviation of the noise, in grey values; 0 for none.

    Returns
    -------
    Scan
        float32, background 0.
    """
    geometry = _phantom_geometry(shape, field_mm)
    places = _relative(shape)
    image = np.zeros(shape)
    for axes, value in _PARTS:
        image[_inside(places, axes)] = value
    axes, (up, back, aside), value = _VENTRICLES
    for side in (-aside, aside):
        image[_inside(places - np.array([up, back, side]), axes)] = value
    image[phantom_lesion(shape, field_mm=field_mm, lesion_mm=lesion_mm) > 0] = _LESION_VALUE
    image = gaussian_filter(image, 0.5)
    image += noise * (rng or np.random.default_rng(0)).standard_normal(shape)
    # Air stays exactly 0, as in scans that were stripped or masked.
    image[~_inside(places, _PARTS[0][0])] = 0.0
    scan = Scan.from_array(np.maximum(image, 0).astype(np.float32), affine=geometry.affine, name="phantom")
    return Scan(scan.voxels, scan.geometry, scan.source, scan.name, "FLAIR")


def phantom_lesion(
    shape: tuple[int, int, int] = (40, 48, 40), *, field_mm: float = 200.0, lesion_mm: float = 0.0
) -> UInt8[np.ndarray, "z y x"]:
    """Give the mask of the ball that `phantom` paints with the same arguments."""
    geometry = _phantom_geometry(shape, field_mm)
    half = np.array(shape) / 2
    centre = (np.array(_LESION_AT) + 1) * half - 0.5
    index = np.moveaxis(np.indices(shape), 0, -1)
    apart = np.linalg.norm((index - centre) * geometry.spacing, axis=-1)
    return np.asarray(apart < lesion_mm).view(np.uint8)


def _phantom_geometry(shape: tuple[int, int, int], field_mm: float) -> Geometry:
    return Geometry.from_spacing(shape, (field_mm / shape[1],) * 3)


def _relative(shape: tuple[int, int, int]) -> Float64[np.ndarray, "z y x 3"]:
    """Give places of voxels as shares of half the field of view, -1 to 1 along every axis."""
    lines = [(np.arange(n) + 0.5) * 2 / n - 1 for n in shape]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)


def _inside(
    places: Float64[np.ndarray, "z y x 3"], half_axes: tuple[float, float, float]
) -> Bool[np.ndarray, "z y x"]:
    return np.asarray(((places / np.array(half_axes)) ** 2).sum(axis=-1) < 1)


def _sample(name: str) -> Sample:
    if name not in SAMPLES:
        raise ScanError(f"There is no sample {name!r}. Choose one of {', '.join(SAMPLES)}.")
    return SAMPLES[name]


def _file(name: str) -> Path:
    here = Path(__file__).resolve()
    # In a wheel the folder lies inside the package; in a checkout it stands beside src.
    for folder in (here.parent / "sample_data", here.parents[2] / "sample_data"):
        if (folder / name).is_file():
            return folder / name
    raise ScanError(f"The sample file {name} is not installed. Install napari-anomaly again.")
