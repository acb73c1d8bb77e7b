"""The dock of the archive in a real window, in front of an archive without a wire."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from pydicom import dcmread
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QInputDialog, QLineEdit, QPushButton, QTableView

from dicoms import ROOT, classic, places, ramp
from fake_engine import fake_result
from napari_anomaly import extras, pacs
from napari_anomaly.errors import ArchiveError
from napari_anomaly.io import Pseudonyms
from napari_anomaly.pacs.archive import Archive, connect
from napari_anomaly.pacs.match import Match, Query
from napari_anomaly.plugin.archive_panel import ArchivePanel
from napari_anomaly.plugin.display import prepare
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.layers import SCAN
from napari_anomaly.plugin.review_panel import ReviewPanel
from napari_anomaly.samples import phantom
from napari_anomaly.worklist import Worklist

pytestmark = pytest.mark.usefixtures("screen", "ring")

PLACE = "https://pacs.example/dicom-web"
NAMES = ("Mustermann", "Erika", "Beispiel", "ID4711")


class FakeArchive:
    """Holds what it is given; stops in the middle of anything when it is told to."""

    def __init__(self) -> None:
        self.held: dict[Match, list[Path]] = {}
        self.asked: list[Query] = []
        self.stored: list[Any] = []
        self.sent = 0
        self.room = 100
        self.pause = 0.0
        self.problem: Exception | None = None
        self.hold_at = -1
        self.reached, self.go = threading.Event(), threading.Event()

    def find(self, query: Query) -> Generator[Match, None, None]:
        self.asked.append(query)
        self._hold(0)
        if self.problem is not None:
            raise self.problem
        wanted = Query(query.patient_name)
        yield from (match for match in self.held if wanted.fits({"PatientName": match.patient_name}))

    def search(self, query: Query) -> list[Match]:
        return list(self.find(query))

    def fetch(self, match: Match) -> Generator[Any, None, None]:
        for number, file in enumerate(self.held[match], start=1):
            yield dcmread(file)
            time.sleep(self.pause)
            self.sent += 1
            self._hold(number)

    def store(self, dataset: Any) -> None:
        if len(self.stored) == self.room:
            raise ArchiveError("The archive is full.")
        self.stored.append(dataset)

    def _hold(self, place: int) -> None:
        if self.hold_at == place:
            self.reached.set()
            self.go.wait(60)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """Give an archive with two series of one patient and one of another."""
    made = FakeArchive()
    head = phantom((20, 24, 22), lesion_mm=18.0, rng=np.random.default_rng(1))
    slices = np.rint(head.voxels * 1000 / head.voxels.max()).astype(np.int16)
    sz, sy, sx = head.geometry.spacing
    for number, patient, day in (
        ("1", "Mustermann^Erika", "20240229"),
        ("2", "Mustermann^Erika", "20240301"),
    ):
        files = classic(
            tmp_path / "held" / number,
            slices if number == "1" else ramp((4, 6, 5)),
            positions=places(len(slices), step=sz) if number == "1" else None,
            PixelSpacing=[sy, sx],
            SeriesInstanceUID=f"{ROOT}2.{number}",
            SeriesNumber=number,
        )
        match = Match(
            *(f"{ROOT}1", f"{ROOT}2.{number}", patient, "ID4711", day, "MR", "t1 mprage Mustermann", number),
            images=len(files),
        )
        made.held[match] = files
    made.held[Match(f"{ROOT}5", f"{ROOT}6", "Beispiel^Anna", "ID1", "20230101", "CT", "head", "3", 2)] = []
    monkeypatch.setattr(pacs, "connect", lambda *words, **named: made)
    yield made
    made.go.set()


@pytest.fixture
def panel(
    make_napari_viewer: Callable[..., napari.Viewer],
    qtbot: QtBot,
    tmp_path: Path,
    archive: FakeArchive,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ArchivePanel]:
    monkeypatch.delenv("NAPARI_ANOMALY_ARCHIVE", raising=False)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 800)
    _, made = viewer.window.add_plugin_dock_widget("napari-anomaly", "Archive")
    assert isinstance(made, ArchivePanel)
    made.form.address.setText(PLACE)
    yield made
    archive.go.set()
    made.close()
    until(qtbot, lambda: made.idle)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answer the question for a folder; it may be asked once."""
    answers = [tmp_path / "fetched"]
    answers[0].mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *words: str(answers.pop()))
    return tmp_path / "fetched"


