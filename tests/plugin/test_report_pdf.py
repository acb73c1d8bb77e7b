"""The report as PDF: pages, words and pictures."""

import re
import zlib

import numpy as np
import pytest

from napari_anomaly.plugin.report_pdf import report_pdf
from napari_anomaly.report import Reading
from napari_anomaly.review import Review, Verdict
from napari_anomaly.samples import phantom
from phantoms import a_case

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def reading() -> Reading:
    scan = phantom((12, 14, 13), rng=np.random.default_rng(0))
    anomaly_map, _, findings = a_case(scan)
    review = Review.of(scan, anomaly_map, reader="ann").mark(
        [findings.items[0].id], Verdict.FALSE_POSITIVE, reason="<vessel>"
    )
    return Reading(scan, anomaly_map, findings, review, (0.0, 120.0))


def test_it_is_a_whole_pdf_with_three_pictures_for_each_finding(reading: Reading, qapp: object) -> None:
    data = report_pdf(reading)
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert re.search(rb"/Type\s*/Page\b", data)
    images = len(re.findall(rb"/Subtype\s*/Image", data))
    assert images >= 3 * len(reading.findings) > 0
    streams = re.findall(rb"stream\r?\n(.*?)endstream", data, flags=re.DOTALL)
    assert any(b"BT" in _plain(stream) for stream in streams), "there are words on the page"


def _plain(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream
