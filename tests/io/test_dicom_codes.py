import numpy as np
import pytest
from pydicom.sr._snomed_dict import mapping

from dicoms import classic, detected, ramp
from napari_anomaly import io
from napari_anomaly.anatomy import NAMES, STRUCTURES, label_of
from napari_anomaly.io.dicom_codes import REGIONS, SCHEME, VERDICTS, algorithm, our_scheme, sites
from napari_anomaly.review import Verdict


@pytest.fixture
def scan(tmp_path):
    classic(tmp_path, ramp((6, 8, 7)))
    return io.read_scan(tmp_path)


def test_every_structure_has_a_code_of_snomed():
    assert set(REGIONS) == set(NAMES) - {STRUCTURES[0].name}
    assert {code.scheme_designator for code in REGIONS.values()} == {"SCT"}
    assert all(code.value in mapping["SCT"] for code in REGIONS.values())


def test_a_finding_lies_in_its_structure_and_side(scan):
    anomaly_map, findings = detected(scan, structure=label_of("thalamus", "right"))
    assert [
        (code.meaning, side.meaning) for code, side in sites(findings.items[0], findings, anomaly_map)
    ] == [("Thalamus", "Right")]


def test_nothing_is_said_where_nothing_is_known(scan):
    anomaly_map, findings = detected(scan)
    assert sites(findings.items[0], findings, anomaly_map) == []
    anomaly_map, findings = detected(scan, structure=0)
    assert sites(findings.items[0], findings, anomaly_map) == []


def test_the_larger_part_comes_first_and_a_sliver_is_left_out(scan):
    anomaly_map, findings = detected(scan, structure=label_of("putamen", "left"))
    finding = findings.items[0]
    labels = anomaly_map.anatomy.labels.copy()
    inside = np.flatnonzero(findings.labels == finding.rank)
    labels.flat[inside[: inside.size // 3]] = label_of("brainstem")
    labels.flat[inside[-1]] = label_of("insula", "left")
    object.__setattr__(anomaly_map.anatomy, "labels", labels)
    found = sites(finding, findings, anomaly_map)
    assert [code.meaning for code, _ in found] == ["Putamen", "Brain Stem"]
    assert found[1][1] is None


def test_our_own_codes_have_a_scheme():
    assert set(VERDICTS) == {*Verdict, None}
    assert {code.scheme_designator for code in VERDICTS.values()} == {SCHEME}
    assert len(SCHEME) <= 16
    assert SCHEME.startswith("99")
    assert our_scheme().CodingSchemeDesignator == SCHEME


def test_the_algorithm_is_the_detector(scan):
    anomaly_map, _ = detected(scan)
    assert algorithm(anomaly_map)[0].AlgorithmName == "napari-anomaly test"
