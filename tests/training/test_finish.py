import numpy as np
import pytest
import torch

from bright_detector import BrightNetwork
from napari_anomaly.detector.calibration import ANY, calibrate, of_contrast
from napari_anomaly.detector.engine import TorchEngine
from napari_anomaly.detector.tiling import score
from napari_anomaly.intensities import normalise, soften
from napari_anomaly.progress import drain
from napari_anomaly.training.finish import FEWEST, NETWORKS, PLAN, SMOOTHING_MM, finish
from napari_anomaly.training.normals import make_normal
from napari_anomaly.training.operating_point import MOST_FALSE, SMALLEST_MM3, THRESHOLDS, VOLUMES_MM3
from small_subjects import real_subject

SUBJECTS = FEWEST // len(PLAN["flair"])
SCANS = SUBJECTS * len(PLAN["flair"])


@pytest.fixture(scope="module")
def finished():
    seen = []
    subjects = [real_subject("flair")] * SUBJECTS
    done = drain(finish(BrightNetwork().eval(), subjects, seed=1), seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(scan, SCANS) for scan in range(SCANS)]
    return done


def test_every_way_is_measured_and_the_best_is_taken(finished):
    rows = {(row["networks"], row["smoothing_mm"]): row["average_precision"] for row in finished.table}
    assert set(rows) == {(name, sigma) for name in NETWORKS for sigma in SMOOTHING_MM}
    # lesions of FLAIR are bright, and the joint network of this test looks for what is dark
    assert finished.best != "joint"
    assert max(rows.values()) > 2 * max(rows["joint", sigma] for sigma in SMOOTHING_MM)


def test_every_way_is_calibrated_on_all_normals_and_on_those_of_a_contrast(finished):
    assert set(finished.calibrations) == set(NETWORKS)
    for calibrations in finished.calibrations.values():
        # the network of this test takes every scan for FLAIR
        assert set(calibrations) == {ANY, "flair"}
        for calibration in calibrations.values():
            assert calibration.normals == len(calibration.scan_raw) == SCANS
            assert list(calibration.scan_raw) == sorted(calibration.scan_raw)
            assert (np.diff(calibration.raw) > 0).all()
    assert finished.calibrations["plane"][ANY].raw != finished.calibrations["joint"][ANY].raw
    assert finished.contrasts["flair"]["scans"] == SCANS


def test_the_best_way_is_chosen_for_every_contrast(finished):
    assert set(finished.ways) == {ANY, "flair"}
    for contrast, chosen in finished.ways.items():
        told = finished.contrasts[contrast]
        assert chosen == told["networks"] != "joint"
        dice = {name: told[f"painted_dice_{name}"] for name in NETWORKS}
        assert told["painted_dice"] == dice[chosen] == max(dice.values())
        # the joint network of this test looks for what is dark
        assert dice["joint"] < 0.5 * dice[chosen]
    assert finished.best == finished.ways[ANY]


def test_a_contrast_with_too_few_scans_has_no_calibration_of_its_own():
    done = drain(finish(BrightNetwork().eval(), [real_subject("flair")], seed=1, copies=2))
    assert set(done.calibrations["plane"]) == {ANY}
    assert of_contrast(done.calibrations["plane"], "flair") is done.calibrations["plane"][ANY]


def test_false_findings_are_counted_and_the_default_keeps_normal_scans_quiet(finished):
    for calibrations in finished.calibrations.values():
        calibration = calibrations["flair"]
        table = calibration.false_findings
        assert table.thresholds == THRESHOLDS
        assert table.volumes_mm3 == VOLUMES_MM3
        assert all(np.all(np.diff(row) <= 0) for row in table.per_scan)
        assert calibration.default_min_volume_mm3 == SMALLEST_MM3
        expected = table.expected(calibration.default_threshold, SMALLEST_MM3)
        assert expected <= MOST_FALSE + 1e-4 or calibration.default_threshold == THRESHOLDS[-1]


def test_a_share_of_the_voxels_of_a_new_normal_scan_is_what_the_score_says(finished):
    shares, engine = [], TorchEngine(BrightNetwork().eval())
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        normal = make_normal(real_subject("flair"), rng, torch.device("cpu"), harder=False)
        image = soften(normalise(normal.image.float(), normal.mask))
        raw = drain(score(engine, image, normal.mask)).plane.numpy()
        scores = calibrate(raw[normal.mask.numpy()], finished.calibrations["plane"]["flair"])
        shares.append([np.mean(scores < share) for share in (0.5, 0.9)])
    assert np.mean(shares, axis=0) == pytest.approx([0.5, 0.9], abs=0.2)


def test_the_same_seed_finishes_alike():
    one, same, other = (
        drain(finish(BrightNetwork().eval(), [real_subject("flair")], seed=seed, copies=1))
        for seed in (4, 4, 5)
    )
    assert one.table == same.table != other.table
    assert one.calibrations == same.calibrations != other.calibrations