def until(qtbot: QtBot, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(done, timeout=300_000)


def press(qtbot: QtBot, button: object) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def said(panel: ArchivePanel) -> str:
    return panel.message.text().replace("\u200b", "")


def cells(panel: ArchivePanel, column: int) -> list[str]:
    model = panel.table.model()
    return [model.index(row, column).data() for row in range(model.rowCount())]


def found(panel: ArchivePanel, qtbot: QtBot, name: str = "Muster") -> None:
    panel.form.patient.clear()
    qtbot.keyClicks(panel.form.patient, name)
    qtbot.keyClick(panel.form.patient, Qt.Key.Key_Return)
    until(qtbot, lambda: panel.count.text() != "" or said(panel) != "")


def double_click(panel: ArchivePanel, qtbot: QtBot, row: int) -> None:
    place = panel.table.visualRect(panel.table.model().index(row, 1)).center()
    viewport = panel.table.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=place)


def test_a_search_lists_series_and_sorts_them(
    panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot
) -> None:
    assert isinstance(archive, Archive)
    qtbot.keyClicks(panel.form.first, "2023-01-01")
    qtbot.keyClicks(panel.form.number, "ID4711")
    panel.form.modality.setCurrentText("mr")
    found(panel, qtbot, "*")
    assert panel.count.text() == "3 series"
    assert archive.asked == [Query("*", "ID4711", "20230101-", "mr")]
    assert cells(panel, 0) == ["2024-03-01", "2024-02-29", "2023-01-01"]
    assert cells(panel, 1) == ["Mustermann, Erika", "Mustermann, Erika", "Beispiel, Anna"]
    assert cells(panel, 4) == ["4", "20", "2"]
    header = panel.table.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(4) + 20, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert cells(panel, 4) == ["2", "4", "20"]
    assert "ID4711" in panel.table.model().index(1, 1).data(Qt.ItemDataRole.ToolTipRole)
    assert panel.fetch.isEnabled()
    assert not panel.open.isEnabled()


def test_enter_searches_in_every_field(panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot) -> None:
    panel.form.patient.setText("Muster")
    fields = [panel.form.address, *panel.form.fields, panel.form.modality.lineEdit()]
    for count, field in enumerate(fields, start=1):
        panel.form.last.setText("2024-12-31")
        qtbot.keyClick(field, Qt.Key.Key_Return)
        until(qtbot, lambda count=count: len(archive.asked) == count and not panel.busy)


def test_what_cannot_be_asked_is_told(panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot) -> None:
    press(qtbot, panel.form.search)
    assert "Say what to look for first" in said(panel)
    panel.form.patient.setText("Muster")
    panel.form.first.setText("29.2.2024")
    press(qtbot, panel.form.search)
    assert "is no date" in said(panel)
    panel.form.first.clear()
    panel.form.address.setText("https://reader:secret@pacs.example")
    press(qtbot, panel.form.search)
    assert "A password does not belong" in said(panel)
    assert "secret" not in said(panel)
    assert archive.asked == []
    assert panel.form.search.isEnabled()


def test_an_error_of_the_archive_is_shown_and_names_nobody(
    panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot
) -> None:
    archive.problem = ArchiveError("The archive at pacs.example:443 refuses this user.")
    found(panel, qtbot)
    assert said(panel) == "The archive at pacs.example:443 refuses this user."
    archive.problem = ValueError("Mustermann^Erika is no name")
    panel.message.clear_text()
    found(panel, qtbot)
    assert "Something went wrong that should not (ValueError)" in said(panel)
    assert "Muster" not in said(panel)
    archive.problem = None
    found(panel, qtbot, "Nobody")
    until(qtbot, lambda: "holds no such series" in said(panel))
    assert panel.form.search.isEnabled()
    assert not panel.fetch.isEnabled()


