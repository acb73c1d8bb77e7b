import numpy as np
import pytest
import torch
from scipy import ndimage

from bright_detector import Nothing, Outline, bright_detector, calibration
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector import detect as module
from napari_anomaly.detector.calibration import ANY
from napari_anomaly.detector.detect import detect, smooth, smoothed
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.detector.tiling import RawScores
from napari_anomaly.errors import DetectorError, WrongModality
from napari_anomaly.findings import find
from napari_anomaly.preprocess import prepare
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom, phantom_lesion
from napari_anomaly.scan import Scan
from round_head import round_atlas
from tiny_detector import write_tiny_detector

SHAPE, FIELD_MM, LESION_MM = (30, 48, 44), 96.0, 9.0
WAYS = ("joint", "plane", "volume", "mean")
CPU = DetectSettings(device="cpu", engine="torch")


def patient(**words):
    return phantom(SHAPE, lesion_mm=LESION_MM, field_mm=FIELD_MM, **words)


@pytest.fixture(scope="module")
def lesion():
    return phantom_lesion(SHAPE, field_mm=FIELD_MM, lesion_mm=LESION_MM) > 0


@pytest.fixture(scope="module")
def detection():
    return drain(detect(patient(), bright_detector(), CPU))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return checkpoint.load(write_tiny_detector(tmp_path_factory.mktemp("detector") / "tiny.safetensors"))


def test_a_bright_lesion_is_the_worst_finding(detection, lesion):
    score = detection.map.score
    # voxels of its border are partly tissue
    assert score[ndimage.binary_erosion(lesion)].min() > 0.97
    assert np.median(score[~lesion & (score > 0)]) < 0.5
    worst = find(detection.map, 0.999).items[0]
    assert lesion[worst.peak_index]


def test_a_detector_that_learned_below_a_ceiling_sees_nothing_above_it(detection):
    bent = drain(detect(patient(), bright_detector(ceiling=True), CPU))
    assert bent.map.raw.max() < detection.map.raw.max()
    usual = np.median(detection.map.raw)
    assert np.median(bent.map.raw) == pytest.approx(usual, abs=1e-5)


def test_a_detector_that_learned_from_even_scans_sees_none_of_the_gain(detection):
    detector = bright_detector(even=True)
    assert np.array_equal(
        drain(detect(patient(), detector, CPU)).map.raw, detection.map.raw
    )  # it knows no tissue
    detector.network.atlas.copy_(round_atlas())
    seen = drain(detect(patient(), detector, CPU))
    assert np.abs(seen.map.raw - detection.map.raw).max() > 0.1


@pytest.mark.parametrize("shape", [SHAPE, (26, 41, 37)])
def test_a_lesion_is_where_and_as_large_as_it_was_painted(shape):
    scan = phantom(shape, lesion_mm=LESION_MM, field_mm=FIELD_MM)
    painted = phantom_lesion(shape, field_mm=FIELD_MM, lesion_mm=LESION_MM) > 0
    raw = drain(detect(scan, bright_detector(), CPU)).map.raw
    inner = raw[ndimage.binary_erosion(painted, iterations=2)].mean()
    near, nearer = (ndimage.binary_dilation(painted, iterations=steps) for steps in (4, 2))
    around = np.median(raw[near & ~nearer])
    # the resampling blurs a border, which then lies where the score is halfway
    parts, _ = ndimage.label(raw > (inner + around) / 2)
    found = parts == np.bincount(parts[painted]).argmax()
    apart = (np.argwhere(found).mean(0) - np.argwhere(painted).mean(0)) * scan.geometry.spacing
    assert np.abs(apart).max() < 0.3
    assert found.sum() == pytest.approx(painted.sum(), rel=0.1)
    assert 2 * (found & painted).sum() / (found.sum() + painted.sum()) > 0.93


