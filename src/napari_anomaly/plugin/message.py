"""Words to the user, in the dock."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_anomaly.errors import AnomalyError

__all__ = ["Message", "sentence", "words_for"]

# Told apart by colour-blind readers, and by the words in any case.
_ERROR = "QLabel { border-left: 3px solid #d55e00; padding: 3px 6px; }"
_NOTE = "QLabel { border-left: 3px solid #56b4e9; padding: 3px 6px; }"


def sentence(scan_score: float) -> str:
    """Say how unusual a scan is as a whole; rounded down, for only then is every number true."""
    return f"This scan is more unusual than {int(100 * scan_score + 1e-6)} of 100 normal scans."


def words_for(error: Exception) -> str:
    """Put an error into words: its own where it is one of ours, and what to do where it is none."""
    if isinstance(error, AnomalyError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory of this machine is full. Close other programs or scans, and detect again."
    return (
        f"Something went wrong that should not ({type(error).__name__}: {error}). The scan is as it was. "
        "Please detect again, and report it if it comes back."
    )


class Message(QLabel):
    """Words to the user, in the dock: what went wrong and the way out, or what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setToolTip("What happened last; the text can be selected and copied")
        self._about: object = None
        self.hide()

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._say(text, _ERROR)

    def note(self, text: str, *, about: object = None) -> None:
        """Say what was done, or what is worth knowing; of one scan alone, where that is given."""
        self._say(text, _NOTE)
        self._about = about

    def turn_to(self, scan: object) -> None:
        """Say no longer what is true of another scan alone."""
        if self._about is not None and self._about is not scan:
            self.clear_text()

    def clear_text(self) -> None:
        """Say nothing."""
        self.setText("")
        self._about = None
        self.hide()

    def _say(self, text: str, style: str) -> None:
        # A path without a space would widen the dock: it may break at its separators.
        self.setText(text.replace("/", "/\u200b").replace("_", "_\u200b"))
        self.setStyleSheet(style)
        self._about = None
        self.show()
