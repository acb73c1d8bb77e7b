"""Drive the real window until three readers stand side by side, and save the picture.

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/pictures/make_agreement_picture.py

Options as of `make_reading_pictures.py`. What the other readers said is made up.
"""

import os
import tempfile
from pathlib import Path

from make_reading_pictures import Reading, options_of, raise_dock, screened
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_anomaly.journal import Journal, journal_path
from napari_anomaly.plugin.case import header_of
from napari_anomaly.plugin.review_place import VARIABLE
from napari_anomaly.review import Entry, Verdict

LETTERS = {"r": Verdict.REAL, "f": Verdict.FALSE_POSITIVE, "u": Verdict.UNSURE}
OTHERS = {"ben": "rrfuff", "cleo": "rffrff"}
OWN = "rrurff"
SIZE = (500, 400)


def main() -> None:
    """Make the picture."""
    options = options_of(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = f"{folder}/reviews"
        os.environ["LOGNAME"] = "ann"
        Readers(options.out, options.worklist or screened(Path(folder))).go()


class Readers(Reading):
    """A reader at the window, who wants to know what others said."""

    def go(self) -> None:
        """Read, and compare."""
        panel, worklist = self.panel, self.list
        worklist.open_list(self.worklist)
        self.until(lambda: worklist.is_ready, 120)
        worklist.next.click()
        self.settle()
        self.enough()
        raise_dock(panel)
        panel.mode.click()
        for letter, place in zip(OWN, panel.table.order(), strict=False):
            panel.table.select([place])
            panel.judge(LETTERS[letter])
        for reader, letters in OTHERS.items():
            self.say(reader, letters)
        self.key(Qt.Key.Key_C)
        beside = panel.compare.beside
        self.until(lambda: panel.compare.idle, 120)
        if beside.asking:
            QTest.mouseClick(beside.show_all, Qt.MouseButton.LeftButton)
        beside.resize(*SIZE)
        window = panel.window()
        beside.move(window.x() + 20, window.y() + window.height() - SIZE[1] - 60)
        beside.table.selectRow(1)
        QTest.keyClick(beside.table, Qt.Key.Key_Return)
        self.shoot("reading-10-readers", dock=True)
        self.viewer.close()

    def say(self, reader: str, letters: str) -> None:
        """Have another reader judge the first findings."""
        case = self.panel.desk.case
        header = header_of(case.scan, case.session.map).model_copy(update={"reader": reader})
        journal = Journal.open(journal_path(case.journal.path.parent, header), header)
        for finding, letter in zip(self.panel.findings, letters, strict=False):
            change = journal.review.marking([finding.id], LETTERS[letter])
            journal.record(Entry(do="change", change=change))
        journal.close()


if __name__ == "__main__":
    main()
