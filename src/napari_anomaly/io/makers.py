"""What makers of scanners write in places of their own: tiles of Siemens mosaics, b-values.

A mosaic is one image with all slices of a volume as its tiles; where they lie stands in a private element alone.

Source: NiBabel, "Siemens mosaic format" and "The Siemens CSA header"; DICOM conformance statements of Siemens, GE and
Philips.
"""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from pydicom import Dataset

from napari_anomaly.errors import BadGeometry

with warnings.catch_warnings():
    # It calls all of its DICOM readers experimental; what it reads here is one list of values.
    warnings.simplefilter("ignore")
    from nibabel.nicom.csareader import CSAReadError, read

__all__ = ["CSA_TAGS", "PRIVATE_TAGS", "Mosaic", "b_value", "is_mosaic", "mosaic"]

# Element of each maker's b-value in its block: group, creator, number.
_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)
PRIVATE_TAGS = tuple(
    tag for group, _, number in _B_VALUES for tag in (group << 16 | 0x10, group << 16 | 0x1000 | number)
)
"""Small private elements that bear on reading, with those that say whose they are."""

CSA_TAGS = (0x00290010, 0x00291010, 0x00180088)
"""What tells where the tiles of a mosaic lie; it is large, and read for mosaics alone."""

_CSA = "SIEMENS CSA HEADER"
# GE adds a large round number to the b-value of some series.
_GE_ADDS = 1_000_000
_MOST_TILES = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Mosaic:
    """Slices that are tiles of one image.

    Parameters
    ----------
    side
        Tiles in a row, and in a column.
    positions
        Centre of the first pixel of each slice, LPS+ millimetres.
    """

    side: int
    positions: Float64[np.ndarray, "slices 3"]


def is_mosaic(header: Dataset) -> bool:
    """Tell whether an image is a mosaic."""
    return "MOSAIC" in [str(each) for each in header.get("ImageType") or ()]


def b_value(header: Dataset) -> float | None:
    """Give the b-value of an image from its maker's own element; None where there is none."""
    for group, creator, number in _B_VALUES:
        # Damaged private elements fail in every way there is, and none is needed.
        with suppress(Exception):
            value: Any = header.private_block(group, creator)[number].value
            first = float(value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value)
            if np.isfinite(first):
                return first % _GE_ADDS if group == 0x0043 else first
    return None


def mosaic(header: Dataset, private: Dataset) -> Mosaic:
    """Say where the slices of a mosaic lie.

    The header gives the place of the mosaic as if it were one large slice around the same centre.

    Parameters
    ----------
    header
        Of the mosaic.
    private
        Its elements `CSA_TAGS`.

    Raises
    ------
    BadGeometry
        If the private header is missing or damaged.
    """
    count, normal = _csa(private)
    side = int(np.ceil(np.sqrt(count)))
    step = float(private.get("SpacingBetweenSlices") or 0)
    rows, columns = int(header.Rows), int(header.Columns)
    if rows % side or columns % side or step <= 0:
        raise BadGeometry(
            f"a Siemens mosaic of {count} slices does not divide {rows} x {columns} pixels, or its slices no distance"
        )
    six = np.array([float(each) for each in header.ImageOrientationPatient])
    spacing = np.array([float(each) for each in header.PixelSpacing])
    corner = np.array([float(each) for each in header.ImagePositionPatient])
    across, down = six[:3], six[3:]
    corner += across * spacing[1] * (columns - columns // side) / 2
    corner += down * spacing[0] * (rows - rows // side) / 2
    plain = np.cross(across, down)
    if abs(abs(float(plain @ normal)) - 1) > 1e-2:
        raise BadGeometry("the slices of a Siemens mosaic do not stand on their normal")
    return Mosaic(side, corner + np.outer(np.arange(count), normal * step))


def _csa(private: Dataset) -> tuple[int, Float64[np.ndarray, "3"]]:
    """Read the number of slices and their normal."""
    try:
        tags = read(bytes(private.private_block(0x0029, _CSA)[0x10].value))["tags"]
        count = int(tags["NumberOfImagesInMosaic"]["items"][0])
        normal = np.array([float(each) for each in tags["SliceNormalVector"]["items"]])
    except (CSAReadError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise BadGeometry("a Siemens mosaic whose private header (CSA) is missing or damaged") from error
    if not 1 <= count <= _MOST_TILES or normal.shape != (3,) or not np.all(np.isfinite(normal)):
        raise BadGeometry("a Siemens mosaic whose private header (CSA) is damaged")
    return count, normal / max(float(np.linalg.norm(normal)), 1e-9)
