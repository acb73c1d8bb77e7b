"""A scan of noise with balls in it, and the result of a detection that has found them: for benchmarks of reading."""

from collections.abc import Iterable
from itertools import cycle, islice, product

import numpy as np

from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.io.detections import Stored
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.scan import Scan


def balls(
    side: int, middles: Iterable[int], radii: Iterable[int], most: int | None = None
) -> tuple[Scan, Outcome]:
    """Make a cube of noise with brighter balls on a grid, and a map that scores each a little lower than the last.

    Parameters
    ----------
    side
        Of the cube, in voxels.
    middles
        Places of the balls along each axis.
    radii
        In voxels, one for each ball in turn.
    most
        How many balls there are; None for one at each place.
    """
    voxels = np.random.default_rng(0).integers(80, 120, (side,) * 3, dtype=np.int16)
    score = np.zeros(voxels.shape, dtype=np.float32)
    places = islice(product(tuple(middles), repeat=3), most)
    for number, (place, r) in enumerate(zip(places, cycle(radii), strict=False)):
        inside = ((np.indices((2 * r + 1,) * 3) - r) ** 2).sum(axis=0) <= r * r
        box = tuple(slice(c - r, c + r + 1) for c in place)
        score[box][inside] = 0.999 - number * 1e-5
        voxels[box][inside] += 60
    scan = Scan.from_array(voxels, name="balls")
    ids = np.ones(voxels.shape, dtype=np.uint16)
    found = AnomalyMap(score, scan.geometry, 0.9, "made up", "0" * 64, 0.9, 0.0)
    stored = Stored(found, Supervoxels(ids, voxels.astype(np.float32), scan.geometry))
    return scan, Outcome(stored, prepare(stored.map, stored.supervoxels))
