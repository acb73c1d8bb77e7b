import numpy as np
import pytest
import torch

from bright_detector import Nothing, Outline
from napari_anomaly.errors import UnreadableScan
from napari_anomaly.training.normals import Subject
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import Candidate, candidates, read_library, read_subjects, strip
from small_subjects import egg, write_volume

SIDES = (40, 44, 48)


def scans(folder, count, name="scan"):
    folder.mkdir()
    for index in range(count):
        (folder / f"{name}-{index:02}.nii.gz").touch()
    return folder


def names(found):
    return [candidate.path.name for candidate in found]


def test_every_nth_scan_of_a_folder_is_held_out(tmp_path):
    folder = scans(tmp_path / "t1", 10)
    trained, held = candidates(TrainSettings(normals=(folder,), held_out_every=4))
    assert names(held) == ["scan-03.nii.gz", "scan-07.nii.gz"]
    assert len(trained) == 8
    assert not set(names(trained)) & set(names(held))
    assert not any(candidate.is_labels for candidate in trained)


def test_single_scans_are_trained_on_and_must_be_there(tmp_path):
    folder, read = scans(tmp_path / "t1", 3), scans(tmp_path / "read", 1, "was-read")
    alone = read / "was-read-00.nii.gz"
    trained, held = candidates(TrainSettings(normals=(folder,), normal_scans=(alone,)))
    assert names(trained) == ["scan-00.nii.gz", "scan-01.nii.gz", "was-read-00.nii.gz"]
    assert names(held) == ["scan-02.nii.gz"]
    with pytest.raises(UnreadableScan, match=r"There is no scan gone.nii.gz"):
        candidates(TrainSettings(normal_scans=(tmp_path / "gone.nii.gz",)))


def test_a_small_folder_gives_its_last_and_a_single_scan_stays(tmp_path):
    few, single = scans(tmp_path / "few", 3), scans(tmp_path / "single", 1, "lone")
    trained, held = candidates(TrainSettings(normals=(few, single), held_out_every=8))
    assert names(trained) == ["scan-00.nii.gz", "scan-01.nii.gz", "lone-00.nii.gz"]
    assert names(held) == ["scan-02.nii.gz"]


def test_label_maps_are_told_apart_and_brain_labels_are_no_scans(tmp_path):
    folder, maps = scans(tmp_path / "t1", 2), scans(tmp_path / "maps", 2, "map")
    (folder / "scan-00_DLMUSE.nii.gz").touch()
    (folder / "notes.txt").touch()
    trained, held = candidates(TrainSettings(normals=(folder,), label_maps=maps))
    assert [(candidate.path.name, candidate.is_labels) for candidate in trained + held] == [
        ("scan-00.nii.gz", False),
        ("map-00.nii.gz", True),
        ("scan-01.nii.gz", False),
        ("map-01.nii.gz", True),
    ]


def test_no_scans_are_said_with_where_they_were_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UnreadableScan, match=r"No normal scans were found in .*empty\. Training needs folders"
    ):
        candidates(TrainSettings(normals=(tmp_path / "empty",)))
    with pytest.raises(UnreadableScan, match="found in no folder"):
        candidates(TrainSettings())


@pytest.fixture
def folder(tmp_path):
    """Write a stripped scan, a head with brain labels, a head without, and a label map."""
    head = np.where(egg((90, 90, 90), 0.95), 100, 0).astype(np.float32)
    brain = egg((90, 90, 90), 0.6)
    write_volume(tmp_path / "a_stripped.nii.gz", np.where(egg(SIDES, 0.8), 100, 0).astype(np.float32), 2.0)
    write_volume(tmp_path / "b_FLAIR.nii.gz", head + 50 * brain, 2.0)
    write_volume(tmp_path / "b_FLAIR_DLMUSE.nii.gz", brain.astype(np.int16), 2.0)
    write_volume(tmp_path / "c_head.nii.gz", head, 2.0)
    (tmp_path / "maps").mkdir()
    write_volume(tmp_path / "maps" / "d.nii.gz", np.where(egg(SIDES, 0.8), 3, 0).astype(np.int16))
    return tmp_path


def test_every_kind_of_file_is_read_as_what_it_is(folder):
    trained, held = candidates(TrainSettings(normals=(folder,), label_maps=folder / "maps"))
    found = sorted(trained + held, key=lambda candidate: candidate.path.name)
    progress, items = zip(*read_subjects(found), strict=True)
    assert [one.text for one in progress] == [f"Reading {name}" for name in names(found)]
    stripped, flair, head, labels = items
    assert (stripped.kind, stripped.head) == ("t1", None)
    assert (flair.kind, flair.name) == ("flair", "b_FLAIR")
    assert flair.head is not None
    assert isinstance(head, Candidate)
    assert labels.kind == "labels"
    assert float(flair.mask.sum()) == pytest.approx(8 * egg((90, 90, 90), 0.6).sum(), rel=0.05)


def test_a_head_is_stripped_by_the_extraction(folder):
    candidate = Candidate(folder / "c_head.nii.gz", is_labels=False)
    subject = strip(candidate, Outline())
    assert isinstance(subject, Subject)
    assert (subject.name, subject.kind) == ("c_head", "t1")
    assert subject.mask[tuple(side // 2 for side in subject.mask.shape)]
    with pytest.raises(UnreadableScan, match=r"No brain was found in c_head.nii.gz\. .* region = body"):
        strip(candidate, Nothing())


def test_outlines_fill_their_cubes(tmp_path):
    lesion = np.zeros((40, 44, 48), np.uint8)
    lesion[5:25, 30:40, 10:15] = 1
    write_volume(tmp_path / "a.nii.gz", lesion, 2.0)
    write_volume(tmp_path / "b.nii.gz", np.roll(lesion, 9, axis=0), 2.0)
    speck = np.zeros_like(lesion)
    speck[5:7, 5:7, 5:7] = 1
    write_volume(tmp_path / "speck.nii.gz", speck, 2.0)

    library = read_library((tmp_path,), side=20)
    assert library.dtype == torch.uint8
    assert library.shape == (2, 20, 20, 20)
    assert torch.equal(library[0], library[1])
    extent = [int(library[0].amax([other for other in range(3) if other != axis]).sum()) for axis in range(3)]
    assert extent == [20, 10, 5] or np.allclose(extent, [20, 10, 5], atol=1)
    assert library[0].sum() == pytest.approx(1000, rel=0.3)


def test_no_outlines_are_no_library(tmp_path):
    assert read_library(()) is None
    assert read_library((tmp_path,)) is None
