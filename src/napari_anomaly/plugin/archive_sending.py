"""The lower end of the dock of the archive: what goes back to it, after a question."""

from collections.abc import Callable
from functools import partial

from psygnal import Signal
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_anomaly.errors import AnomalyError, ArchiveError
from napari_anomaly.pacs.archive import Address
from napari_anomaly.plugin.case import Case
from napari_anomaly.plugin.desk import Desk
from napari_anomaly.plugin.parts import button, row
from napari_anomaly.scan import Scan

__all__ = ["SendSection"]

_WHAT = (
    "Segmentation (SEG) and report (SR), two files. They carry the patient's identity, as DICOM demands, and what you "
    "said of the findings."
)


_COPY = " The scan is a copy without the patient: only an archive of such copies can file them beside it."


class SendSection(QWidget):
    """Send results.

    Parameters
    ----------
    desk
        Whose open scan.
    address
        Gives the archive when the button is pressed, or raises an `AnomalyError`.

    Attributes
    ----------
    agreed
        Signal with the case and the name of the archive, when the reader has agreed.
    problem
        Signal with an error that the reader must hear of.
    confirming
        The question that is open, or was last.
    """

    agreed = Signal(Case, str)
    problem = Signal(Exception)

    def __init__(self, desk: Desk, address: Callable[[], Address]) -> None:
        super().__init__()
        self._desk = desk
        self._address = address
        self.confirming: QMessageBox | None = None
        self.button = button("Send results...", "", self.ask)
        self.setLayout(row(self.button, stretch=0))

    def refresh(self, *, busy: bool) -> None:
        """Show whether there is anything to send, and why not."""
        why_not = _why_not(self._desk.case)
        self.button.setEnabled(not why_not and not busy)
        self.button.setToolTip(why_not or "Store segmentation and report of the open scan in the archive")

    def ask(self) -> None:
        """Ask whether results of the open scan are to be stored."""
        case = self._desk.case
        try:
            if case is None or _why_not(case):
                raise ArchiveError(_why_not(case) + ".")
            address = self._address()
        except AnomalyError as error:
            self.problem.emit(error)
            return
        name = address.name[0].lower() + address.name[1:]
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Send results")
        box.setText(f"Send the results of {case.scan.name} to {name}?")
        box.setInformativeText(_WHAT + (_COPY if case.scan.source.details.get("nameless") else ""))
        send = box.addButton("Send", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        if send is not None:
            send.clicked.connect(partial(self._agree, case, case.scan, name))
        self.confirming = box
        box.open()

    def _agree(self, case: Case, scan: Scan, name: str, _: object = None) -> None:
        if self._desk.case is not case or case.scan is not scan or _why_not(case):
            self.problem.emit(ArchiveError("Another scan is open by now, and nothing was sent. Send again."))
        else:
            self.agreed.emit(case, name)


def _why_not(case: Case | None) -> str:
    """Say why nothing of a scan can be sent; empty where it can."""
    if case is None or case.session.map is None:
        return "There is nothing to send yet: open a scan of the archive, and detect first"
    if not case.scan.source.details.get("referable"):
        return f"{case.scan.name} was not read from DICOM files: there is no study that its results belong to"
    return ""
