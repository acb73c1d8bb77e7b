"""A detector without networks, for tests of the dock: bright is what lies far from the mean, tile by tile."""

import threading
import time
from dataclasses import dataclass, replace

import numpy as np

from napari_anomaly.anomaly import AnomalyMap, FalseFindings, Supervoxels
from napari_anomaly.plugin.engine import Device, Request
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan

TILES = 20


@dataclass(frozen=True, slots=True, eq=False)
class FakeResult:
    map: AnomalyMap
    supervoxels: Supervoxels
    notes: tuple[str, ...] = ()
    second_opinion: np.ndarray | None = None


class FakeEngine:
    """Sleeps `seconds` in all; raises `error` half-way where one is given; counts what became of its runs.

    With `hold_at`, the first run stops inside of that tile, says so by `reached`, and goes on when `go` is
    set.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        error: Exception | None = None,
        notes: tuple[str, ...] = (),
        hold_at: int | None = None,
    ) -> None:
        self.seconds = seconds
        self.hold_at = hold_at
        self.reached = threading.Event()
        self.go = threading.Event()
        self.error = error
        self.notes = notes
        self.tiles = 0
        self.closed = 0
        self.finished = 0
        self.requests: list[Request] = []

    def names(self) -> tuple[str, ...]:
        return ("fake 1.0",)

    def devices(self) -> tuple[Device, ...]:
        return (Device("auto", "automatic: CPU, no CUDA device was found"), Device("cpu", "CPU"))

    def detect(self, request: Request) -> Steps[FakeResult]:
        self.requests.append(request)
        try:
            for tile in range(TILES):
                time.sleep(self.seconds / TILES)
                self.tiles += 1
                if self.tiles == self.hold_at and len(self.requests) == 1:
                    self.reached.set()
                    self.go.wait(60)
                yield Progress(tile + 1, TILES, "looking at slices")
                if self.error is not None and tile == TILES // 2:
                    raise self.error
            self.finished += 1
            result = fake_result(request.scan, self.notes)
            return replace(result, second_opinion=result.map.score / 2) if request.second_opinion else result
        except GeneratorExit:
            self.closed += 1
            raise


def fake_result(scan: Scan, notes: tuple[str, ...] = (), *, block: int = 5) -> FakeResult:
    """Score by the distance from the mean of the tissue, in standard deviations; supervoxels are cubes."""
    voxels = scan.voxels.astype(np.float32)
    tissue = voxels > voxels.min()
    spread = (voxels - voxels[tissue].mean()) / voxels[tissue].std()
    decades = np.where(tissue, np.clip(spread - 0.5, 0, 6), 0)
    score = np.clip(1 - 10.0**-decades, 0, 1 - 1e-6).astype(np.float32)
    places = np.indices(voxels.shape) // block
    counts = [n // block + 1 for n in voxels.shape]
    blocks = np.ravel_multi_index(tuple(places), counts)
    ids = np.unique(np.where(tissue, blocks + 1, 0), return_inverse=True)[1].reshape(voxels.shape)
    ids = (ids + (0 if not tissue.all() else 1)).astype(np.uint16)
    sums = np.bincount(ids.ravel(), voxels.ravel()) / np.maximum(np.bincount(ids.ravel()), 1)
    table = FalseFindings(
        (0.9, 0.99, 0.999, 0.9999), (0.0, 100.0), ((60, 20), (12, 4), (1.5, 0.4), (0.1, 0.0))
    )
    found = AnomalyMap(
        score, scan.geometry, 0.972, "fake 1.0", "0" * 64, 0.995, 30.0, table, spread.astype(np.float32)
    )
    return FakeResult(found, Supervoxels(ids, sums[ids].astype(np.float32), scan.geometry), notes)
