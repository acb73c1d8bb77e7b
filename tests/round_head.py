"""A round head of white matter within grey matter, and its atlas."""

import torch

from napari_anomaly.networks.joint import ATLAS_SHAPE

SIDES = (24, 28, 24)


def axes_of(sides):
    return [torch.linspace(-1, 1, side) for side in sides]


def head(sides):
    """Distance from the middle of the head, 1 at its surface."""
    grid = torch.meshgrid(*axes_of(sides), indexing="ij")
    return sum(axis**2 for axis in grid).sqrt()


def round_atlas():
    """White matter within grey matter; the other tissues are nowhere."""
    distance = head(ATLAS_SHAPE[1:])
    shares = torch.zeros(ATLAS_SHAPE)
    shares[0] = torch.sigmoid(20 * (0.6 - distance))
    shares[1] = torch.sigmoid(20 * (distance - 0.6)) * (distance < 1)
    return shares
