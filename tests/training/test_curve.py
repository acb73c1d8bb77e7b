import numpy as np
import pytest
from PIL import Image

from napari_anomaly.training.curve import draw_curve

RED, BLUE = (214, 39, 40), (31, 119, 180)


def drawn(tmp_path, entries):
    path = tmp_path / "curve.png"
    draw_curve([{"step": float(step), "loss": loss, "dice": dice} for step, loss, dice in entries], path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def rows_of(picture, ink):
    rows, columns = np.where((picture == ink).all(axis=2))
    return rows, columns


def test_a_constant_dice_is_a_level_line_at_its_height(tmp_path):
    picture = drawn(tmp_path, [(step, 400.0 - step, 0.5) for step in range(0, 400, 10)])
    rows, columns = rows_of(picture, RED)
    # between 0 at the bottom line and 1 at the top one
    frame = np.where((picture == 0).all(axis=2).sum(axis=1) > 500)[0]
    assert rows.mean() == pytest.approx((frame.min() + frame.max()) / 2, abs=2)
    assert columns.max() - columns.min() > 700


def test_the_loss_falls_from_left_to_right(tmp_path):
    picture = drawn(tmp_path, [(step, 10.0 - step / 50, 0.0) for step in range(0, 400, 10)])
    rows, columns = rows_of(picture, BLUE)
    inner = (columns > 80) & (columns < 820)
    order = np.corrcoef(rows[inner], columns[inner])[0, 1]
    assert order > 0.99


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_steps_make_an_empty_picture(tmp_path, count):
    picture = drawn(tmp_path, [(step, 1.0, 0.5) for step in range(count)])
    assert (picture == 255).all()
    assert not (drawn(tmp_path, [(step, 1.0, 0.5) for step in range(2)]) == 255).all()


def test_a_loss_of_zero_can_be_drawn(tmp_path):
    rows, _ = rows_of(drawn(tmp_path, [(step, 0.0, 0.5) for step in range(5)]), BLUE)
    assert len(rows) > 0