def test_the_map_is_the_scans_own(detection):
    scan = patient()
    assert detection.map.geometry.same_grid(scan.geometry)
    assert detection.supervoxels.geometry.same_grid(scan.geometry)
    assert detection.map.score.shape == detection.map.raw.shape == SHAPE
    outside = detection.supervoxels.ids == 0
    assert np.array_equal(detection.map.score == 0, outside)
    assert outside[0, 0, 0]
    assert not outside[tuple(side // 2 for side in SHAPE)]
    assert not detection.supervoxels.image[outside].any()


def test_the_map_says_where_it_comes_from(detection):
    assert (detection.map.detector, detection.map.detector_sha256) == ("bright 1.0", "0" * 64)
    assert (detection.map.default_threshold, detection.map.default_min_volume_mm3) == (0.99, 20.0)
    assert detection.map.false_findings.expected(0.9, 0.0) == 9
    assert (detection.device, detection.engine, detection.settings) == ("cpu", "torch", CPU)
    assert set(detection.seconds) == {"prepare", "supervoxels", "load networks", "networks", "calibrate"}
    assert all(seconds > 0 for seconds in detection.seconds.values())
    assert detection.notes == ()


def test_a_normal_scan_is_less_unusual(detection):
    normal = drain(detect(phantom(SHAPE, field_mm=FIELD_MM), bright_detector(), CPU))
    assert normal.map.scan_score < detection.map.scan_score - 0.1


def test_the_same_scan_gives_the_same_map(detection):
    again = drain(detect(patient(), bright_detector(), CPU))
    assert np.array_equal(again.map.score, detection.map.score)
    assert np.array_equal(again.supervoxels.ids, detection.supervoxels.ids)
    moved = drain(detect(patient(rng=np.random.default_rng(5)), bright_detector(), CPU))
    assert not np.array_equal(moved.map.score, detection.map.score)


def test_the_networks_asked_for_are_used(detection, lesion):
    dark = drain(detect(patient(), bright_detector(), CPU.model_copy(update={"networks": "joint"})))
    assert dark.map.raw[lesion].mean() < -1 < 1 < detection.map.raw[lesion].mean()
    best = drain(detect(patient(), bright_detector(best="joint"), CPU))
    assert np.array_equal(best.map.score, dark.map.score)
    assert not np.array_equal(best.map.score, detection.map.score)
    # the network of this test takes every scan for FLAIR
    by_contrast = drain(
        detect(patient(), bright_detector(by_contrast={"flair": "joint", "t1": "volume"}), CPU)
    )
    assert np.array_equal(by_contrast.map.score, dark.map.score)


def test_smoothing_is_the_detectors_and_in_mm(detection):
    smoother = drain(detect(patient(), bright_detector(smoothing_mm=3.0), CPU))
    rough = [
        np.abs(np.diff(found.map.raw[10:20, 15:30, 15:30], axis=1)).mean() for found in (smoother, detection)
    ]
    assert rough[0] < 0.8 * rough[1]
    spike = np.zeros((21, 21, 21), np.float32)
    spike[10, 10, 10] = 1
    blurred = smooth(spike, 1.0)
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert blurred[10, 10, 10] == pytest.approx((2 * np.pi) ** -1.5, rel=0.03)
    assert smooth(spike, 0.0) is spike
    raw = RawScores(*(torch.from_numpy(spike) * factor for factor in (1, 2, 6)), scan=0.0, contrast="t1")
    assert np.allclose(smoothed(raw, "mean", bright_detector(smoothing_mm=1.0)), 3 * blurred, atol=1e-6)
    # 2 mm are one voxel of a detector that sees voxels of 2 mm
    coarse = bright_detector(smoothing_mm=2.0, spacing_mm=2.0)
    assert np.allclose(smoothed(raw, "mean", coarse), 3 * blurred, atol=1e-6)


def test_a_detector_of_coarse_voxels_sees_coarse_voxels_and_the_map_is_the_scans_own(lesion):
    coarse = drain(detect(patient(), bright_detector(spacing_mm=2.0), CPU))
    fine = drain(detect(patient(), bright_detector(), CPU))
    assert coarse.map.score.shape == fine.map.score.shape
    assert not np.array_equal(coarse.map.score, fine.map.score)
    found = find(coarse.map, 0.99, min_volume_mm3=20)
    assert lesion[found.items[0].peak_index]


def test_scores_are_calibrated_on_normal_scans_of_the_same_contrast(detection):
    own = calibration()
    strict = own.model_copy(update={"raw": tuple(2 * value for value in own.raw), "default_threshold": 0.9})
    found, other = (
        drain(detect(patient(), bright_detector(calibrations=dict.fromkeys(WAYS, table)), CPU))
        for table in ({ANY: own, "flair": strict}, {ANY: own, "t2": strict})
    )
    assert found.contrast == "flair"
    assert found.map.default_threshold == 0.9 != other.map.default_threshold
    assert np.array_equal(other.map.score, detection.map.score)
    higher = (detection.map.raw > 0.1) & (detection.map.score > 0)
    assert (found.map.score[higher] < detection.map.score[higher]).all()


def test_findings_end_at_their_outline_where_the_detector_knows_even_odds(detection):
    own = calibration()
    even = float(np.quantile(detection.map.raw[detection.map.score > 0.999], 0.8))
    tight = own.model_copy(update={"even": even, "default_threshold": 0.99, "hysteresis": 1.0})
    loose = tight.model_copy(update={"even": None})
    found, halo = (
        drain(detect(patient(), bright_detector(calibrations=table), CPU)).map
        for table in ({way: {ANY: each} for way in WAYS} for each in (tight, loose))
    )
    small, large = (find(each, 0.99).mask.sum() for each in (found, halo))
    assert 0 < small < large
    assert np.array_equal(found.raw, halo.raw)
    assert find(found, 0.99).items[0].id == find(halo, 0.99).items[0].id


def test_a_supervoxel_has_the_size_asked_for():
    settings = CPU.model_copy(update={"supervoxel_mm3": 1000.0})
    found = drain(detect(patient(), bright_detector(), settings)).supervoxels
    mean = (found.ids > 0).sum() * patient().geometry.voxel_volume / found.ids.max()
    assert mean == pytest.approx(1000, rel=0.5)


def test_the_mirrored_scan_gives_the_mirrored_map_when_both_are_looked_at(tiny):
    scan = patient(noise=0.0)
    flipped = Scan.from_array(scan.voxels[:, :, ::-1].copy(), affine=scan.geometry.affine)
    both, once = CPU.model_copy(update={"mirror": True}), CPU

    def apart(settings):
        straight, turned = (drain(detect(one, tiny, settings)).map.raw for one in (scan, flipped))
        return np.abs(straight - turned[:, :, ::-1]).mean() / straight.std()

    assert apart(both) < 0.25 * apart(once)


def test_a_second_look_changes_the_map_and_not_what_it_is(tiny):
    once, twice = (
        drain(detect(patient(), tiny, CPU.model_copy(update={"mirror": m}))) for m in (False, True)
    )
    assert not np.allclose(once.map.raw, twice.map.raw, atol=1e-3)
    assert np.array_equal(once.map.score > 0, twice.map.score > 0)


def test_what_is_found_again_in_the_mirror_image_is_stable(detection, tiny):
    # the network of this test does not care which side it looks at
    worst = find(detection.map, 0.999).items[0]
    assert worst.stability > 0.8
    assert detection.map.least.dtype == np.float16
    shy = drain(detect(patient(), tiny, CPU))
    shaky = [finding.stability for finding in find(shy.map, float(np.quantile(shy.map.score, 0.99)))]
    assert min(shaky) < 0.7


@pytest.mark.parametrize("mirror", [False, True])
def test_how_stable_a_finding_is_changes_nothing_else(tiny, mirror):
    settings = CPU.model_copy(update={"mirror": mirror})
    with_it, without = (
        drain(detect(patient(), tiny, settings.model_copy(update={"stability": on}))) for on in (True, False)
    )
    assert np.array_equal(with_it.map.score, without.map.score)
    assert (with_it.map.least is not None, without.map.least is not None) == (True, mirror)


def test_progress_only_goes_forward_and_a_tile_is_never_silent():
    seen = list(detect(patient(), bright_detector(), CPU))
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert (done[0], seen[-1].total) == (0, 100)
    finer = list(detect(patient(), bright_detector(), CPU.model_copy(update={"tile": 2})))
    assert len(finer) > 2 * len(seen)
    assert {"Preparing the scan", "Looking at slices", "Calibrating"} < {progress.text for progress in seen}


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_closing_cancels_and_leaves_nothing_behind(steps, detection):
    detector = bright_detector()
    running = detect(patient(), detector, CPU)
    for _ in range(steps):
        next(running)
    running.close()
    with pytest.raises(StopIteration):
        next(running)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert np.array_equal(drain(detect(patient(), detector, CPU)).map.score, detection.map.score)


def test_a_scan_without_spacing_is_noted():
    scan = Scan.from_array(patient().voxels, unit="voxel")
    assert "a voxel was taken for a millimetre" in " ".join(drain(detect(scan, bright_detector(), CPU)).notes)


def test_what_the_detector_has_not_learned_is_refused():
    brain = bright_detector(extraction=Outline())
    ct = Scan.from_array(phantom((60, 72, 60), field_mm=150).voxels * 10 - 1000, spacing=(2.1, 2.1, 2.1))
    with pytest.raises(WrongModality, match="looks like a CT"):
        drain(detect(ct, brain, CPU))
    for scan in (patient(), Scan.from_array(np.zeros((20, 20, 20), np.float32))):
        with pytest.raises(WrongModality, match="No brain was recognised"):
            drain(detect(scan, bright_detector(extraction=Nothing()), CPU))


def test_only_the_brain_is_looked_at_where_the_detector_knows_one():
    scan = phantom((40, 48, 40), field_mm=150)
    found = drain(detect(scan, bright_detector(extraction=Outline()), CPU))
    ml = (found.map.score > 0).sum() * scan.geometry.voxel_volume / 1000
    assert 350 < ml < 2400


def test_a_device_that_is_not_there_is_refused():
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(DetectorError, match=f"The device {missing} was asked for"):
        next(detect(patient(), bright_detector(), DetectSettings(device=missing)))


def run_on(device, detector, settings=CPU):
    """Score on a device by name: a second name of the CPU stands for a GPU, whose memory can run out."""
    notes = []
    prepared = prepare(patient(), None, device=torch.device("cpu"))
    steps = module._run(detector, prepared, settings, device, clock=module._Clock(), notes=notes)
    looks, used, _ = drain(steps)
    return looks[0], used, notes


@pytest.mark.parametrize(("failures", "used"), [(1, "cpu:0"), (2, "cpu:0"), (3, "cpu")])
def test_short_memory_steps_down_and_the_result_is_whole(failures, used):
    wanted, _, quiet = run_on("cpu:0", bright_detector())
    raw, device, notes = run_on("cpu:0", bright_detector(failures=failures))
    assert quiet == []
    assert (
        notes
        == ["The GPU's memory was short: the detection went on with less of it, or on the CPU."] * failures
    )
    assert device == used
    for name in ("joint", "plane", "volume"):
        assert torch.allclose(getattr(raw, name), getattr(wanted, name), atol=0.1), name


@pytest.mark.parametrize(
    "trouble",
    [
        MemoryError("Unable to allocate 64.0 GiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_no_memory_on_a_cpu_is_said_in_words(monkeypatch, trouble):
    def fail(*words, **named):
        raise trouble

    monkeypatch.setattr(module, "supervoxels", fail)
    with pytest.raises(DetectorError, match=r"not enough memory for this scan. Close other programs"):
        drain(detect(patient(), bright_detector(), CPU))


def test_other_trouble_is_not_taken_for_memory(monkeypatch):
    def fail(*words, **named):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(module, "supervoxels", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        drain(detect(patient(), bright_detector(), CPU))


def test_no_memory_at_all_is_said_in_words():
    with pytest.raises(DetectorError, match=r"not enough memory for this scan. Close other programs"):
        drain(detect(patient(), bright_detector(failures=9), CPU))
