import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from fake_engine import fake_result
from napari_anomaly.findings import find
from napari_anomaly.plugin.filter_section import FilterSection
from napari_anomaly.plugin.review_table import ReviewTable
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")


@pytest.fixture
def section(qtbot: QtBot) -> FilterSection:
    section = FilterSection()
    qtbot.addWidget(section)
    section.show()
    return section


def test_a_typed_size_and_a_chosen_score_filter_the_table(
    section: FilterSection, scan: Scan, qtbot: QtBot
) -> None:
    findings = find(fake_result(scan).map, 0.8)
    table = ReviewTable()
    qtbot.addWidget(table)
    table.set_findings(findings, scan.source)
    section.changed.connect(lambda: section.apply(table))
    largest = max(finding.volume_mm3 for finding in findings)
    section.least_size.selectAll()
    qtbot.keyClicks(section.least_size, str(int(largest)))
    assert [findings.by_id(one).volume_mm3 for one in table.order()] == [largest]
    section.least_size.setValue(0)
    assert len(table.order()) == len(findings)
    section.score.setFocus()
    qtbot.keyClick(section.score, Qt.Key.Key_End)
    least = section.score.currentData()
    section.score.activated.emit(section.score.currentIndex())
    assert table.order() == [finding.id for finding in findings if finding.peak >= least]


def test_sizes_are_counted_in_what_the_scan_has(section: FilterSection) -> None:
    assert section.least_size.text() == "any size"
    section.least_size.setValue(50)
    assert section.least_size.text() == "≥ 50 mm³"
    section.show_unit("voxel")
    assert section.least_size.text() == "≥ 50 voxels"


def test_every_control_has_words(section: FilterSection) -> None:
    for control in (section.verdict, section.least_size, section.score):
        assert control.toolTip()
