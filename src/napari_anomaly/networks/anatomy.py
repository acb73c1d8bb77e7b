"""The anatomy network: names the structures of a brain in any MR contrast, and their side, in voxels of 3 mm."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_anomaly.anatomy import NAMES, STRUCTURES, Side, label_of
from napari_anomaly.networks.blocks import ConvBlock, ResidualBlock, fold, unfold
from napari_anomaly.preprocess import REDUCTION, coordinates

ANATOMY_WIDTHS = (24, 48, 80, 96)

ATLAS = (18, 22, 18)
"""Cells of the atlas along the bounding box of the mask: 7 to 8 mm each in a brain."""

NAME_OF: tuple[int, ...] = tuple(NAMES.index(structure.name) for structure in STRUCTURES)
"""Place in `NAMES` of every label."""

_SIDES: tuple[Side, Side] = ("right", "left")


class AnatomyNetwork(nn.Module):
    """Names structures: an atlas in the frame of the global binary mask says where they mostly are, a U-Net the rest.

    Parameters
    ----------
    names : int, optional
        Number of names; one more output tells left (above 0) from right.
    widths : tuple of int
        Channels at cells of 6, 12, 24 and 48 mm.

    Notes
    -----
    What a structure is called does not depend on its side: a network that says both apart needs half the outputs,
    and learns from both halves of the brain.
    """

    atlas: Tensor
    """Logits at places within the mask, shape (1, output, z, y, x)."""

    def __init__(self, names: int = len(NAMES), widths: tuple[int, ...] = ANATOMY_WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        # scan and mask are folded, eight voxels to a cell; coordinates hardly change within one
        self.stem = ConvBlock(3, 2 * 8 + 3, widths[0])
        self.downs = nn.ModuleList(ConvBlock(3, fine, coarse, stride=2) for fine, coarse in pairwise(widths))
        self.encoders = nn.ModuleList(ResidualBlock(3, width) for width in widths[1:])
        self.laterals = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(ConvBlock(3, width, width) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], 8 * (names + 1), 1)
        self.register_buffer("atlas", torch.zeros(1, names + 1, *ATLAS))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of inputs from `anatomy_inputs`, shape (scan, names + 1, z, y, x)."""
        places = inputs[:, 2:5]
        folded = torch.cat((fold(inputs[:, :2]), functional.avg_pool3d(places, 2)), dim=1)
        features = self.stem(folded.contiguous(memory_format=torch.channels_last_3d))
        levels = [features]
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            features = encoder(down(features))
            levels.append(features)
        for level in range(len(levels) - 2, -1, -1):
            narrowed = self.laterals[level](features)
            risen = functional.interpolate(narrowed, size=levels[level].shape[2:], mode="trilinear")
            features = self.decoders[level](risen + levels[level])
        # grid_sample counts x first
        prior = functional.grid_sample(
            self.atlas,
            places.flip(1).permute(0, 2, 3, 4, 1),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        return unfold(self.head(features)) + prior


def to_labels(logit: Tensor) -> Tensor:
    """Labels (places in `STRUCTURES`) of logits of shape (names + 1, ...), int64."""
    table = torch.tensor([[_label(name, side) for name in NAMES] for side in _SIDES], device=logit.device)
    return table[(logit[-1] > 0).long(), logit[:-1].argmax(0)]


def _label(name: str, side: Side) -> int:
    sides = {structure.side for structure in STRUCTURES if structure.name == name}
    return label_of(name, side if side in sides else "")


def anatomy_inputs(image: Tensor, mask: Tensor, *, reduction: int = REDUCTION) -> Tensor:
    """Input of the anatomy network (after Kazemimoghadam et al. 2022, arXiv 2205.09107).

    Parameters
    ----------
    image : Tensor
        Normalised scan, shape (z, y, x).
    mask : Tensor
        Global binary mask, bool, same shape.
    reduction : int, default `REDUCTION`
        Voxels of the image along one of the network's; sides are even multiples of it.

    Returns
    -------
    Tensor
        Shape (1, 5, z / reduction, y / reduction, x / reduction): the scan, the mask, three coordinates within it.
    """
    coarse = functional.avg_pool3d(torch.stack((image.float(), mask.float()))[None], reduction)[0]
    inside = coarse[1] > 0.5
    z, y, x = coordinates(inside)
    places = [inside * z[:, None, None], inside * y[None, :, None], inside * x[None, None, :]]
    return torch.stack([coarse[0], coarse[1], *places])[None]
