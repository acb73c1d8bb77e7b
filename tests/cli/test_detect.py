"""``napari-anomaly detect`` on small phantoms."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.cli import main

ENDINGS = ("anomaly.nii.gz", "mask.nii.gz", "proxy.nii.gz", "findings.csv", "manifest.json")


@pytest.fixture
def detect(tiny):
    """Run the command with a fast detector, and give its exit status."""

    def run(out, *words):
        return main(["detect", *tiny, "-o", str(out), *map(str, words)])

    return run


def results(out):
    return sorted(path.name for path in out.iterdir())


def test_one_scan_leaves_five_files_on_its_own_grid(tmp_path, detect, write_phantom, capsys):
    path, out = write_phantom("head.nii.gz"), tmp_path / "out"
    assert detect(out, path, "--threshold", "0.9", "--min-volume", "10", "--snap") == 0
    assert results(out) == sorted(f"head_{ending}" for ending in ENDINGS)
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.startswith("head: ")

    source = nib.load(path)
    types = {"anomaly": np.float32, "mask": np.uint8, "proxy": np.float32}
    for what, dtype in types.items():
        image = nib.load(out / f"head_{what}.nii.gz")
        assert image.get_data_dtype() == dtype
        assert image.shape == source.shape
        assert np.array_equal(image.affine, source.affine)

    manifest = json.loads((out / "head_manifest.json").read_text())
    assert {"scan_score", "detector", "detector_sha256", "settings", "device", "seconds", "versions"} <= set(
        manifest
    )
    assert manifest["settings"]["threshold"] == 0.9
    assert manifest["settings"]["min_volume_mm3"] == 10
    assert manifest["settings"]["snap"] is True
    assert manifest["device"] == "cpu"
    assert manifest["scan"]["sha256"] == io.read_scan(path).sha256
    assert 0 <= manifest["scan_score"] <= 1
    with (out / "head_findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == manifest["findings"]
    mask = nib.load(out / "head_mask.nii.gz").get_fdata()
    for row in rows:
        assert mask[int(row["peak_i"]), int(row["peak_j"]), int(row["peak_k"])] == 1


def test_a_lower_threshold_marks_more(tmp_path, detect, write_phantom):
    path = write_phantom("head.nii.gz")
    marked = []
    for threshold in ("0.999", "0.5"):
        assert detect(tmp_path / threshold, path, "--threshold", threshold, "--min-volume", "0") == 0
        mask = nib.load(tmp_path / threshold / "head_mask.nii.gz").get_fdata()
        score = nib.load(tmp_path / threshold / "head_anomaly.nii.gz").get_fdata(dtype=np.float32)
        assert np.array_equal(mask > 0, score >= np.float32(threshold))
        marked.append(mask.sum())
    assert marked[0] < marked[1]


def test_tiff_in_gives_tiff_out(tmp_path, detect, write_phantom):
    assert detect(tmp_path / "out", write_phantom("stack.tif")) == 0
    assert {"stack_anomaly.tif", "stack_mask.tif", "stack_proxy.tif"} <= set(results(tmp_path / "out"))


def test_a_picture_on_request(tmp_path, detect, write_phantom):
    assert detect(tmp_path / "out", write_phantom("head.nii.gz"), "--picture") == 0
    assert (tmp_path / "out" / "head_picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_scan_leaves_nothing_and_the_others_are_done(tmp_path, detect, write_phantom, capsys):
    good, damaged = write_phantom("good.nii.gz"), tmp_path / "damaged.nii.gz"
    damaged.write_bytes(good.read_bytes()[:2000])
    missing = tmp_path / "missing.nii.gz"
    assert detect(tmp_path / "out", damaged, missing, good) == 2
    assert results(tmp_path / "out") == sorted(f"good_{ending}" for ending in ENDINGS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert str(damaged) in lines[0]
    assert str(missing) in lines[1]


def test_nothing_at_all_is_made_when_no_scan_can_be_read(tmp_path, detect, capsys):
    empty = tmp_path / "empty.nii"
    empty.touch()
    assert detect(tmp_path / "out", empty) == 2
    assert not (tmp_path / "out").exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_two_scans_of_one_name_both_keep_their_results(tmp_path, detect, write_phantom, capsys):
    first, second = write_phantom("a/head.nii.gz"), write_phantom("b/head.nii.gz", seed=1)
    assert detect(tmp_path / "out", first, second) == 0
    found = {
        name: json.loads((tmp_path / "out" / name).read_text())["scan"]["sha256"]
        for name in ("head_manifest.json", "b_head_manifest.json")
    }
    assert found["head_manifest.json"] == io.read_scan(first).sha256
    assert found["b_head_manifest.json"] == io.read_scan(second).sha256
    assert "a second head" in capsys.readouterr().err


def test_results_of_another_scan_are_only_replaced_on_demand(tmp_path, detect, write_phantom, capsys):
    first, second = write_phantom("a/head.nii.gz"), write_phantom("b/head.nii.gz", seed=1)
    out = tmp_path / "out"
    assert detect(out, first) == 0
    assert detect(out, first) == 0  # the same again is fine
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert detect(out, second) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert "another scan that is also called head" in capsys.readouterr().err
    assert detect(out, second, "--overwrite") == 0
    assert (
        json.loads((out / "head_manifest.json").read_text())["scan"]["sha256"] == io.read_scan(second).sha256
    )


def test_one_volume_of_several(tmp_path, detect, write_phantom, capsys):
    image = nib.load(write_phantom("head.nii.gz"))
    series = np.stack([np.asarray(image.dataobj)] * 2, axis=-1)
    path = tmp_path / "series.nii.gz"
    nib.save(nib.Nifti1Image(series, image.affine), path)
    assert detect(tmp_path / "out", path) == 2
    assert "volumes" in capsys.readouterr().err
    assert detect(tmp_path / "out", path, "--volume", "1") == 0
    assert "series_volume1_mask.nii.gz" in results(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "No scan was given"),
        (("x.nii", "--detector", "no-such-detector"), "no-such-detector"),
        (("x.nii", "--threshold", "1.5"), "--threshold 1.5: Input should be less than or equal to 1"),
        (("x.nii", "--min-volume", "-1"), "--min-volume -1.0: Input should be greater than or equal to 0"),
        (("--sample", "no-such-sample"), "no-such-sample"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, detect, capsys, words, complaint):
    assert detect(tmp_path / "out", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path, detect, write_phantom, capsys):
    (tmp_path / "file").touch()
    assert detect(tmp_path / "file" / "out", write_phantom("head.nii.gz")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_folder_must_be_given(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["detect", "x.nii"])
    assert "--out" in capsys.readouterr().err
