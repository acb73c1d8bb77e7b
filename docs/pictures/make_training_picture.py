"""Take the picture of the training dock: python docs/pictures/make_training_picture.py NORMALS.

NORMALS is a folder of normal scans. The training is real, and stopped after half a minute of steps.
"""

import sys
import tempfile
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_anomaly.training.run import start  # noqa: F401 (torch is loaded before the window opens)

HERE = Path(__file__).parent


def wait(seconds: float, until=lambda: False) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.02)


def main() -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1100, 760)
    _, panel = viewer.window.add_plugin_dock_widget("napari-anomaly", "Train")
    with tempfile.TemporaryDirectory() as folder:
        panel.form["normals"].value = Path(sys.argv[1])
        panel.form["region"].value = "body"
        panel.form["out"].value = Path(folder) / "detector.safetensors"
        panel.look()
        wait(120, lambda: "can be used" in panel.message.text())
        panel.form["minutes"].value = 60.0
        said = panel.message.text()
        panel.train()
        wait(500, lambda: "Step 3" in panel.status.text() and panel.curve.pixmap() is not None)
        panel.message.note(said)
        wait(1)
        viewer.window._qt_window.grab().save(str(HERE / "train.png"))
        panel.halt()
        wait(60, lambda: panel.jobs.idle)
    viewer.close()


if __name__ == "__main__":
    main()
