import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_anomaly.findings import find
from napari_anomaly.geometry import Geometry
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.view import (
    PLANES,
    current_plane,
    describe_place,
    jump,
    patient_place,
    set_plane,
    true_status,
    worst_slice,
)
from napari_anomaly.scan import Scan
from phantoms import a_map


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def layer(viewer: ViewerModel, scan: Scan) -> Image:
    data, keywords, _ = scan_layer(scan)
    return viewer.add_image(data, **keywords)


@pytest.mark.parametrize("plane", PLANES)
def test_a_plane_that_is_set_is_the_one_that_is_shown(viewer: ViewerModel, layer: Image, plane: str) -> None:
    set_plane(viewer, plane)
    assert current_plane(viewer) == plane


def test_another_order_is_none_of_the_planes(viewer: ViewerModel, layer: Image) -> None:
    viewer.dims.order = (1, 2, 0)
    assert current_plane(viewer) is None


def test_planes_show_superior_or_anterior_up_and_right_on_the_left(viewer: ViewerModel, layer: Image) -> None:
    # Rows run down the screen and columns to the right; the world is (inferior, posterior, left).
    expected = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}
    for plane, (down, right) in expected.items():
        set_plane(viewer, plane)
        assert viewer.dims.displayed == (down, right)


def test_planes_work_beside_a_series(viewer: ViewerModel, layer: Image) -> None:
    viewer.add_image(np.zeros((2, 20, 24, 22)), name="series")
    set_plane(viewer, "coronal")
    assert viewer.dims.order == (0, 2, 1, 3)
    assert current_plane(viewer) == "coronal"


def test_an_empty_viewer_has_no_planes(viewer: ViewerModel) -> None:
    set_plane(viewer, "coronal")
    assert viewer.dims.ndim == 2


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_jump_arrives_at_the_voxel_in_every_plane(viewer: ViewerModel, layer: Image, plane: str) -> None:
    set_plane(viewer, plane)
    jump(viewer, layer, (3, 20, 7))
    assert np.allclose(layer.world_to_data(viewer.dims.point), (3, 20, 7))


def test_a_jump_out_of_sight_brings_it_into_sight(viewer: ViewerModel, layer: Image) -> None:
    layer.corner_pixels = np.array([[0, 0, 0], [0, 5, 5]])
    jump(viewer, layer, (3, 20, 7))
    world = layer.data_to_world((3, 20, 7))
    assert viewer.scene.camera.center[-2:] == pytest.approx(world[1:])


def test_a_jump_in_sight_leaves_the_camera_alone(viewer: ViewerModel, layer: Image) -> None:
    layer.corner_pixels = np.array([[0, 0, 0], [0, 23, 21]])
    before = viewer.scene.camera.center
    jump(viewer, layer, (3, 20, 7))
    assert viewer.scene.camera.center == before


def test_3d_looks_from_the_front_with_the_head_up_and_not_mirrored(viewer: ViewerModel, layer: Image) -> None:
    set_plane(viewer, "3d")
    camera = viewer.scene.camera
    looking, up = np.array(camera.view_direction), np.array(camera.up_direction)
    assert looking[1] > 0.8
    assert up[0] < -0.8
    # In a right-handed world the right of the screen is (looking x up): the patient's left, as when face to
    # face.
    assert np.cross(looking, up)[2] > 0.8


def test_places_are_in_the_words_of_a_reader() -> None:
    assert patient_place((12.34, -5.0, 0.0)) == "R 12.3  P 5.0  S 0.0 mm"
    assert patient_place(np.array([-1.0, 2.0, -3.0])) == "L 1.0  A 2.0  I 3.0 mm"


def test_an_unknown_size_is_said(scan: Scan) -> None:
    geometry = Geometry.from_spacing((4, 5, 6), (1, 1, 1), unit="voxel")
    assert describe_place(geometry, np.array([1.2, 2.0, 3.6])) == "voxel z 1  y 2  x 4 (size unknown)"
    assert describe_place(scan.geometry, np.array([0.0, 0.0, 0.0])).endswith("mm")


def test_the_status_is_true_for_an_oblique_scan() -> None:
    angle = np.radians(30)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = (5, 6, 7)
    scan = Scan.from_array(np.zeros((8, 9, 10)), affine=affine)
    data, keywords, _ = scan_layer(scan)
    layer = Image(data, **keywords)
    index = np.array([2.0, 3.0, 4.0])
    status = {"value": "17", "coordinates": "[1 2 3]: 17", "coords": "[1 2 3]"}
    true_status(layer, scan.geometry, layer.data_to_world(tuple(index)), status)
    place = patient_place(scan.geometry.index_to_mm(index))
    assert status["coords"] == place
    assert status["coordinates"] == f"{place}   17"


def test_the_worst_slice_is_where_most_and_highest_scores_are() -> None:
    score = np.zeros((6, 7, 8), dtype=np.float32)
    score[1, 2:5, 2:5] = 0.95
    score[1, 3, 3] = 0.96
    score[4, 5, 5:7] = 0.9999
    findings = find(a_map(score), 0.9)
    broad, bright = sorted(findings, key=lambda one: -one.voxels)
    assert worst_slice(findings, score, 0) == (1, 3, 3)
    assert worst_slice(findings, score, 1)[1] == 5
    assert worst_slice(findings, score, 0, {broad.id})[0] == 4
    assert worst_slice(findings, score, 0, {broad.id, bright.id}) is None
