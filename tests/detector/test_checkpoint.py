import hashlib
import json
import struct
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from bright_detector import card
from napari_anomaly.detector.calibration import ANY
from napari_anomaly.detector.checkpoint import DEFAULT, Card, available, bundled, load, read_card, save
from napari_anomaly.errors import UnreadableDetector
from napari_anomaly.networks.joint import JointNetwork
from napari_anomaly.networks.volume import VolumeNetwork

WIDTHS = (2, 4, 6, 8)
BRAIN = card(
    name="small", plane_widths=WIDTHS, volume_widths=WIDTHS, extraction_widths=WIDTHS, region="brain"
)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    network, extraction = JointNetwork(WIDTHS, WIDTHS), VolumeNetwork(2, 1, WIDTHS)
    # statistics far beyond the range of half precision
    network.plane.trunk.stem[1].running_var.fill_(123_456.789)
    return network, extraction


@pytest.fixture
def path(tmp_path, networks):
    out = tmp_path / "made" / "small.safetensors"
    save(out, BRAIN, *networks)
    return out


def test_a_detector_comes_back_as_it_was(path, networks):
    detector = load(path)
    assert detector.card == BRAIN != card()
    for loaded, module in zip((detector.network, detector.extraction), networks, strict=True):
        assert not loaded.training
        for (name, value), wanted in zip(
            loaded.state_dict().items(), module.state_dict().values(), strict=True
        ):
            if value.is_floating_point():
                assert value.dtype == torch.float32
                assert torch.allclose(value, wanted, rtol=1e-3, atol=1e-6), name
    assert detector.network.plane.trunk.stem[1].running_var[0] == pytest.approx(123_456.789)
    other = JointNetwork(WIDTHS, WIDTHS).plane.head.weight
    assert not torch.allclose(detector.network.plane.head.weight, other, atol=1e-3)


def test_a_detector_says_what_it_is(path):
    detector = load(str(path))
    assert (detector.name, detector.version, detector.modality) == ("small", "1.0", "anything")
    assert (detector.default_threshold, detector.default_min_volume_mm3) == (0.99, 20.0)
    assert detector.provenance == {"steps": 3}
    assert detector.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_defaults_are_those_of_the_networks_that_measured_best(tmp_path, networks):
    quiet = BRAIN.calibrations["plane"][ANY].model_copy(
        update={"default_threshold": 0.9, "default_min_volume_mm3": 5}
    )
    path = tmp_path / "quiet.safetensors"
    words = BRAIN.model_copy(
        update={"best": "mean", "calibrations": {**BRAIN.calibrations, "mean": {ANY: quiet}}}
    )
    save(path, words, *networks)
    assert (load(path).default_threshold, load(path).default_min_volume_mm3) == (0.9, 5)


def test_a_detector_of_another_region_needs_no_extraction(tmp_path, networks):
    path = tmp_path / "body.safetensors"
    save(path, BRAIN.model_copy(update={"extraction_widths": None}), networks[0], None)
    assert load(path).extraction is None


def test_a_detector_that_knows_fewer_maps_of_the_tissues_says_the_same(path, networks, tmp_path):
    network = networks[0].eval()
    tensors, facts = load_file(path), read_card(path)
    for part, fold, channels in (("plane", 4, 12), ("volume", 8, 8)):
        key = f"network/{part}.trunk.stem.0.weight"
        tensors[key] = tensors[key][:, : fold * channels].contiguous()
        # what it has not learned, the full network must not use either
        getattr(network, part).trunk.stem[0].weight.data[:, fold * channels :] = 0
    older = tmp_path / "older.safetensors"
    save_file(tensors, older, metadata=_header(path))
    generator = torch.Generator().manual_seed(1)
    slices = torch.randn(2, network.plane.inputs, 32, 32, generator=generator)
    volume = torch.randn(1, network.volume.inputs, 32, 32, 32, generator=generator)
    where, scan_of = torch.tensor([-0.5, 0.5]), torch.tensor([0, 0])
    with torch.no_grad():
        loaded = load(older)
        answers = [n(slices, volume, where, scan_of) for n in (loaded.network, network)]
    assert loaded.card == facts
    for name in ("joint", "plane", "volume"):
        assert torch.allclose(*(getattr(answer, name) for answer in answers), atol=2e-2)


