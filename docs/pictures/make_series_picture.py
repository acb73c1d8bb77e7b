"""Take the picture of the question which series to open: python docs/pictures/make_series_picture.py.

A disc with the bundled scan and other series, a localiser and a page of text among them, is opened in the real window
by its DICOMDIR; what is chosen by Ctrl+click and Enter is opened.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import napari  # noqa: E402 (the tests' own modules are found from here on)
import numpy as np  # noqa: E402
from pydicom.uid import CTImageStorage  # noqa: E402
from qtpy.QtCore import Qt, QTimer  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from dicoms import ROOT, SAGITTAL, classic, places  # noqa: E402
from napari_anomaly.plugin.series_choice import SeriesChoice  # noqa: E402
from napari_anomaly.samples import open_sample  # noqa: E402


def main() -> None:
    """Open the disc, take the picture, and choose."""
    with tempfile.TemporaryDirectory() as folder:
        disc = Path(folder)
        fill(disc)
        viewer = napari.Viewer(title="napari-anomaly")
        viewer.window.resize(1200, 780)
        QTimer.singleShot(500, answer)
        viewer.open(disc / "DICOMDIR", plugin="napari-anomaly")
        names = [layer.name for layer in viewer.layers]
        if names != ["CT-2-Head", "MR-5-FLAIR-3D"]:
            raise SystemExit(f"Something else was opened: {names}")
        viewer.close()


def answer() -> None:
    """Take the picture of the question, Ctrl+click a second series, and answer."""
    (asking,) = [each for each in QApplication.topLevelWidgets() if isinstance(each, SeriesChoice)]
    first = asking.table.visualItemRect(asking.table.item(0, 1)).center()
    QTest.mouseClick(
        asking.table.viewport(),
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.ControlModifier,
        first,
    )
    QApplication.processEvents()
    asking.grab().save(str(HERE / "series.png"))
    QTest.keyClick(asking.table, Qt.Key.Key_Return)


def fill(disc: Path) -> None:
    """Put series onto a disc."""
    scan = open_sample("ms-flair")
    step, *spacing = scan.geometry.spacing
    head = np.rint(scan.voxels * (1000 / scan.voxels.max())).astype(np.int16)
    few = head[::4]
    common = {"PixelSpacing": spacing, "StudyDate": "20260915"}
    words = {"SeriesDescription": "FLAIR 3D", "SeriesNumber": 5, "SeriesInstanceUID": f"{ROOT}8.1", **common}
    classic(disc / "IMAGES" / "A", head, positions=places(len(head), step=step), **words)
    tilted = {"kind": CTImageStorage, "SeriesDescription": "Head", "SeriesNumber": 2, **common}
    lean = places(len(few), step=4 * step, lean=np.array((0.0, 1.0, 0.0)))
    classic(disc / "IMAGES" / "B", few, positions=lean, SeriesInstanceUID=f"{ROOT}8.2", **tilted)
    words |= {"SeriesDescription": "T2 TSE sag", "SeriesNumber": 3, "SeriesInstanceUID": f"{ROOT}8.3"}
    classic(disc / "IMAGES" / "C", few, directions=SAGITTAL, **words)
    words |= {"SeriesDescription": "Scout", "SeriesNumber": 1, "SeriesInstanceUID": f"{ROOT}8.4"}
    classic(disc / "IMAGES" / "D", few[:3], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **words)
    words |= {"SeriesDescription": "T1 MPRAGE", "SeriesNumber": 4, "SeriesInstanceUID": f"{ROOT}8.5"}
    files = classic(disc / "IMAGES" / "E", few, positions=places(len(few), step=4 * step), **words)
    for lost in files[9:12]:
        lost.unlink()
    (disc / "DICOMDIR").write_bytes(b"what it says is not needed: the files themselves are read")
    (disc / "README.TXT").write_text("for the reader of the disc")


if __name__ == "__main__":
    main()
