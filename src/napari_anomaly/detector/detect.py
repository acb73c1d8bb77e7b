"""Detection: scan in, calibrated anomaly map, supervoxels and scan score out."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_anomaly.anatomy import Anatomy
from napari_anomaly.anomaly import AnomalyMap, Supervoxels
from napari_anomaly.detector.anatomy import find_anatomy, load_anatomy
from napari_anomaly.detector.calibration import (
    calibrate_scan,
    decades_map,
    of_contrast,
    scan_raw_score,
    score_map,
)
from napari_anomaly.detector.checkpoint import Detector
from napari_anomaly.detector.device import choose
from napari_anomaly.detector.outlines import without_halo
from napari_anomaly.detector.settings import DetectSettings, Networks
from napari_anomaly.errors import DetectorError
from napari_anomaly.progress import Progress
from napari_anomaly.proxy import superpixel_image, supervoxels
from napari_anomaly.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from napari_anomaly.detector.calibration import Calibration
    from napari_anomaly.detector.engine import Engine
    from napari_anomaly.detector.tiling import RawScores
    from napari_anomaly.networks.joint import JointNetwork
    from napari_anomaly.preprocess import Prepared


NO_MEMORY = "There was not enough memory for this scan. Close other programs, or use a smaller scan."


@contextmanager
def _memory_in_words() -> Iterator[None]:
    """Say that memory has run out as the reader needs to hear it; libraries say it in ways of their own."""
    try:
        yield
    except MemoryError as error:
        raise DetectorError(NO_MEMORY) from error
    except RuntimeError as error:
        # of PyTorch on the CPU; nothing tells its class from that of any other trouble
        if "not enough memory" not in str(error):
            raise
        raise DetectorError(NO_MEMORY) from error


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """Everything a detection found, and how."""

    map: AnomalyMap
    supervoxels: Supervoxels
    seconds: Mapping[str, float]
    """Time of every stage."""
    device: str
    engine: str
    notes: tuple[str, ...]
    """What the reader should know, in whole sentences."""
    settings: DetectSettings
    contrast: str = ""
    """Kind of contrast that the detector took the scan for: "t1", "t2", "flair" or "free"."""
    second_opinion: np.ndarray | None = None
    """Share of normal voxels that ProxyAno rebuilds better, float32, (z, y, x); None where it was not asked for."""

    @property
    def anatomy(self) -> Anatomy | None:
        """What lies where in the scan; None where it was not asked for, or cannot be told."""
        return self.map.anatomy


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            with _memory_in_words():
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def detect(
    scan: Scan, detector: Detector, settings: DetectSettings | None = None
) -> Generator[Progress, None, Detection]:
    """Detect anomalies.

    Parameters
    ----------
    scan : Scan
        Any size and spacing.
    detector : Detector
        From `checkpoint.load`.
    settings : DetectSettings, optional
        Device, networks, supervoxels.

    Yields
    ------
    Progress
        Once a tile of slices; closing the generator cancels.

    Returns
    -------
    Detection
        On the scan's own grid.

    Raises
    ------
    WrongModality
        If the scan is not what the detector has learned.
    DetectorError
        If the device that was asked for is not there.
    """
    import torch

    from napari_anomaly.preprocess import prepare

    settings = settings or DetectSettings()
    chosen = choose(settings.device)
    clock, notes = _Clock(), list(scan.notes)
    if scan.geometry.unit == "voxel":
        notes.append("The file gives no spacing: a voxel was taken for a millimetre, so sizes may mislead.")
    yield Progress(0, 100, "Preparing the scan")
    with clock.stage("prepare"):
        extraction = detector.extraction
        prepared = prepare(scan, extraction, device=torch.device("cpu"), spacing_mm=detector.card.spacing_mm)
    yield Progress(10, 100, "Finding supervoxels")
    mask = (prepared.to_scan(prepared.mask.float()) > 0.5).numpy()
    with clock.stage("supervoxels"):
        ids = supervoxels(scan.voxels, mask, spacing=scan.geometry.spacing, size_mm3=settings.supervoxel_mm3)
        proxy = superpixel_image(scan.voxels, ids)
    looks, device, engine = yield from _run(
        detector, prepared, settings, chosen.name, clock=clock, notes=notes
    )
    raw = looks[0]
    yield Progress(95, 100, "Calibrating")
    networks = settings.networks or detector.card.by_contrast.get(raw.contrast, detector.card.best)
    with clock.stage("calibrate"):
        calibration = of_contrast(detector.card.calibrations[networks], raw.contrast)
        seen = [smoothed(look, networks, detector) for look in looks]
        smooth_raw = np.mean(seen, axis=0) if settings.mirror else seen[0]
        anomaly_map = _calibrated(scan, detector, prepared, calibration, smooth_raw, mask)
        if len(seen) > 1:
            least = prepared.to_scan(torch.from_numpy(np.minimum(*seen))).numpy()
            anomaly_map = replace(anomaly_map, least=decades_map(least, mask, calibration))
    if settings.anatomy and detector.card.region == "brain" and scan.oriented:
        yield Progress(95, 100, "Naming structures")
        with clock.stage("anatomy"):
            anatomy = find_anatomy(load_anatomy().network, prepared, scan.geometry)
            anomaly_map = replace(anomaly_map, anatomy=anatomy)
    second_opinion = None
    if settings.second_opinion:
        second_opinion = yield from _second_opinion(detector, prepared, clock=clock, notes=notes)
    return Detection(
        map=anomaly_map,
        supervoxels=Supervoxels(ids, proxy, scan.geometry),
        seconds=clock.seconds,
        device=device,
        engine=engine,
        notes=tuple(dict.fromkeys(notes)),
        settings=settings,
        contrast=raw.contrast,
        second_opinion=second_opinion,
    )


def _second_opinion(
    detector: Detector, prepared: Prepared, *, clock: _Clock, notes: list[str]
) -> Generator[Progress, None, np.ndarray | None]:
    from napari_anomaly.detector.second_opinion import bundled, opinion

    if detector.card.region != "brain":
        notes.append("There is no second opinion for this detector: ProxyAno has learned brains only.")
        return None
    steps = opinion(prepared, bundled())
    while True:
        with clock.stage("second opinion"):
            try:
                progress = next(steps)
            except StopIteration as finished:
                found: np.ndarray = finished.value
                return found
        yield Progress(95 + round(4 * progress.fraction), 100, progress.text)


def smoothed(raw: RawScores, networks: Networks, detector: Detector) -> np.ndarray:
    """Raw scores of the chosen networks, smoothed as the detector was calibrated, float32 (z, y, x)."""
    card = detector.card
    return smooth(getattr(raw, networks).cpu().numpy(), card.smoothing_mm / card.spacing_mm)


def smooth(raw: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing by a number of voxels that the networks see; specks lose more than lesions."""
    return ndimage.gaussian_filter(raw, sigma, truncate=3.0) if sigma > 0 else raw


