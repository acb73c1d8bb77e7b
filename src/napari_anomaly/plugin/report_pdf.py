"""The report of a reading as PDF, printed by Qt."""

from qtpy.QtCore import QBuffer, QIODevice, QMarginsF
from qtpy.QtGui import QPageLayout, QPageSize, QPdfWriter, QTextDocument

from napari_anomaly.report import Reading, print_html

__all__ = ["report_pdf"]

_MARGIN_MM = 12.0
# Fine enough for text, and so that pictures keep every voxel.
_DOTS_PER_INCH = 300


def report_pdf(reading: Reading) -> bytes:
    """Print the report of a reading on pages of A4.

    It may be called in any thread. Nothing is fetched: pictures are in the page itself.

    Parameters
    ----------
    reading
        What was read and said.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setTitle(f"{reading.scan.name}: findings")
    writer.setCreator("napari-anomaly")
    writer.setResolution(_DOTS_PER_INCH)
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    margins = QMarginsF(_MARGIN_MM, _MARGIN_MM, _MARGIN_MM, _MARGIN_MM)
    writer.setPageMargins(margins, QPageLayout.Unit.Millimeter)
    document = QTextDocument()
    font = document.defaultFont()
    font.setPointSizeF(9.0)
    document.setDefaultFont(font)
    document.setHtml(print_html(reading))
    document.print(writer)
    # The end of the file is written when the writer goes.
    del writer
    return bytes(buffer.data().data())
