"""Words that were drawn into pixels are noticed; anatomy, metal and masks are not taken for them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dicoms import classic
from napari_anomaly import io
from napari_anomaly.io.burnt_in import drawn_pixels
from napari_anomaly.samples import phantom

VOXELS = phantom((12, 64, 72), lesion_mm=10.0, rng=np.random.default_rng(0)).voxels
VOXELS = phantom((12, 64, 72), lesion_mm=10.0, rng=np.random.default_rng(0)).voxels
HEAD = np.rint(VOXELS * (3000 / VOXELS.max())).astype(np.int16)


def written(planes: np.ndarray, words: str, value: int, *, every: int = 1) -> np.ndarray:
    letters = Image.new("1", planes.shape[:0:-1])
    ImageDraw.Draw(letters).text((2, 2), words, fill=1)
    planes = planes.copy()
    planes[::every, np.array(letters)] = value
    return planes


def test_a_name_in_every_slice_is_noticed() -> None:
    assert drawn_pixels(HEAD) == 0
    assert drawn_pixels(written(HEAD, "MUSTERMANN", 4095)) > 50


def test_slices_with_brightness_of_their_own_hide_no_name() -> None:
    slopes = np.linspace(1, 2, len(HEAD), dtype=np.float32)[:, None, None]
    assert drawn_pixels(written(HEAD, "MUSTERMANN", 4095) * slopes) > 50


@pytest.mark.parametrize(
    "planes",
    [
        written(HEAD, "MUSTERMANN", 4095, every=3),
        written(HEAD, ".", 4095),
        written(HEAD[:3], "MUSTERMANN", 4095),
        (HEAD > 1000).astype(np.uint8),
        np.full((8, 20, 20), 7, np.int16),
    ],
)
def test_what_is_no_writing_is_none(planes: np.ndarray) -> None:
    assert drawn_pixels(planes) == 0


def test_metal_is_no_writing() -> None:
    planes = HEAD.copy()
    planes[:, 20:34, 30:44] = 4095
    assert drawn_pixels(planes) == 0


def test_the_reader_of_a_scan_is_told(tmp_path) -> None:
    classic(tmp_path / "plain", HEAD)
    classic(tmp_path / "named", written(HEAD, "MUSTERMANN", 4095))
    assert not io.read_scan(tmp_path / "plain").notes
    (note,) = io.read_scan(tmp_path / "named").notes
    assert "words may be burnt into the images" in note
