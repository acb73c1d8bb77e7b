"""Readers compared in a real window: what the others said is seen when the reader wants to, and never changed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from fake_engine import fake_result
from napari_anomaly.errors import ReviewError
from napari_anomaly.journal import Header, Journal, journal_path, read_journal
from napari_anomaly.plugin.agreement_window import AgreementWindow
from napari_anomaly.plugin.case import header_of
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import scan_layer
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.review import Entry, Verdict
from napari_anomaly.scan import Scan

pytestmark = pytest.mark.usefixtures("screen")
LEFT = Qt.MouseButton.LeftButton
R, F, U = Verdict.REAL, Verdict.FALSE_POSITIVE, Verdict.UNSURE


@pytest.fixture
def panel(
    make_napari_viewer: Callable[..., napari.Viewer], scan: Scan, qtbot: QtBot
) -> Iterator[ReviewPanel]:
    viewer = make_napari_viewer(show=True)
    data, keywords, _ = scan_layer(scan)
    viewer.add_image(data, **keywords)
    panel = ReviewPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Findings")
    detected(panel, qtbot)
    yield panel
    panel.close()
    wait(panel, qtbot)


def detected(panel: ReviewPanel, qtbot: QtBot) -> None:
    case = panel.desk.case
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    case.session.threshold = 0.8
    case.session.min_volume_mm3 = 0.0
    panel.desk.count()
    wait(panel, qtbot)


def wait(panel: ReviewPanel, qtbot: QtBot) -> None:
    def settled() -> bool:
        busy = not (panel.desk.counts.idle and panel.compare.idle and panel.recalling.idle)
        case = panel.desk.case
        return not busy and (case is None or case.session.has_findings)

    qtbot.waitUntil(settled, timeout=60_000)


def says(reader: str, panel: ReviewPanel, verdicts: dict[int, Verdict], **other: str) -> Path:
    """Have another reader judge findings, by their place, where all reviews are kept."""
    case = panel.desk.case
    header: Header = header_of(case.scan, case.session.map).model_copy(update={"reader": reader, **other})
    folder = case.journal.path.parent
    journal = Journal.open(journal_path(folder, header), header)
    for place, verdict in verdicts.items():
        key = panel.findings.items[place].id
        journal.record(Entry(do="change", change=journal.review.marking([key], verdict)))
    journal.close()
    return journal.path


def judge_all(panel: ReviewPanel, qtbot: QtBot) -> None:
    panel.table.select(panel.table.order())
    panel.judge(R)
    wait(panel, qtbot)


def compare(panel: ReviewPanel, qtbot: QtBot) -> AgreementWindow:
    qtbot.mouseClick(panel.compare, LEFT)
    wait(panel, qtbot)
    return panel.compare.beside


def cells(beside: AgreementWindow) -> list[list[str]]:
    model = beside.table.model()
    return [[model.index(row, n).data() for n in range(4)] for row in range(model.rowCount())]


def spot(beside: AgreementWindow, row: int) -> QPoint:
    return beside.table.visualRect(beside.table.model().index(row, 1)).center()


def place(panel: ReviewPanel) -> np.ndarray:
    return np.asarray(panel.desk.case.layer.world_to_data(panel.viewer.dims.point))


def test_what_others_said_is_not_seen_before_the_reader_asks_for_it(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R, 1: F})
    beside = compare(panel, qtbot)
    assert beside.asking
    assert cells(beside) == []
    count = len(panel.findings)
    assert f"read by ben.\n\n{count} findings have no verdict of yours yet" in beside.question.text()
    qtbot.mouseClick(beside.judge_first, LEFT)
    assert not beside.isVisible()
    compare(panel, qtbot)
    qtbot.mouseClick(beside.show_all, LEFT)
    assert not beside.asking
    wait(panel, qtbot)
    assert [row[:1] + row[3:] for row in cells(beside)] == [["1", "real"], ["2", "false"]]
    beside.close()
    compare(panel, qtbot)
    assert not beside.asking


def test_what_was_seen_early_stands_in_the_journal_and_beside_the_table(
    panel: ReviewPanel, qtbot: QtBot
) -> None:
    says("ben", panel, {0: R, 1: F})
    panel.table.select(panel.table.order()[:1])
    panel.judge(R)
    count = len(panel.findings)
    beside = compare(panel, qtbot)
    own = panel.desk.case.journal.path
    assert read_journal(own)[1].seen == ()
    qtbot.mouseClick(beside.show_all, LEFT)
    wait(panel, qtbot)
    kept = read_journal(own)[1]
    assert [(one.readers, one.unjudged) for one in kept.seen] == [(("ben",), count - 1)]
    assert "saw what others said (ben)" in beside.notes.text()
    assert "0 of " in beside.notes.text()
    panel.table.select(panel.table.order()[1:2])
    panel.judge(F)
    wait(panel, qtbot)
    assert "1 of " in beside.notes.text()
    panel.undo()
    panel.undo()
    assert panel.review.verdicts == {}
    assert len(panel.review.seen) == 1
    # After a restart nobody is asked twice, and what was seen is still known.
    beside.close()
    detected(panel, qtbot)
    assert not compare(panel, qtbot).asking


def test_what_cannot_be_noted_is_not_shown(
    panel: ReviewPanel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("ben", panel, {0: R})
    beside = compare(panel, qtbot)

    def full(entry: Entry) -> None:
        raise ReviewError("The last step is not saved: no space is left.")

    panel.desk.case.session.record_with(full)
    qtbot.mouseClick(beside.show_all, LEFT)
    assert beside.asking
    assert cells(beside) == []
    assert "no space is left" in beside.message.text()


def test_a_reader_who_is_done_is_not_asked(panel: ReviewPanel, qtbot: QtBot) -> None:
    path = says("ben", panel, {0: R, 1: F})
    before = path.read_bytes()
    judge_all(panel, qtbot)
    beside = compare(panel, qtbot)
    assert not beside.asking
    assert cells(beside)[:3] == [
        ["1", "= yes", "real", "real"],
        ["2", "≠ no", "real", "false"],
        ["3", "", "real", "-"],
    ]
    assert "ben: the same verdict on 1 of 2 findings (50%), kappa 0.00" in beside.pairs.text()
    assert path.read_bytes() == before


def test_the_last_verdict_answers_the_question(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R})
    beside = compare(panel, qtbot)
    assert beside.asking
    judge_all(panel, qtbot)
    assert not beside.asking
    assert cells(beside)[0] == ["1", "= yes", "real", "real"]


def test_a_click_outlines_and_a_double_click_or_enter_goes_there(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R, 1: F, 2: U})
    beside = compare(panel, qtbot)
    qtbot.mouseClick(beside.show_all, LEFT)
    before = place(panel)
    qtbot.mouseClick(beside.table.viewport(), LEFT, pos=spot(beside, 1))
    second, third = panel.findings.items[1:3]
    assert panel.table.ids() == panel.desk.case.chosen == (second.id,)
    drawn = panel.desk.case.layers.shown("marks").data == 1
    assert np.array_equal(drawn, panel.findings.labels == second.rank)
    assert np.allclose(place(panel), before)
    qtbot.mouseDClick(beside.table.viewport(), LEFT, pos=spot(beside, 1))
    assert np.allclose(place(panel), second.peak_index)
    qtbot.keyClick(beside.table, Qt.Key.Key_Down)
    assert panel.table.ids() == (third.id,)
    assert np.allclose(place(panel), second.peak_index)
    qtbot.keyClick(beside.table, Qt.Key.Key_Return)
    assert np.allclose(place(panel), third.peak_index)


def test_a_finding_that_the_dock_hides_is_outlined_all_the_same(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R})
    beside = compare(panel, qtbot)
    qtbot.mouseClick(beside.show_all, LEFT)
    panel.table.show_only("real")
    qtbot.mouseClick(beside.table.viewport(), LEFT, pos=spot(beside, 0))
    assert panel.table.ids() == ()
    assert panel.desk.case.chosen == (panel.findings.items[0].id,)


def test_keys_of_review_mode_judge_and_the_table_follows(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R, 1: F})
    qtbot.mouseClick(panel.mode, LEFT)
    qtbot.keyClick(panel.window().centralWidget(), Qt.Key.Key_C)
    wait(panel, qtbot)
    beside = panel.compare.beside
    qtbot.mouseClick(beside.show_all, LEFT)
    qtbot.mouseClick(beside.table.viewport(), LEFT, pos=spot(beside, 0))
    qtbot.keyClick(beside.table, Qt.Key.Key_R)
    wait(panel, qtbot)
    assert cells(beside)[0] == ["1", "= yes", "real", "real"]
    assert beside.table.key == panel.findings.items[1].id
    # Space, Enter and Esc are the window's own.
    qtbot.keyClick(beside.only, Qt.Key.Key_Space)
    assert beside.only.isChecked()
    assert cells(beside) == []
    qtbot.keyClick(beside, Qt.Key.Key_Escape)
    assert not beside.isVisible()


def test_other_detectors_and_broken_files_are_told_apart(panel: ReviewPanel, qtbot: QtBot) -> None:
    judge_all(panel, qtbot)
    stale = says("cleo", panel, {0: F}, detector_sha256="c" * 64)
    beside = compare(panel, qtbot)
    assert cells(beside) == []
    assert "no review of another reader of this scan in reviews" in beside.notes.text()
    assert f"{stale.name} is left out: it is a review of another detector (cccc" in beside.notes.text()
    assert not beside.export.isEnabled()
    says("ben", panel, {0: R})
    compare(panel, qtbot)
    assert cells(beside)[0][3] == "real"
    assert stale.name in beside.notes.text()


def test_files_that_lie_elsewhere_can_be_added(
    panel: ReviewPanel, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_all(panel, qtbot)
    path = says("ben", panel, {0: U})
    elsewhere = path.rename(tmp_path / "from-ben.jsonl")
    beside = compare(panel, qtbot)
    assert cells(beside) == []
    own = panel.desk.case.journal.path
    # One's own review is no other reader's.
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *words: ([str(elsewhere), str(own)], ""))
    qtbot.mouseClick(beside.files, LEFT)
    wait(panel, qtbot)
    assert cells(beside)[0] == ["1", "≠ no", "real", "unsure"]
    assert beside.table.model().columnCount() == 5


def test_the_table_is_exported(
    panel: ReviewPanel, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("ben", panel, {0: F})
    judge_all(panel, qtbot)
    beside = compare(panel, qtbot)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words: (str(tmp_path / "both"), ""))
    qtbot.mouseClick(beside.export, LEFT)
    wait(panel, qtbot)
    lines = (tmp_path / "both.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[2:] == ["ben", "agree"]
    assert f"{panel.findings.items[0].id},real,false positive,no" in lines
    assert "Saved" in beside.message.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words: (str(tmp_path / "none" / "x.csv"), ""))
    qtbot.mouseClick(beside.export, LEFT)
    wait(panel, qtbot)
    assert "Nothing was written" in beside.message.text()


def test_without_scikit_learn_there_is_all_but_kappa(
    panel: ReviewPanel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    says("ben", panel, {0: R})
    judge_all(panel, qtbot)
    beside = compare(panel, qtbot)
    assert beside.pairs.text().endswith("ben: the same verdict on 1 of 1 findings (100%)")
    assert "napari-anomaly[agreement]" in beside.notes.text()


def test_it_goes_with_the_scan(panel: ReviewPanel, qtbot: QtBot) -> None:
    says("ben", panel, {0: R})
    beside = compare(panel, qtbot)
    qtbot.mouseClick(beside.show_all, LEFT)
    detected(panel, qtbot)
    assert not beside.isVisible()
    compare(panel, qtbot)
    assert len(cells(beside)) == 1
    panel.viewer.layers.remove(panel.desk.case.layer)
    assert not beside.isVisible()
    qtbot.mouseClick(panel.compare, LEFT)
    panel.compare.open()
    assert "no findings yet" in panel.message.text()
