"""The window of the table of readers, behind a question where the reader is not done yet."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QDialog, QLabel, QStackedWidget, QVBoxLayout, QWidget

from napari_anomaly.agreement import Agreement
from napari_anomaly.findings import Findings
from napari_anomaly.plugin.agreement_table import AgreementTable
from napari_anomaly.plugin.message import Message
from napari_anomaly.plugin.parts import button, row
from napari_anomaly.plugin.review_keys import OWN_KEYS

__all__ = ["AgreementWindow"]

_SIZE = (520, 460)


class AgreementWindow(QDialog):
    """The table of readers, behind a question where the reader is not done yet.

    Parameters
    ----------
    parent
        Whose window it stays above.
    acts
        What the buttons do: ``"agree"`` to seeing the others' verdicts, ``"files"``, ``"export"``.
    """

    def __init__(self, parent: QWidget, acts: Mapping[str, Callable[[], object]]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Readers compared")
        self.setProperty(OWN_KEYS, ["Space", "Return", "Esc"])
        self.resize(*_SIZE)
        self.message = Message()
        self.table = AgreementTable()
        self.only = QCheckBox("only &disagreements")
        self.only.setToolTip("Show only findings on which readers disagree")
        self.only.toggled.connect(self.table.only_disagreements)
        self.pairs = _words(
            "How far each two readers agree; Cohen's kappa is agreement beyond chance, 1 at most"
        )
        self.notes = _words("What must be known of the comparison")
        self.question = _words("Why you are asked")
        self.show_all = button(
            "Show what others said", "See their verdicts now; you are asked once for each scan", acts["agree"]
        )
        self.judge_first = button("Judge first", "Close this window, and read on", self.close)
        self.files = button(
            "Other files...",
            "Compare with reviews that lie elsewhere: journals, or what Everything (JSON) has written",
            acts["files"],
        )
        self.export = button("Export (CSV)...", "Save the table, and how far readers agree", acts["export"])
        for one in (self.show_all, self.judge_first, self.files, self.export):
            one.setAutoDefault(False)
        self.pages = QStackedWidget()
        self.pages.addWidget(_page(self.question, row(self.show_all, self.judge_first)))
        self.pages.addWidget(
            _page(self.table, row(self.only), self.pairs, self.notes, row(self.files, self.export))
        )
        layout = QVBoxLayout(self)
        layout.addWidget(self.message)
        layout.addWidget(self.pages, 1)

    @property
    def asking(self) -> bool:
        """Whether the question stands before the table."""
        return self.pages.currentIndex() == 0

    def ask(self, text: str) -> None:
        """Ask before the table is shown; the table is empty until then."""
        self.table.set_agreement(None, None)
        self.pairs.setText("")
        self.notes.setText("")
        self.question.setText(text)
        self.pages.setCurrentIndex(0)

    def show_agreement(
        self, found: Agreement | None, findings: Findings | None, notes: Iterable[str]
    ) -> None:
        """Show the table; None for an empty one."""
        self.table.set_agreement(found, findings)
        self.pairs.setText("" if found is None else "\n".join(found.sentences()))
        self.notes.setText("\n".join(notes))
        self.export.setEnabled(found is not None)
        self.pages.setCurrentIndex(1)


def _words(tooltip: str) -> QLabel:
    label = QLabel()
    label.setToolTip(tooltip)
    label.setWordWrap(True)
    # Names of readers are theirs: no mark-up.
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _page(*parts: Any) -> QWidget:
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part) if isinstance(part, QWidget) else layout.addLayout(part)
    return page
