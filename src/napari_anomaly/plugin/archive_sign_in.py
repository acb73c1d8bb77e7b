"""The question for a password or a token of the archive."""

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QLineEdit, QWidget

__all__ = ["SignIn", "field"]


class SignIn(QDialog):
    """Asks for what an archive wants to see.

    Parameters
    ----------
    host
        Which archive.
    parent
        The dock.

    Attributes
    ----------
    given
        Signal with the user, empty for a token, and the password or token.
    """

    given = Signal(str, str)

    def __init__(self, host: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Sign in")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.user = field("empty for a token", "Your name at the archive; a token has none")
        self.secret = field("password or token", "It is kept in the keyring of this system and nowhere else")
        self.secret.setEchoMode(QLineEdit.EchoMode.Password)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.ok = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.secret.textChanged.connect(self._allow)
        layout = QFormLayout(self)
        layout.addRow(QLabel(f"The archive at {host}\nKept in the keyring of this system alone."))
        layout.addRow("User", self.user)
        layout.addRow("Password or token", self.secret)
        layout.addRow(self.buttons)
        self._allow("")

    def _allow(self, text: str) -> None:
        if self.ok is not None:
            self.ok.setText("Sign in")
            self.ok.setEnabled(bool(text))

    def done(self, result: int) -> None:
        """Hand over what was typed, and keep nothing of it."""
        user, secret = self.user.text().strip(), self.secret.text()
        self.secret.clear()
        super().done(result)
        if result == int(QDialog.DialogCode.Accepted) and secret:
            self.given.emit(user, secret)


def field(placeholder: str, tooltip: str) -> QLineEdit:
    """Make a field that never widens the dock."""
    made = QLineEdit()
    made.setPlaceholderText(placeholder)
    made.setToolTip(tooltip)
    made.setMinimumWidth(40)
    return made
