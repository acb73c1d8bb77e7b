"""The upper part of the dock of the archive: its address, who asks, and what is looked for."""

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLineEdit, QMenu, QPushButton, QWidget

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.match import Query
from napari_anomaly.plugin.archive_sign_in import field
from napari_anomaly.plugin.parts import button, caption, row

__all__ = ["ArchiveForm"]

_MODALITIES = ("", "MR", "CT", "PT", "SEG", "SR")


class ArchiveForm(QWidget):
    """Address, sign in, query, Search.

    Parameters
    ----------
    address
        What to show at first.

    Attributes
    ----------
    search_wanted, sign_in_wanted, sign_out_wanted
        Signals: the reader pressed a button, or Enter in a field.
    menu
        Rarer choices; the dock fills it.
    """

    search_wanted = Signal()
    sign_in_wanted = Signal()
    sign_out_wanted = Signal()

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = field(
            "https://pacs.example/dicom-web",
            "Address of the archive: https://... (DICOMweb) or dicom://TITLE@host:104 (DIMSE); ask for it where your "
            "archive is looked after",
        )
        self.address.setText(address)
        self.address.setCursorPosition(0)
        self.patient = field("Family^Given", "Patient's name as the archive has it; * stands for any letters")
        self.number = field("patient ID", "The hospital's own number of the patient")
        self.accession = field("accession", "Accession number of the examination")
        self.first = field("2024-02-01", "First day of the examination; empty for any")
        self.last = field("to 2024-02-29", "Last day of the examination; empty for any")
        self.modality = QComboBox()
        self.modality.addItems(_MODALITIES)
        self.modality.setEditable(True)
        self.modality.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.modality.setToolTip("Kind of scan: MR, CT, PT...; empty for any")
        self._build_buttons()
        self._place()
        edits = [self.address, *self.fields, self.modality.lineEdit()]
        for edit in edits:
            if edit is not None:
                edit.returnPressed.connect(lambda: self.search_wanted.emit())

    @property
    def fields(self) -> tuple[QLineEdit, ...]:
        """What a query is typed into."""
        return self.patient, self.number, self.accession, self.first, self.last

    def _build_buttons(self) -> None:
        self.sign_in = button(
            "Sign in...",
            "Keep your password or token for this archive in the keyring of this system",
            lambda: self.sign_in_wanted.emit(),
        )
        self.sign_out = button(
            "Sign out", "Take it out of the keyring again", lambda: self.sign_out_wanted.emit()
        )
        self.more = QPushButton("More")
        self.more.setToolTip("Certificates, our own title, and the folder for fetched series")
        self.menu = QMenu(self)
        self.more.setMenu(self.menu)
        self.search = button(
            "&Search",
            "List the series of the archive that fit (Enter in any field)",
            lambda: self.search_wanted.emit(),
        )

    def _place(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        rows = (
            ("Archive", self.address, ()),
            ("", self.sign_in, (self.sign_out, self.more)),
            ("Patient", self.patient, ()),
            ("Numbers", self.number, (self.accession,)),
            ("Days", self.first, (self.last,)),
            ("Modality", self.modality, (self.search,)),
        )
        for place, (text, first, others) in enumerate(rows):
            grid.addWidget(caption(text, first), place, 0)
            beside = row(first, *others)
            for column in range(len(others) + 1):
                beside.setStretch(column, 1)
            grid.addLayout(beside, place, 1)

    @property
    def query(self) -> Query:
        """What is looked for.

        Raises
        ------
        ArchiveError
            If nothing is, or a day is none.
        """
        first, last = self.first.text().strip(), self.last.text().strip()
        query = Query(
            patient_name=self.patient.text().strip(),
            patient_id=self.number.text().strip(),
            dates=f"{first}-{last}" if first or last else "",
            modality=self.modality.currentText().strip(),
            accession=self.accession.text().strip(),
        )
        if query == Query():
            raise ArchiveError("Say what to look for first: a patient, a number, a day or a modality.")
        return query