def _run(
    detector: Detector,
    prepared: Prepared,
    settings: DetectSettings,
    device: str,
    *,
    clock: _Clock,
    notes: list[str],
) -> Generator[Progress, None, tuple[list[RawScores], str, str]]:
    import torch

    with clock.stage("prepare"):
        prepared = replace(prepared, image=_shown(detector, prepared))
    for name, tile, half in _attempts(device, settings.tile):
        try:
            with clock.stage("load networks"):
                engine = _engine(detector, settings, name, half=half)
            looks = yield from _passes(engine, prepared, settings, torch.device(name), tile=tile, clock=clock)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            notes.append("The GPU's memory was short: the detection went on with less of it, or on the CPU.")
        else:
            return looks, name, engine.name
    raise DetectorError(NO_MEMORY)


def _shown(detector: Detector, prepared: Prepared) -> torch.Tensor:
    from napari_anomaly.detector.seen import as_seen

    network: JointNetwork = detector.network  # type: ignore[assignment]
    learned = detector.card
    return as_seen(prepared.image, prepared.mask, network.atlas, even=learned.even, ceiling=learned.ceiling)


def _attempts(device: str, tile: int) -> list[tuple[str, int, bool]]:
    if device == "cpu":
        return [("cpu", tile, False)]
    return [
        (device, tile, False),
        (device, max(1, tile // 4), False),
        (device, 1, True),
        ("cpu", tile, False),
    ]


def _engine(detector: Detector, settings: DetectSettings, device: str, *, half: bool) -> Engine:
    from napari_anomaly.detector.engine import OpenVinoEngine, TorchEngine, installed

    wanted = settings.engine == "openvino" or (settings.engine == "auto" and installed())
    if device == "cpu" and wanted:
        network: JointNetwork = detector.network  # type: ignore[assignment]
        return OpenVinoEngine(network, detector.sha256)
    return TorchEngine(_on(detector, device, half=half))


def _on(detector: Detector, device: str, *, half: bool) -> JointNetwork:
    network: JointNetwork = detector.network  # type: ignore[assignment]
    network.use_channels_last()
    if device == "cpu":
        return network
    moved = deepcopy(network).to(device)
    return moved.half() if half else moved


def _passes(
    engine: Engine,
    prepared: Prepared,
    settings: DetectSettings,
    device: torch.device,
    *,
    tile: int,
    clock: _Clock,
) -> Generator[Progress, None, list[RawScores]]:
    """Score the scan, and its mirror image where that is wanted; all on the grid of the scan."""
    from napari_anomaly.detector.tiling import score

    image, mask = prepared.image.to(device), prepared.mask.to(device)
    # a look that only says whether a finding is there again need not be as fine as one that is averaged
    slice_steps = [1, 1 if settings.mirror else 2]
    if not (settings.mirror or settings.stability):
        slice_steps.pop()
    wanted = sum(1 / step for step in slice_steps)
    results: list[RawScores] = []
    for index, step in enumerate(slice_steps):
        turned = (image, mask) if index == 0 else (image.flip(-1), mask.flip(-1))
        steps = score(engine, *turned, tile=tile, slices=prepared.slices, slice_step=step)
        while True:
            with clock.stage("networks"):
                try:
                    progress = next(steps)
                except StopIteration as finished:
                    results.append(finished.value)
                    break
            share = (sum(1 / step for step in slice_steps[:index]) + progress.fraction / step) / wanted
            yield Progress(20 + round(75 * share), 100, progress.text)
    return [results[0], *(turned_back(look) for look in results[1:])]


def turned_back(look: RawScores) -> RawScores:
    """Bring what was seen in the mirror image of a scan back to the grid of the scan."""
    return look._replace(joint=look.joint.flip(-1), plane=look.plane.flip(-1), volume=look.volume.flip(-1))


def _calibrated(
    scan: Scan,
    detector: Detector,
    prepared: Prepared,
    calibration: Calibration,
    raw: np.ndarray,
    mask: np.ndarray,
) -> AnomalyMap:
    import torch

    inside = raw[prepared.mask.numpy()]
    on_scan = prepared.to_scan(torch.from_numpy(raw)).numpy()
    score = score_map(on_scan, mask, calibration)
    if calibration.even is not None:
        smallest = calibration.default_min_volume_mm3 / scan.geometry.voxel_volume
        score = without_halo(
            score,
            on_scan,
            calibration.even,
            threshold=calibration.default_threshold,
            hysteresis=calibration.hysteresis,
            smallest=smallest,
        )
    return AnomalyMap(
        score=score,
        geometry=scan.geometry,
        scan_score=calibrate_scan(scan_raw_score(inside), calibration),
        detector=f"{detector.name} {detector.version}",
        detector_sha256=detector.sha256,
        default_threshold=calibration.default_threshold,
        default_min_volume_mm3=calibration.default_min_volume_mm3,
        false_findings=calibration.false_findings,
        raw=on_scan.astype(np.float32),
        hysteresis=calibration.hysteresis,
    )
