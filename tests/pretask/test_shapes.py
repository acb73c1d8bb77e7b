from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_anomaly.pretask.shapes import Shape, box, field, membership, rotation

CPU = torch.device("cpu")
GRID = (40, 44, 48)
BALL = Shape(centre=(20, 22, 24), radii=(8.0, 8.0, 8.0), turn=(0.0, 0.0, 0.0), rough=0.0, edge=0.3, seed=1)


def painted(shape, library=None, grid=GRID):
    """Give the membership on the whole grid."""
    whole = torch.zeros(grid)
    whole[box(shape, grid)] = membership(shape, grid, library=library, device=CPU)
    return whole


def extent(values):
    inside = torch.nonzero(values > 0.5)
    return (inside.amax(0) - inside.amin(0) + 1).tolist()


@pytest.mark.parametrize("radii", [(8.0, 8.0, 8.0), (5.0, 9.0, 12.0)])
def test_a_smooth_shape_is_an_ellipsoid_of_these_half_axes(radii):
    values = painted(replace(BALL, radii=radii))
    assert float((values > 0.5).sum()) == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.05)
    assert extent(values) == [2 * round(radius) - 1 for radius in radii]
    assert values[BALL.centre] > 0.99
    assert values[0, 0, 0] == 0


def test_a_turn_turns_the_axes():
    long = replace(BALL, radii=(4.0, 4.0, 12.0))
    assert extent(painted(long)) == [7, 7, 23]
    assert extent(painted(replace(long, turn=(np.pi / 2, 0.0, 0.0)))) == [7, 23, 7]
    assert extent(painted(replace(long, turn=(0.0, np.pi / 2, 0.0)))) == [23, 7, 7]


def test_the_edge_is_as_soft_as_it_is_told():
    between = [
        float(((values > 0.1) & (values < 0.9)).sum())
        for values in (painted(replace(BALL, edge=edge)) for edge in (0.3, 2.0, 4.0))
    ]
    assert between[0] < between[1] < between[2]


def test_roughness_changes_the_outline_by_seed():
    rough = replace(BALL, rough=1.0)
    assert torch.equal(painted(rough), painted(rough))
    assert not torch.equal(painted(rough), painted(BALL))
    assert not torch.equal(painted(rough), painted(replace(rough, seed=2)))


def test_a_shape_from_the_library_has_its_outline():
    cube = torch.ones(2, 16, 16, 16, dtype=torch.uint8)
    cube[1, :8] = 0
    whole, half = (painted(replace(BALL, template=index), cube) for index in (0, 1))
    assert extent(whole) == [15, 15, 15]
    assert float((half > 0.5).sum()) == pytest.approx(0.5 * float((whole > 0.5).sum()), rel=0.15)
    assert half[12:18, 22, 24].max() < 0.5 < half[23:27, 22, 24].min()
    assert torch.equal(painted(replace(BALL, template=3), cube), half)
    assert torch.equal(painted(replace(BALL, template=1)), painted(BALL))


def test_the_box_ends_at_the_grid():
    corner = replace(BALL, centre=(1, 22, 47))
    window = box(corner, GRID)
    assert [(part.start, part.stop) for part in window] == [(0, 17), (7, 38), (32, 48)]
    assert membership(corner, GRID, library=None, device=CPU).shape == (17, 31, 16)


def test_a_field_has_its_size_its_seed_and_about_unit_variance():
    made = field((30, 32, 34), coarse=4.0, seed=3, device=CPU)
    assert made.shape == (30, 32, 34)
    assert abs(float(made.mean())) < 0.2
    assert 0.6 < float(made.std()) < 1.4
    assert torch.equal(made, field((30, 32, 34), coarse=4.0, seed=3, device=CPU))
    assert not torch.equal(made, field((30, 32, 34), coarse=4.0, seed=4, device=CPU))


def test_a_field_is_smoother_where_its_knots_lie_further_apart():
    steps = [
        float(field((30, 30, 30), coarse=coarse, seed=1, device=CPU).diff(dim=0).abs().mean())
        for coarse in (2.0, 6.0, 15.0)
    ]
    assert steps[0] > 1.5 * steps[1] > 2 * steps[2]


def test_a_rotation_keeps_lengths_and_turns_about_its_axis():
    turn = rotation((0.3, -0.8, 0.5))
    axis = np.array([0.3, -0.8, 0.5])
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
    assert np.allclose(turn @ axis, axis, atol=1e-6)
    assert np.trace(turn) == pytest.approx(1 + 2 * np.cos(np.linalg.norm(axis)), abs=1e-5)
    assert np.array_equal(rotation((0.0, 0.0, 0.0)), np.eye(3))
    assert not np.allclose(turn, np.eye(3), atol=0.1)