def test_a_search_can_be_cancelled_and_the_next_one_need_not_wait(
    panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot
) -> None:
    archive.hold_at = 0
    panel.form.patient.setText("Muster")
    press(qtbot, panel.form.search)
    until(qtbot, archive.reached.is_set)
    assert panel.stop.isVisible()
    assert not panel.form.search.isEnabled()
    press(qtbot, panel.stop)
    assert said(panel) == "Cancelled."
    assert not panel.stop.isVisible()
    archive.hold_at = -1
    found(panel, qtbot, "Beispiel")
    until(qtbot, lambda: panel.count.text() == "1 series")
    assert not archive.go.is_set()
    archive.go.set()
    until(qtbot, lambda: panel.idle)
    assert cells(panel, 1) == ["Beispiel, Anna"]


def test_a_double_click_fetches_and_opens(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found(panel, qtbot)
    double_click(panel, qtbot, 1)
    until(qtbot, lambda: len(panel.viewer.layers) == 1 and not panel.busy)
    match = next(iter(archive.held))
    (fetched,) = folder.iterdir()
    assert fetched == folder / match.folder
    assert len(list(fetched.glob("*.dcm"))) == 20
    layer = panel.viewer.layers[0]
    assert layer.metadata[SCAN].source.path.is_relative_to(fetched)
    assert layer.metadata[SCAN].source.format == "dicom"
    assert f"is open, from {fetched}" in said(panel)
    assert cells(panel, 4) == ["4", "✓ 20"]
    assert panel.open.isEnabled()
    # It is here: it opens again without being fetched, and nobody asks for the folder once more.
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    until(qtbot, lambda: len(panel.viewer.layers) == 2 and not panel.busy)
    assert archive.sent == 20
    written = [str(path) for path in folder.rglob("*")] + [
        layer.name,
        said(panel),
        caplog.text,
        panel.count.text(),
    ]
    assert not [(name, text) for name in NAMES for text in written if name in text]


def test_several_are_fetched_and_one_is_opened(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot
) -> None:
    found(panel, qtbot)
    panel.table.selectAll()
    press(qtbot, panel.fetch)
    until(qtbot, lambda: "2 series are in" in said(panel))
    assert str(folder) in said(panel)
    assert len(list(folder.iterdir())) == 2
    assert len(panel.viewer.layers) == 0
    panel.table.selectRow(0)
    press(qtbot, panel.open)
    until(qtbot, lambda: len(panel.viewer.layers) == 1 and not panel.busy)
    assert panel.viewer.layers[0].data.shape == (4, 6, 5)
    panel.place = panel.place.read()
    assert panel.place.folder == folder


def test_a_fetch_that_is_cancelled_leaves_nothing(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot
) -> None:
    archive.hold_at, archive.pause = 7, 0.05
    found(panel, qtbot)
    panel.table.selectRow(1)
    press(qtbot, panel.fetch)
    until(qtbot, archive.reached.is_set)
    until(qtbot, lambda: panel.bar.maximum() == 20 and panel.bar.value() >= 1)
    assert "series 1 of 1, file" in panel.status.text()
    assert [path.name[0] for path in folder.iterdir()] == ["."]
    qtbot.keyClick(panel.stop, Qt.Key.Key_Escape)
    assert "nothing is kept" in said(panel)
    archive.go.set()
    until(qtbot, lambda: panel.idle)
    assert list(folder.iterdir()) == []
    assert len(panel.viewer.layers) == 0
    assert archive.sent < 20
    assert cells(panel, 4) == ["4", "20"]
    # The same once more, to its end.
    archive.hold_at = -1
    press(qtbot, panel.fetch)
    until(qtbot, lambda: len(panel.viewer.layers) == 1)


def test_without_a_folder_nothing_is_fetched(
    panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *words: asked.append(words[2]) or "")
    found(panel, qtbot)
    press(qtbot, panel.fetch)
    assert asked == [str(tmp_path / "data" / "napari-anomaly" / "archive")]
    assert not Path(asked[0]).exists()
    assert not panel.busy
    assert archive.sent == 0


def test_what_is_no_image_is_told(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot
) -> None:
    match = next(iter(archive.held))
    for file in archive.held[match]:
        data = dcmread(file)
        del data.PixelData
        data.save_as(file)
    found(panel, qtbot)
    double_click(panel, qtbot, 1)
    until(qtbot, lambda: not panel.busy and said(panel) != "")
    assert len(panel.viewer.layers) == 0
    assert "Muster" not in said(panel)
    assert (folder / match.folder).is_dir()


def test_sign_in_goes_into_the_keyring_and_out_again(
    panel: ArchivePanel, ring: Any, qtbot: QtBot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    press(qtbot, panel.form.sign_in)
    dialog = panel.signing
    assert dialog.isVisible()
    assert dialog.secret.echoMode() == QLineEdit.EchoMode.Password
    assert not dialog.ok.isEnabled()
    qtbot.keyClicks(dialog.user, "reader")
    qtbot.keyClicks(dialog.secret, "open sesame")
    press(qtbot, dialog.ok)
    until(qtbot, lambda: "Kept in the keyring" in said(panel))
    assert {key: json.loads(kept) for key, kept in ring.kept.items()} == {
        ("napari-anomaly", PLACE): ["reader", "open sesame"]
    }
    kept = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert any(PLACE in text for text in kept)
    assert "sesame" not in "".join([*kept, caplog.text, said(panel)])
    press(qtbot, panel.form.sign_out)
    until(qtbot, lambda: "Taken out" in said(panel))
    assert ring.kept == {}
    press(qtbot, panel.form.sign_out)
    until(qtbot, lambda: "There was none" in said(panel))


def test_a_dialog_that_is_left_keeps_nothing(panel: ArchivePanel, ring: Any, qtbot: QtBot) -> None:
    press(qtbot, panel.form.sign_in)
    qtbot.keyClicks(panel.signing.secret, "token")
    qtbot.keyClick(panel.signing, Qt.Key.Key_Escape)
    until(qtbot, lambda: panel.idle)
    assert ring.kept == {}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://pacs.example/dicom-web", "in the open"),
        ("dicom://ARCHIVE@pacs.example", "knows no passwords"),
    ],
)
def test_no_secret_is_asked_for_where_it_would_be_lost(
    panel: ArchivePanel, qtbot: QtBot, address: str, words: str
) -> None:
    panel.form.address.setText(address)
    press(qtbot, panel.form.sign_in)
    assert words in said(panel)
    assert panel.signing is None