def _header(path):
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    return json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]


def test_saving_replaces_and_leaves_nothing_else(path, networks):
    save(path, BRAIN.model_copy(update={"version": "2.0"}), *networks)
    assert load(path).version == "2.0"
    assert [file.name for file in path.parent.iterdir()] == ["small.safetensors"]


def test_weights_take_half_the_room(path, networks):
    count = sum(value.numel() for module in networks for value in module.state_dict().values())
    assert path.stat().st_size < 3 * count + 20_000


def test_the_card_is_read_without_torch(path):
    ask = (
        "import sys; from pathlib import Path; from napari_anomaly.detector.checkpoint import read_card; "
        f"print(read_card(Path({str(path)!r})).name, 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["small", "False"]


def damage(path, how):
    raw = path.read_bytes()
    path.write_bytes(how(raw))


def header_of(raw):
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_card(raw, change):
    header, rest = header_of(raw)
    words = json.loads(header["__metadata__"]["card"])
    change(words)
    header["__metadata__"]["card"] = json.dumps(words)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    "how",
    [
        lambda raw: b"",
        lambda raw: b"napari",
        lambda raw: b"This is a letter, not a detector.",
        lambda raw: struct.pack("<Q", 2) + b"[]",
        lambda raw: struct.pack("<Q", 9) + b"{} \xff\xfe    ",
        lambda raw: raw[:300],
        lambda raw: with_card(raw, lambda words: words.pop("version")),
        lambda raw: with_card(raw, lambda words: words.update(best="both")),
        lambda raw: with_card(raw, lambda words: words.update(telephone="555")),
    ],
    ids=["empty", "short", "letter", "list", "no text", "torn header", "no version", "bad choice", "more"],
)
def test_what_is_no_detector_is_said_in_words(path, how):
    damage(path, how)
    for reader in (load, read_card):
        with pytest.raises(UnreadableDetector, match=r"small.safetensors could not be read as a detector"):
            reader(path)


def test_weights_of_something_else_are_refused(path):
    save_file({"tensor": torch.zeros(3)}, path)
    with pytest.raises(UnreadableDetector, match=r"could not be read as a detector \(KeyError\)"):
        load(path)


@pytest.mark.parametrize(
    "how",
    [
        lambda raw: raw[:-200],
        lambda raw: with_card(raw, lambda words: words.update(plane_widths=[4, 4, 6, 8])),
        lambda raw: with_card(raw, lambda words: words.update(extraction_widths=[2, 2, 2, 2])),
    ],
    ids=["torn", "other networks", "other extraction"],
)
def test_damaged_weights_are_said_in_words(path, how):
    damage(path, how)
    with pytest.raises(UnreadableDetector, match=r"weights in small\.safetensors are damaged or do not fit"):
        load(path)


def test_a_missing_tensor_is_noticed(path):
    tensors = load_file(path)
    del tensors["network/plane.head.bias"]
    save_file(tensors, path, metadata={"card": BRAIN.model_dump_json()})
    with pytest.raises(UnreadableDetector, match="damaged or do not fit"):
        load(path)


def test_a_detector_that_is_not_there_is_said_with_those_that_are(tmp_path):
    for name in ("no-such-detector", tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UnreadableDetector, match=r"There is no detector .*Bundled detectors: "):
            load(name)


def test_bundled_detectors_are_files_and_the_default_comes_first():
    assert set(available()) == set(bundled())
    assert DEFAULT not in available()[1:]
    for name, file in bundled().items():
        assert read_card(file).name == name


def test_a_card_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        BRAIN.name = "other"
    assert Card.model_validate_json(BRAIN.model_dump_json()) == BRAIN
