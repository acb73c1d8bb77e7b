from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path

import napari
import nibabel as nib
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels
from npe2 import PluginManager, PluginManifest
from pytestqt.qtbot import QtBot

from fake_engine import fake_result
from napari_anomaly import samples
from napari_anomaly.errors import ScanError, UnreadableScan
from napari_anomaly.findings import find
from napari_anomaly.io import read_scan, write_like
from napari_anomaly.plugin import contributions
from napari_anomaly.plugin.contributions import get_reader, open_file, write_image, write_labels
from napari_anomaly.plugin.detect_panel import DetectPanel
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.result_layers import ResultLayers
from napari_anomaly.scan import Scan

MANIFEST = Path(contributions.__file__).parents[1] / "napari.yaml"


@pytest.fixture
def file(scan: Scan, tmp_path: Path) -> Path:
    path = tmp_path / "head.nii.gz"
    write_like(scan.voxels, scan, path, kind="image")
    return path


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


# The manifest


def test_the_manifest_names_things_that_exist(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert manifest.name == "napari-anomaly"


def test_the_manifest_at_the_top_is_the_same_file() -> None:
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.read_text() == MANIFEST.read_text()


def test_every_sample_is_offered(manifest: PluginManifest) -> None:
    offered = {sample.key: sample.display_name for sample in manifest.contributions.sample_data}
    assert offered == {sample.name: sample.text for sample in samples.SAMPLES.values()}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.img", "a.tif", "a.tiff", "a.ome.tif"])
def test_our_formats_find_our_reader(manifest: PluginManifest, name: str) -> None:
    manager = PluginManager()
    manager.register(manifest)
    assert [reader.plugin_name for reader in manager.iter_compatible_readers([name])] == ["napari-anomaly"]
    assert list(manager.iter_compatible_readers(["a.png"])) == []


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_our_formats_find_our_writer(manifest: PluginManifest, kind: str) -> None:
    manager = PluginManager()
    manager.register(manifest)
    writers = list(manager.iter_compatible_writers([kind]))
    assert [writer.command for writer in writers] == [f"napari-anomaly.write_{kind}"]


# Reading


def test_the_reader_gives_layers(file: Path, scan: Scan) -> None:
    read = get_reader(str(file))
    layers = read(str(file))
    assert [kind for _, _, kind in layers] == ["image"]
    assert np.array_equal(layers[0][0], scan.voxels)
    assert layers[0][1]["name"] == "head"


def test_several_files_are_several_layers(file: Path, tmp_path: Path, scan: Scan) -> None:
    other = tmp_path / "other.tif"
    write_like(scan.voxels, scan, other, kind="image")
    layers = get_reader([str(file), str(other)])([str(file), str(other)])
    assert [keywords["name"] for _, keywords, _ in layers] == ["head", "other"]


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "damaged.nii.gz"
    path.write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(UnreadableScan, match="damaged"):
        get_reader(str(path))(str(path))


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("head_mask", (0, 1), "labels"),
        ("anything", (0, 1), "labels"),
        ("head_dseg", (0, 7), "labels"),
        ("head", (0, 7), "image"),
        ("head_mask", (-1, 1), "image"),
    ],
)
def test_masks_are_labels(tmp_path: Path, name: str, values: tuple[int, int], kind: str) -> None:
    array = np.full((4, 5, 6), values[0], dtype=np.int16)
    array[1:3, 1:3, 1:3] = values[1]
    path = tmp_path / f"{name}.nii.gz"
    nib.Nifti1Image(array, np.eye(4)).to_filename(path)
    assert open_file(path)[2] == kind


def test_a_tiff_without_spacing_is_shown_in_voxels(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.arange(60, dtype=np.uint16).reshape(3, 4, 5), photometric="minisblack")
    assert open_file(path)[1]["units"] == ("pixel",) * 3


def test_a_series_shows_its_first_volume(tmp_path: Path) -> None:
    path = tmp_path / "series.nii.gz"
    series = np.random.default_rng(0).normal(100, 10, (4, 5, 6, 3)).astype(np.float32)
    nib.Nifti1Image(series, np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(path)
    data, keywords, _ = open_file(path)
    assert np.array_equal(data, read_scan(path, volume=0).voxels)
    assert 3 in keywords["metadata"].values()


# Writing


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".tif"])
def test_saving_the_mask_layer_overlays_to_the_voxel(
    scan: Scan, file: Path, tmp_path: Path, suffix: str
) -> None:
    scan = read_scan(file)
    viewer = ViewerModel()
    data, keywords, _ = scan_layer(scan)
    layers = ResultLayers(viewer, viewer.add_image(data, **keywords))
    result = fake_result(scan)
    layers.show(prepare(result.map, result.supervoxels), scan)
    layers.show_mask(find(result.map, 0.99).mask, scan)
    path = tmp_path / f"saved_mask{suffix}"
    data, meta, _ = layers.mask.as_layer_data_tuple()
    assert write_labels(str(path), data, meta) == [str(path)]
    again = Labels(open_file(path)[0], **open_file(path)[1])
    assert np.array_equal(again.data, layers.mask.data)
    if suffix != ".tif":
        assert np.allclose(again.data_to_world((3, 4, 5)), layers.mask.data_to_world((3, 4, 5)))


