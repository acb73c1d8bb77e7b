from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from fake_engine import FakeEngine
from napari_anomaly.errors import GridMismatch
from napari_anomaly.findings import find
from napari_anomaly.io import read_scan, write_like
from napari_anomaly.plugin.case import VOLUME, VOLUMES, Case, reading, writing_map, writing_mask
from napari_anomaly.plugin.engine import Outcome, Request, detection
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.progress import drain
from napari_anomaly.samples import phantom
from napari_anomaly.scan import Scan


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def case(viewer: ViewerModel, scan: Scan) -> Case:
    data, keywords, _ = scan_layer(scan)
    return Case(viewer, viewer.add_image(data, **keywords))


def outcome_of(scan: Scan) -> Outcome:
    return drain(detection(FakeEngine(), Request(scan, "fake 1.0")))


def test_a_case_begins_with_its_scan(case: Case, scan: Scan) -> None:
    assert case.scan is scan
    assert (case.volume, case.volumes, case.badge) == (0, 1, "")
    assert case.refresh() is scan


def test_a_result_is_shown(case: Case, viewer: ViewerModel, scan: Scan) -> None:
    case.show_result(outcome_of(scan))
    assert case.session.map is not None
    assert case.layers.map in viewer.layers


def test_the_result_of_another_scan_is_refused(case: Case, viewer: ViewerModel) -> None:
    with pytest.raises(GridMismatch, match="another scan"):
        case.show_result(outcome_of(phantom((10, 12, 10))))
    assert len(viewer.layers) == 1


def test_a_scan_that_was_changed_loses_its_result(case: Case, scan: Scan) -> None:
    case.show_result(outcome_of(scan))
    case.refresh()
    assert case.session.map is not None
    case.layer.data = np.asarray(scan.voxels) * 2
    assert case.refresh().voxels.max() == 2 * scan.voxels.max()
    assert case.session.map is None


def test_a_foreign_layer_is_the_same_scan_until_it_changes(viewer: ViewerModel) -> None:
    case = Case(viewer, viewer.add_image(np.zeros((4, 5, 6)), name="foreign"))
    assert case.refresh() is case.refresh()
    before = case.scan
    case.layer.data = np.ones((4, 5, 6))
    assert case.refresh() is not before


def test_another_volume_takes_the_place_of_the_one_before(case: Case, scan: Scan) -> None:
    case.show_result(outcome_of(scan))
    other = Scan(scan.voxels + 5, scan.geometry, scan.source, scan.name)
    case.layer.metadata[VOLUMES] = 4
    case.show_volume(other, 3)
    assert case.layer.metadata[VOLUME] == case.volume == 3
    assert case.layer.data is other.voxels
    assert case.session.map is None
    assert not case.layers.map.visible


def test_exports_are_suggested_beside_the_scan_in_its_own_format(
    viewer: ViewerModel, scan: Scan, tmp_path: Path
) -> None:
    for suffix, expected in ((".nii", ".nii.gz"), (".tif", ".tif")):
        path = tmp_path / f"head{suffix}"
        write_like(scan.voxels, scan, path, kind="image")
        data, keywords, _ = scan_layer(read_scan(path))
        case = Case(viewer, viewer.add_image(data, **keywords))
        assert case.default_path("mask") == tmp_path / f"head_mask{expected}"


def test_the_mask_is_written_even_before_the_findings_are_there(
    case: Case, scan: Scan, tmp_path: Path
) -> None:
    case.show_result(outcome_of(scan))
    assert not case.session.has_findings
    path = drain(writing_mask(case, tmp_path / "mask.nii.gz"))
    expected = find(case.session.map, 0.995, min_volume_mm3=30.0)
    assert np.array_equal(read_scan(path).voxels, expected.mask)


def test_what_was_painted_is_written(case: Case, scan: Scan, tmp_path: Path) -> None:
    case.show_result(outcome_of(scan))
    case.show_findings(case.session.findings, case.session.findings.mask)
    case.layers.mask.data[0, 0, 0] = 1
    path = drain(writing_mask(case, tmp_path / "mask.nii.gz"))
    assert read_scan(path).voxels[0, 0, 0] == 1


def test_the_map_is_written_as_numbers(case: Case, scan: Scan, tmp_path: Path) -> None:
    case.show_result(outcome_of(scan))
    path = drain(writing_map(case, tmp_path / "map.nii.gz"))
    assert np.array_equal(read_scan(path).voxels, case.session.map.score)


def test_reading(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "head.nii.gz"
    write_like(scan.voxels, scan, path, kind="image")
    assert np.array_equal(drain(reading(read_scan(path), 0)).voxels, scan.voxels)