def test_without_the_extra_its_name_is_told(
    panel: ArchivePanel, archive: FakeArchive, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'keyring'", name="keyring")

    monkeypatch.setattr(extras, "import_module", missing)
    monkeypatch.setattr(pacs, "connect", connect)
    found(panel, qtbot)
    until(qtbot, lambda: "pip install 'napari-anomaly[pacs]'" in said(panel))
    panel.message.clear_text()
    press(qtbot, panel.form.sign_in)
    assert "pip install 'napari-anomaly[pacs]'" in said(panel)
    assert panel.form.search.isEnabled()


def test_the_import_needs_no_library_of_the_archive() -> None:
    libraries = ("torch", "pydicom", "pynetdicom", "dicomweb_client", "keyring", "highdicom")
    code = f"import sys, napari_anomaly.plugin.archive_panel; print([n for n in {libraries} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def with_result(panel: ArchivePanel, qtbot: QtBot) -> None:
    """Fetch a series, open it, and have findings in it."""
    found(panel, qtbot)
    double_click(panel, qtbot, 1)
    until(qtbot, lambda: len(panel.viewer.layers) == 1 and not panel.busy)
    case = panel.desk.choose(panel.viewer.layers[0])
    result = fake_result(case.scan)
    panel.desk.show_result(case, Outcome(result, prepare(result.map, result.supervoxels)))
    case.session.threshold, case.session.min_volume_mm3 = 0.8, 1000.0
    panel.desk.count()
    until(qtbot, lambda: panel.desk.counts.idle and case.session.has_findings)


def answer(panel: ArchivePanel, qtbot: QtBot, text: str) -> None:
    press(
        qtbot,
        next(each for each in panel.results.confirming.buttons() if each.text().replace("&", "") == text),
    )


def test_results_go_back_after_a_question(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot, tmp_path: Path
) -> None:
    assert not panel.results.button.isEnabled()
    assert "nothing to send yet" in panel.results.button.toolTip()
    with_result(panel, qtbot)
    assert panel.results.button.isEnabled()
    press(qtbot, panel.results.button)
    asked = panel.results.confirming.text() + panel.results.confirming.informativeText()
    assert "to the archive at pacs.example:443?" in asked
    assert "Segmentation (SEG) and report (SR)" in asked
    assert not [name for name in NAMES if name in asked]
    answer(panel, qtbot, "Cancel")
    assert not panel.busy
    assert archive.stored == []
    press(qtbot, panel.results.button)
    answer(panel, qtbot, "Send")
    until(qtbot, lambda: "2 files of" in said(panel))
    assert "are stored in the archive at pacs.example:443" in said(panel)
    assert [each.Modality for each in archive.stored] == ["SEG", "SR"]
    assert {each.StudyInstanceUID for each in archive.stored} == {ROOT + "1"}
    assert list((tmp_path / "data" / "napari-anomaly" / "unsent").iterdir()) == []


def test_results_that_are_refused_stay(
    panel: ArchivePanel, archive: FakeArchive, folder: Path, qtbot: QtBot, tmp_path: Path
) -> None:
    archive.room = 1
    with_result(panel, qtbot)
    press(qtbot, panel.results.button)
    answer(panel, qtbot, "Send")
    until(qtbot, lambda: "The archive is full" in said(panel))
    (kept,) = (tmp_path / "data" / "napari-anomaly" / "unsent").iterdir()
    assert "1 of 2 files were stored" in said(panel)
    assert f"The files stay in {kept}" in said(panel)
    assert [dcmread(path).Modality for path in sorted(kept.iterdir())] == ["SEG", "SR"]
    names = [*NAMES, "mustermann"]
    assert not [name for name in names for path in kept.rglob("*") if name in str(path.relative_to(tmp_path))]


def test_what_is_no_dicom_stays_here(panel: ArchivePanel, scan: Any, qtbot: QtBot) -> None:
    result = fake_result(scan)
    panel.desk.show_scan(scan, Outcome(result, prepare(result.map, result.supervoxels)))
    assert not panel.results.button.isEnabled()
    assert "was not read from DICOM" in panel.results.button.toolTip()


def test_fetched_series_wait_on_a_worklist(
    panel: ArchivePanel,
    archive: FakeArchive,
    folder: Path,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words, **named: (str(tmp_path / "list"), ""))
    found(panel, qtbot)
    assert not panel.add.isEnabled()
    panel.table.selectAll()
    press(qtbot, panel.fetch)
    until(qtbot, lambda: "2 series are in" in said(panel))
    for words in ("2 new scans wait on list.sqlite", "They are on list.sqlite already."):
        press(qtbot, panel.add)
        until(qtbot, lambda words=words: words in said(panel))
        assert (f"napari-anomaly screen {folder} --worklist" in said(panel)) == ("wait" in words)
    worklist = Worklist(tmp_path / "list.sqlite")
    rows = worklist.rows()
    worklist.close()
    assert {(row.path, row.series, row.state) for row in rows} == {
        (path, -1, "waiting") for path in folder.iterdir()
    }


def test_address_title_and_certificates_are_remembered(
    panel: ArchivePanel, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours.pem").touch()
    ours = {"ca": tmp_path / "ours.pem", "calling": "READER"}
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *words: (str(tmp_path / "ours.pem"), ""))
    monkeypatch.setattr(QInputDialog, "getText", lambda *words, **named: ("READER", True))
    actions = {action.text(): action for action in panel.form.menu.actions()}
    actions["Certificates of the hospital (PEM)..."].trigger()
    actions["Our own certificate and key (PEM)..."].trigger()
    actions["Our own title (DIMSE)..."].trigger()
    monkeypatch.setattr(QInputDialog, "getInt", lambda *words: (11113, True))
    actions["Port for series (DIMSE, C-MOVE)..."].trigger()
    asked: list[tuple[Any, ...]] = []
    archive = pacs.connect(PLACE)
    monkeypatch.setattr(pacs, "connect", lambda *words, **named: asked.append((words, named)) or archive)
    found(panel, qtbot)
    panel.form.address.setText("dicom://ARCHIVE@pacs.example")
    found(panel, qtbot)
    assert asked == [
        ((PLACE,), {**ours, "certificate": tmp_path / "ours.pem", "move_port": None}),
        (("dicom://ARCHIVE@pacs.example",), {**ours, "certificate": None, "move_port": 11113}),
    ]
    again = ArchivePanel(panel.viewer)
    assert (again.place, again.form.address.text()) == (panel.place, "dicom://ARCHIVE@pacs.example")
    actions["Certificates of this system"].trigger()
    actions["No certificate of our own"].trigger()
    assert (panel.place.read().ca, panel.place.read().certificate) == (None, None)
    again.close()


def test_copies_without_the_patient_are_fetched_into_a_folder_of_their_own(
    panel: ArchivePanel, folder: Path, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not panel.copies.isEnabled()
    found(panel, qtbot)
    panel.table.selectRow(0)
    key, copies = tmp_path / "kept" / "study.key", tmp_path / "copies"
    key.parent.mkdir()
    copies.mkdir()
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *words, **named: (str(key.with_suffix("")), "")
    )
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *words: str(copies))
    panel.copies.trigger()
    until(qtbot, lambda: "without the patient" in said(panel))
    (copy,) = copies.iterdir()
    files = [dcmread(file) for file in copy.glob("*.dcm")]
    assert {str(file.PatientName) for file in files} == {Pseudonyms.read(key).patient("ID4711")}
    assert not [name for name in NAMES if any(name.encode() in file.read_bytes() for file in copy.iterdir())]
    assert panel.place.read().key == key
    assert not list(folder.glob("*"))
    assert len(panel.viewer.layers) == 0


def test_who_names_no_key_gets_no_copies(
    panel: ArchivePanel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(panel, qtbot)
    panel.table.selectRow(0)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words, **named: ("", ""))
    panel.copies.trigger()
    assert not panel.busy
    assert panel.place.key is None


def test_the_dock_reads_beside_the_others(panel: ArchivePanel, folder: Path, qtbot: QtBot) -> None:
    reading = ReviewPanel(panel.viewer)
    qtbot.addWidget(reading)
    with_result(panel, qtbot)
    assert reading.desk is panel.desk
    assert panel.results.button.isEnabled()
    panel.viewer.layers.remove(panel.desk.case.layer)
    assert not panel.results.button.isEnabled()
    reading.close()
    until(qtbot, lambda: reading.recalling.idle)


def test_the_dock_is_small_and_has_words_for_everything(panel: ArchivePanel) -> None:
    assert panel.minimumSizeHint().width() <= 320
    assert panel.minimumSizeHint().height() <= 700
    for kind in (QPushButton, QTableView, QLineEdit, QComboBox):
        for control in panel.findChildren(kind):
            assert control.toolTip() or control.parent() is panel.form.modality, control