def test_saving_the_map_layer_saves_scores_not_colours(file: Path, tmp_path: Path) -> None:
    scan = read_scan(file)
    viewer = ViewerModel()
    data, keywords, _ = scan_layer(scan)
    layers = ResultLayers(viewer, viewer.add_image(data, **keywords))
    result = fake_result(scan)
    layers.show(prepare(result.map, result.supervoxels), scan)
    data, meta, _ = layers.map.as_layer_data_tuple()
    write_image(str(tmp_path / "map.nii.gz"), data, meta)
    assert np.array_equal(read_scan(tmp_path / "map.nii.gz").voxels, result.map.score)
    ids, meta, _ = layers.shown("supervoxels").as_layer_data_tuple()
    write_labels(str(tmp_path / "ids.nii.gz"), ids, meta)
    assert np.array_equal(read_scan(tmp_path / "ids.nii.gz").voxels, ids)


ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_a_mask_drawn_on_any_orientation_lies_on_the_same_voxel_of_the_file(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3)[list(order)] * np.array(signs)) @ np.diag([1.0, 2.0, 3.0])
    affine[:3, 3] = (5.0, -6.0, 7.0)
    voxels = np.zeros((4, 5, 6), dtype=np.float32)
    voxels[1, 3, 2] = 9.0
    source, target = tmp_path / "scan.nii.gz", tmp_path / "scan_mask.nii.gz"
    nib.Nifti1Image(voxels, affine).to_filename(source)
    data, keywords, _ = open_file(source)
    layer = Image(data, **keywords)
    drawn = Labels(
        (np.asarray(data) == 9).astype(np.uint8),
        scale=layer.scale,
        translate=layer.translate,
        metadata=layer.metadata,
    )
    data, meta, _ = drawn.as_layer_data_tuple()
    write_labels(str(target), data, meta)
    written = nib.load(target)
    assert np.allclose(written.affine, affine)
    assert np.argwhere(np.asarray(written.dataobj)).tolist() == [[1, 3, 2]]
    again = Labels(open_file(target)[0], **open_file(target)[1])
    index = np.argwhere(again.data)[0]
    world = np.array(layer.data_to_world(tuple(np.argwhere(layer.data == 9)[0])))
    assert np.allclose(again.data_to_world(tuple(index)), world)
    # (inferior, posterior, left) on the screen is the voxel's own place in the patient.
    right, anterior, superior = (affine @ [1, 3, 2, 1])[:3]
    assert np.allclose(world, (-superior, -anterior, -right))


def test_the_file_of_the_scan_is_never_overwritten(file: Path) -> None:
    data, keywords, _ = open_file(file)
    labels = Labels(np.zeros(data.shape, dtype=int), metadata=keywords["metadata"])
    array, meta, _ = labels.as_layer_data_tuple()
    with pytest.raises(ScanError, match="head"):
        write_labels(str(file), array, meta)
    assert np.array_equal(read_scan(file).voxels, data)


# Samples and commands


@pytest.mark.parametrize("name", samples.list_samples())
def test_a_sample_opens_as_a_scan(name: str) -> None:
    opened = getattr(contributions, "sample_" + name.replace("-", "_"))()
    assert [kind for _, _, kind in opened] == ["image"]
    assert opened[0][0].ndim == 3


@pytest.mark.usefixtures("screen")
class TestInAWindow:
    @pytest.fixture
    def viewer(
        self, make_napari_viewer: Callable[..., napari.Viewer], manifest: PluginManifest
    ) -> Iterator[napari.Viewer]:
        manager = PluginManager.instance()
        if manifest.name not in manager:
            manager.register(manifest)
        return make_napari_viewer(show=True)

    def test_there_is_one_dock(self, viewer: napari.Viewer) -> None:
        panel = contributions.dock(viewer)
        assert isinstance(panel, DetectPanel)
        assert contributions.dock(viewer) is panel

    def test_commands_reach_the_dock(self, viewer: napari.Viewer) -> None:
        contributions.detect(viewer)
        panel = contributions.dock(viewer)
        assert "No scan is open" in panel.message.text()
        for command in (contributions.export_mask, contributions.export_map):
            panel.message.clear_text()
            command(viewer)
            assert "nothing to export" in panel.message.text()
        contributions.cancel(viewer)
        assert not panel.jobs.running

    def test_drag_and_drop_opens_a_scan(self, viewer: napari.Viewer, file: Path, qtbot: QtBot) -> None:
        viewer.open(str(file), plugin="napari-anomaly")
        assert [layer.name for layer in viewer.layers] == ["head"]
        assert viewer.layers[0].scale[0] < 0

    def test_save_writes_on_the_grid_of_the_scan(
        self, viewer: napari.Viewer, file: Path, tmp_path: Path
    ) -> None:
        (layer,) = viewer.open(str(file), plugin="napari-anomaly")
        labels = viewer.add_labels(
            np.ones(layer.data.shape, dtype=np.uint8),
            name="drawn",
            scale=layer.scale,
            translate=layer.translate,
            units=layer.units,
        )
        path = tmp_path / "drawn.nii.gz"
        assert labels.save(str(path), plugin="napari-anomaly") == [str(path)]
        assert np.allclose(nib.load(path).affine, nib.load(file).affine)
