"""Means and maxima over cubes are those of PyTorch's pooling."""

import pytest
import torch
from torch.nn import functional

from napari_anomaly.boxes import box_max, box_mean


@pytest.mark.parametrize("side", [1, 3, 5, 9])
@pytest.mark.parametrize("shape", [(10, 9, 14), (2, 3, 10, 12, 9)])
def test_same_as_pooling(shape, side):
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(side))
    whole = volume if volume.dim() == 5 else volume[None, None]
    mean = functional.avg_pool3d(whole, side, stride=1, padding=side // 2).reshape(shape)
    largest = functional.max_pool3d(whole, side, stride=1, padding=side // 2).reshape(shape)
    torch.testing.assert_close(box_mean(volume, side), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(box_max(volume, side), largest)


def test_cube_wider_than_the_grid():
    volume = torch.rand(2, 3, 4)
    torch.testing.assert_close(box_mean(volume, 9), torch.full((2, 3, 4), float(volume.sum()) / 729))
    torch.testing.assert_close(box_max(volume, 9), torch.full((2, 3, 4), float(volume.max())))
