"""What a detection leaves on record, and whose results may be replaced."""

import json

import pytest

from napari_anomaly.errors import ScanError
from napari_anomaly.manifest import refuse_other_scan, versions
from napari_anomaly.samples import phantom


def leave(folder, scan, content):
    (folder / f"{scan.name}_manifest.json").write_text(content, encoding="utf-8")


def test_results_of_the_same_scan_may_be_made_anew(tmp_path):
    scan = phantom((8, 8, 8))
    refuse_other_scan(tmp_path, scan)
    leave(tmp_path, scan, json.dumps({"scan": {"sha256": scan.sha256}}))
    refuse_other_scan(tmp_path, scan)


@pytest.mark.parametrize("content", ['{"scan": {"sha256": "00"}}', "{}", "[]", "not json"])
def test_results_of_another_scan_are_not_replaced(tmp_path, content):
    scan = phantom((8, 8, 8))
    leave(tmp_path, scan, content)
    with pytest.raises(ScanError, match="another scan that is also called phantom"):
        refuse_other_scan(tmp_path, scan)


def test_versions_name_what_bears_on_a_result():
    found = versions()
    assert {"python", "napari-anomaly", "numpy", "torch"} <= set(found)
    assert found["python"].count(".") == 2
