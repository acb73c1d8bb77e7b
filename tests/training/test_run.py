from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_anomaly.detector import checkpoint
from napari_anomaly.errors import DetectorError
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import drain
from napari_anomaly.training.batch import Pool, make_batch
from napari_anomaly.training.run import (
    begin_with,
    extract,
    fit,
    learn_atlas,
    losses_of,
    resume,
    save,
    start,
    step,
)
from napari_anomaly.training.settings import TrainSettings
from small_subjects import label_subject, real_subject

CPU = torch.device("cpu")
SIDES = (36, 96, 48)
SETTINGS = TrainSettings(steps=3, pool=1, scans_per_step=1, slices_per_scan=2, extraction_steps=2)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(3)
    pool = Pool([real_subject(sides=SIDES)], size=1, rng=rng, device=CPU)
    pool.renew()
    return make_batch(pool, rng, scans=1, slices=2, difficulty=Difficulty(), library=None)


def weights(module):
    return [value.clone() for value in module.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_seed_starts_with_the_same_networks():
    one, again = start(SETTINGS, CPU), start(SETTINGS, CPU)
    other = start(SETTINGS.model_copy(update={"seed": 2}), CPU)
    assert same(weights(one.network), weights(again.network))
    assert not same(weights(one.network), weights(other.network))
    assert set(one.modules) == {"network", "average", "extraction", "tissue"}


def test_progress_is_by_steps_or_by_time_whichever_is_further():
    run = start(SETTINGS.model_copy(update={"steps": 100, "minutes": 10.0}), CPU)
    assert run.progress == 0
    run.step, run.seconds = 20, 60.0
    assert run.progress == 0.2
    run.seconds = 300.0
    assert run.progress == 0.5
    run.seconds = 3000.0
    assert run.progress == 1


def test_a_step_changes_weights_and_average_and_tells_its_losses(batch):
    run = start(SETTINGS, CPU)
    before, average = weights(run.network), weights(run.average)
    told = step(run, batch)
    assert not same(before, weights(run.network))
    assert not same(average, weights(run.average))
    parts = {"joint", "plane", "volume", "recall", "scan", "contrast", "embedding", "tail", "tissue"}
    assert set(told) == {"loss", "dice", *parts}
    assert told["loss"] == pytest.approx(sum(told[name] for name in parts), rel=1e-4)
    assert all(np.isfinite(value) for value in told.values())
    assert 0 <= told["dice"] <= 1


def test_steps_on_one_batch_learn_it(batch):
    run = start(SETTINGS.model_copy(update={"steps": 100}), CPU)
    losses = []
    for _ in range(6):
        losses.append(step(run, batch)["loss"])
        run.step += 5
    assert losses[-1] < 0.9 * losses[0]


def test_the_learning_rate_warms_up_and_anneals(batch):
    rates = []
    run = start(SETTINGS.model_copy(update={"steps": 100}), CPU)
    for run.step in (0, 2, 50, 99):
        step(run, batch)
        rates.append(run.optimiser.param_groups[0]["lr"] / SETTINGS.learning_rate)
    assert rates == pytest.approx([0.051, 1.0, 0.501, 0.001], abs=2e-3)


def test_the_embedding_counts_where_it_is_asked_for_and_there_are_cells(batch):
    run = start(SETTINGS, CPU)
    with torch.no_grad():
        seen = run.network(batch.slices, batch.volume, batch.where, batch.scan_of)

    def embedding(weight, data=batch):
        settings = SETTINGS.model_copy(update={"embedding_weight": weight})
        return losses_of(seen, data, 0.5, settings, np.random.default_rng(0)).get("embedding")

    assert float(embedding(2.0)) == pytest.approx(2 * float(embedding(1.0)), rel=1e-5)
    assert embedding(0.0) is None
    assert embedding(1.0, replace(batch, inside=torch.zeros_like(batch.inside))) is None


def test_the_tail_of_the_normal_voxels_counts_as_much_as_is_asked_for(batch):
    run = start(SETTINGS, CPU)
    with torch.no_grad():
        seen = run.network(batch.slices, batch.volume, batch.where, batch.scan_of)

    def tail(weight):
        settings = SETTINGS.model_copy(update={"tail_weight": weight})
        return losses_of(seen, batch, 0.5, settings, np.random.default_rng(0)).get("tail")

    assert float(tail(0.5)) == pytest.approx(2 * float(tail(0.25)), rel=1e-5)
    assert float(tail(0.25)) > 0
    assert tail(0.0) is None


def test_recall_matters_at_first(batch):
    run = start(SETTINGS, CPU)
    with torch.no_grad():
        seen = run.network(batch.slices, batch.volume, batch.where, batch.scan_of)
    early, late = (losses_of(seen, batch, at, SETTINGS, np.random.default_rng(0)) for at in (0.0, 1.0))
    assert float(early["recall"]) == pytest.approx(20 * float(late["recall"]), rel=1e-4)
    assert float(early["joint"]) == float(late["joint"])


def detector_of(run, region="brain"):
    card = checkpoint.Card(
        name="earlier",
        version="2.1",
        modality="",
        region=region,
        plane_widths=run.network.plane.widths,
        volume_widths=run.network.volume.widths,
        extraction_widths=None,
        best="joint",
        smoothing_mm=0.0,
        calibrations={},
        provenance={"steps": 40, "minutes": 3.0, "began_with": {"steps": 30, "minutes": 0.5}},
    )
    return checkpoint.Detector(card, "ab" * 32, run.network, run.extraction)


def test_a_run_that_begins_with_a_detector_has_its_weights_and_is_past_the_easy_part(tmp_path, batch):
    earlier = start(SETTINGS.model_copy(update={"seed": 9}), CPU)
    run = start(SETTINGS, CPU)
    assert run.stage == run.progress == 0
    begin_with(run, detector_of(earlier))
    assert same(weights(run.network), weights(earlier.network))
    assert same(weights(run.average.module), weights(earlier.network))
    assert same(weights(run.extraction), weights(earlier.extraction))
    assert (run.progress, run.stage) == (0, 1)
    known = {
        "name": "earlier",
        "version": "2.1",
        "region": "brain",
        "sha256": "ab" * 32,
        "steps": 70,
        "minutes": 3.5,
    }
    assert run.began_with == known

    save(run, tmp_path / "run.safetensors")
    other = start(SETTINGS, CPU)
    resume(other, tmp_path / "run.safetensors")
    assert other.began_with == known


def test_a_detector_of_another_region_lends_its_networks_and_keeps_its_atlas():
    earlier = start(SETTINGS.model_copy(update={"seed": 9}), CPU)
    earlier.network.atlas.fill_(0.5)
    run = start(SETTINGS, CPU)
    extraction = weights(run.extraction)
    begin_with(run, detector_of(earlier, region="body"))
    assert torch.equal(run.network.head.weight, earlier.network.head.weight)
    assert torch.equal(run.average.module.head.weight, earlier.network.head.weight)
    assert not run.network.atlas.any()
    assert earlier.network.atlas.all()
    assert same(weights(run.extraction), extraction)
    # what is normal there has to be learned from the beginning
    assert run.stage == run.progress == 0


def test_a_detector_of_other_networks_is_nothing_to_begin_with():
    run, small = start(SETTINGS, CPU), start(SETTINGS, CPU)
    small.network = JointNetwork((2, 2, 2, 2), (2, 2, 2, 2))
    with pytest.raises(DetectorError, match=r"detector earlier: its networks have \(2, 2, 2, 2\)"):
        begin_with(run, detector_of(small))
    assert not run.began_with


def test_a_resumed_run_is_where_it_was_and_goes_on_alike(tmp_path, batch):
    path = tmp_path / "run.checkpoint.safetensors"
    run = start(SETTINGS, CPU)
    step(run, batch)
    run.step, run.seconds, run.generator_seconds = 1, 7.5, 2.5
    run.rng.random(17)
    run.curve.append({"step": 1.0, "loss": 0.5})
    save(run, path)

    other = start(SETTINGS.model_copy(update={"seed": 9}), CPU)
    assert not same(weights(run.network), weights(other.network))
    resume(other, path)
    assert (other.step, other.seconds, other.generator_seconds) == (1, 7.5, 2.5)
    assert other.curve == [{"step": 1.0, "loss": 0.5}]
    assert other.rng.bit_generator.state == run.rng.bit_generator.state
    for name, module in run.modules.items():
        assert same(weights(module), weights(other.modules[name])), name

    told, again = step(run, batch), step(other, batch)
    assert told == again
    assert same(weights(run.network), weights(other.network))
    assert same(weights(run.average), weights(other.average))
    assert run.rng.random() == other.rng.random()


def test_a_fit_spends_its_steps_and_keeps_its_last(tmp_path):
    path = tmp_path / "run.checkpoint.safetensors"
    run, seen = start(SETTINGS, CPU), []
    drain(fit(run, [label_subject(sides=SIDES), real_subject(sides=SIDES)], None, path), seen.append)
    assert run.step == 3
    assert run.progress == 1
    assert 0 < run.generator_seconds < run.seconds
    assert [progress.text.split(":")[0] for progress in seen] == [
        "Synthesising normal scans",
        "Step 1",
        "Step 2",
        "Step 3",
    ]
    assert seen[-1].fraction == 1
    resumed = start(SETTINGS, CPU)
    resume(resumed, path)
    assert resumed.step == 3
    assert same(weights(run.network), weights(resumed.network))


def test_a_stopped_fit_loses_nothing(tmp_path):
    path = tmp_path / "run.checkpoint.safetensors"
    run = start(SETTINGS, CPU)
    running = fit(run, [real_subject(sides=SIDES)], None, path)
    for _ in range(3):
        last = next(running)
    assert last.text.startswith("Step 2")
    assert not path.exists()
    running.close()
    resumed = start(SETTINGS, CPU)
    resume(resumed, path)
    assert resumed.step == 2
    assert same(weights(run.network), weights(resumed.network))
    drain(fit(resumed, [real_subject(sides=SIDES)], None, path))
    assert resumed.step == 3


def test_label_maps_give_the_networks_an_atlas_which_stays():
    run = start(SETTINGS, CPU)
    learn_atlas(run, [real_subject(sides=SIDES)])
    assert not run.network.atlas.any()
    learn_atlas(run, [real_subject(sides=SIDES), label_subject(sides=SIDES)])
    atlas = run.network.atlas.clone()
    assert atlas.any()
    assert torch.equal(run.average.module.atlas, atlas)
    other = label_subject(sides=SIDES)
    learn_atlas(run, [replace(other, voxels=other.voxels.flip(0).clamp(max=1))])
    assert torch.equal(run.network.atlas, atlas)


def test_the_curve_is_kept_for_every_ten_steps(tmp_path):
    run = start(SETTINGS.model_copy(update={"steps": 12, "slices_per_scan": 1}), CPU)
    drain(fit(run, [real_subject(sides=SIDES)], None, tmp_path / "run.checkpoint.safetensors"))
    assert [entry["step"] for entry in run.curve] == [9, 12]
    assert {"loss", "dice", "seconds"} < set(run.curve[0])


def test_the_extraction_is_trained_where_there_are_heads():
    run = start(SETTINGS, CPU)
    untrained = weights(run.extraction)
    assert len(list(extract(run, [real_subject(head=False, sides=SIDES)]))) == 0
    assert same(untrained, weights(run.extraction))
    assert len(list(extract(run, [real_subject(sides=SIDES)]))) == 2
    assert not same(untrained, weights(run.extraction))
    assert not run.extraction.training
