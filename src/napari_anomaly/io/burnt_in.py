"""Words that were drawn into the pixels of a series: names, numbers, marks of a side.

What is drawn into every slice is the brightest there, lies at the same place in each, and is thin, which anatomy,
metal and masks are not all at once.
"""

import numpy as np
from jaxtyping import Num

__all__ = ["drawn_pixels"]

_FEWEST_SLICES = 4
_NEARLY_ALL = 0.9
_FEWEST, _LARGEST_SHARE = 25, 0.1
"""So many pixels make a few letters; more than this share of an image is no writing."""
_THIN = 0.6
"""Share of the pixels that lie at an edge: letters are hardly anything else."""


def drawn_pixels(planes: Num[np.ndarray, "slices rows columns"]) -> int:
    """Count the pixels that look as if something was drawn there in nearly every slice; 0 where nothing does.

    Words in a few slices alone, in grey, or over a whole image are not found.

    Parameters
    ----------
    planes
        Values of the slices of one volume.
    """
    if len(planes) < _FEWEST_SLICES:
        return 0
    hits = np.zeros(planes.shape[1:], np.int32)
    for plane in planes:
        hits += plane == plane.max()
    drawn = hits >= _NEARLY_ALL * len(planes)
    count = int(np.count_nonzero(drawn))
    if not _FEWEST <= count <= _LARGEST_SHARE * drawn.size:
        return 0
    inner = np.pad(drawn, 1)
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:] & drawn
    thick = int(np.count_nonzero(inner))
    return count if count - thick >= _THIN * count else 0
