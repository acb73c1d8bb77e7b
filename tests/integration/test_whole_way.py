"""File, detection, findings, review, mask, and back: on grids that real scanners make."""

import nibabel as nib
import numpy as np
import pytest

from napari_anomaly import io
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.detect import detect
from napari_anomaly.detector.settings import DetectSettings
from napari_anomaly.export import findings_rows, to_mask
from napari_anomaly.findings import find
from napari_anomaly.manifest import Manifest
from napari_anomaly.progress import drain
from napari_anomaly.review import Review, Verdict
from napari_anomaly.samples import phantom
from tiny_detector import write_tiny_detector

SHAPE = (40, 48, 40)
ORIENTATIONS = ("RAS", "LPS", "SLA", "PIR")


def write_oriented(path, codes, *, degrees=0.0):
    """Write the phantom with the axes of the file in another order, turned about the long axis."""
    scan = phantom(SHAPE, lesion_mm=11, field_mm=96)
    image = nib.Nifti1Image(scan.voxels, scan.geometry.affine)
    image = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
        )
    )
    turn = np.eye(4)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine), path)
    return path


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """Write the phantom in an orientation and detect in it, once each; give path, scan and detection."""
    folder, known = tmp_path_factory.mktemp("scans"), {}
    detector = checkpoint.load(write_tiny_detector(folder / "tiny.safetensors"))

    def get(codes):
        if codes not in known:
            (folder / codes).mkdir()
            path = write_oriented(folder / codes / "head.nii.gz", codes, degrees=12.0)
            scan = io.read_scan(path)
            known[codes] = (
                path,
                scan,
                drain(detect(scan, detector, DetectSettings(device="cpu", engine="torch"))),
            )
        return known[codes]

    return get


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_mask_lies_on_the_voxels_of_its_file(tmp_path, detected, codes):
    path, scan, detection = detected(codes)
    findings = find(detection.map, 0.5, min_volume_mm3=50, supervoxels=detection.supervoxels)
    assert len(findings) > 0
    manifest = Manifest.of(scan, detection, findings).to_dict()
    io.save_case(tmp_path, scan, detection.map, detection.supervoxels, findings, manifest)

    source, mask = nib.load(path), nib.load(tmp_path / "head_mask.nii.gz")
    assert np.array_equal(mask.affine, source.affine)
    marked = np.asarray(mask.dataobj)
    for row in findings_rows(findings, scan.source):
        voxel = (row["peak_i"], row["peak_j"], row["peak_k"])
        assert marked[voxel] == 1
        mm = nib.affines.apply_affine(source.affine, voxel)
        assert mm == pytest.approx([row["peak_x_mm"], row["peak_y_mm"], row["peak_z_mm"]], abs=1e-3)
    assert np.array_equal(io.read_scan(tmp_path / "head_mask.nii.gz").voxels, findings.mask)


def test_the_file_order_does_not_change_what_is_found(detected):
    maps = [detected(codes)[2].map.score for codes in ORIENTATIONS]
    for other in maps[1:]:
        assert np.allclose(maps[0], other, atol=1e-3)
    assert maps[0].max() > 0


def test_a_false_positive_leaves_the_mask_and_the_others_stay(detected):
    _, scan, detection = detected(ORIENTATIONS[0])
    tries = (find(detection.map, 1 - 10**-decades) for decades in np.arange(0.3, 4, 0.1))
    findings = next(findings for findings in tries if len(findings) > 1)
    worst = findings.items[0]
    review = Review.of(scan, detection.map).mark([worst.id], Verdict.FALSE_POSITIVE)
    kept = to_mask(findings, review).voxels
    assert not kept[findings.labels == worst.rank].any()
    assert np.array_equal(kept > 0, findings.labels > 1)
