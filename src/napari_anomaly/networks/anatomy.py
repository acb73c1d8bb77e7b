"""The anatomy network: names the structures of a brain in any MR contrast, and their side, in voxels of 3 mm."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_anomaly.anatomy import NAMES, STRUCTURES, Side, label_of
from napari_anomaly.networks.blocks import ConvBlock, ResidualBlock, fold, unfold

ANATOMY_WIDTHS = (24, 48, 80, 96)

ATLAS = (18, 22, 18)
"""Cells of the atlas along the bounding box of the mask: 7 to 8 mm each in a brain."""

NAME_OF: tuple[int, ...] = tuple(NAMES.index(structure.name) for structure in STRUCTURES)
"""Place in `NAMES` of every label."""

WHITE, GREY, VENTRICLE, FLUID, BETWEEN, OTHER = range(6)
"""Tissues that a scan's own intensities tell apart; deep grey matter lies between white and grey."""

_TISSUES = {
    "cerebral white matter": WHITE,
    "cerebellar white matter": WHITE,
    "brainstem": WHITE,
    "ventral diencephalon": WHITE,
    "cerebral cortex": GREY,
    "cerebellar cortex": GREY,
    "hippocampus": GREY,
    "amygdala": GREY,
    "lateral ventricle": VENTRICLE,
    "third ventricle": VENTRICLE,
    "fourth ventricle": VENTRICLE,
    "fluid around the brain": FLUID,
    "outside the brain": OTHER,
}

TISSUES: tuple[int, ...] = tuple(
    _TISSUES.get(next(s.part_of for s in STRUCTURES if s.name == name), BETWEEN) for name in NAMES
)
"""Tissue of every name."""

ROUNDS = 15
"""Rounds of expectation and maximisation: means have settled by then."""

SURE = 0.3
"""Share of a tissue in the atlas from which a place speaks for it in the first round."""

UNLIKELY = -5.0
"""No intensity speaks more against a tissue than this: a lesion is brain all the same."""

_SIDES: tuple[Side, Side] = ("right", "left")


class Evidence(NamedTuple):
    """What the intensities of a scan say of tissues."""

    likelihood: Tensor
    """Log-likelihood of every name, shape (scan, name, z, y, x); 0 outside of the mask."""
    shares: Tensor
    """Share of white matter and of fluid, shape (scan, 2, z, y, x)."""


class AnatomyNetwork(nn.Module):
    """Names structures: an atlas and the tissues' own intensities say most of it, a U-Net the rest.

    Parameters
    ----------
    names : int, optional
        Number of names; one more output tells left (above 0) from right.
    widths : tuple of int
        Channels at cells of 6, 12, 24 and 48 mm.
    tissues : tuple of int, optional
        Tissue of every name; empty for a U-Net that is told none.

    Notes
    -----
    The atlas lies in the frame of the global binary mask. With it, expectation and maximisation find what intensity
    each tissue has in this scan (unified segmentation, Ashburner & Friston 2005, at its simplest), so that the U-Net
    need not learn every contrast. What a structure is called does not depend on its side: a network that says both
    apart needs half the outputs, and learns from both halves of the brain.
    """

    atlas: Tensor
    """Logits at places within the mask, shape (1, output, z, y, x)."""

    def __init__(
        self,
        names: int = len(NAMES),
        widths: tuple[int, ...] = ANATOMY_WIDTHS,
        tissues: tuple[int, ...] = TISSUES,
    ) -> None:
        super().__init__()
        self.widths = widths
        self.tissues = tissues
        # what has detail is folded, eight voxels to a cell; coordinates hardly change within one
        channels = (4 if tissues else 2) * 8 + 3
        self.stem = ConvBlock(3, channels, widths[0])
        self.downs = nn.ModuleList(ConvBlock(3, fine, coarse, stride=2) for fine, coarse in pairwise(widths))
        self.encoders = nn.ModuleList(ResidualBlock(3, width) for width in widths[1:])
        self.laterals = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(ConvBlock(3, width, width) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], 8 * (names + 1), 1)
        self.register_buffer("atlas", torch.zeros(1, names + 1, *ATLAS))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of inputs from `detector.anatomy.anatomy_inputs`, shape (scan, names + 1, z, y, x)."""
        prior = self._prior(inputs)
        detail = [inputs[:, :2]]
        if self.tissues:
            likelihood, shares = self._evidence(inputs, prior[:, :-1])
            prior = torch.cat((prior[:, :-1] + likelihood, prior[:, -1:]), dim=1)
            detail.append(shares)
        folded = torch.cat((fold(torch.cat(detail, dim=1)), functional.avg_pool3d(inputs[:, 2:5], 2)), dim=1)
        features = self.stem(folded.contiguous(memory_format=torch.channels_last_3d))
        levels = [features]
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            features = encoder(down(features))
            levels.append(features)
        for level in range(len(levels) - 2, -1, -1):
            narrowed = self.laterals[level](features)
            risen = functional.interpolate(narrowed, size=levels[level].shape[2:], mode="trilinear")
            features = self.decoders[level](risen + levels[level])
        return unfold(self.head(features)) + prior

    def _prior(self, inputs: Tensor) -> Tensor:
        # grid_sample counts x first
        places = inputs[:, 2:5].flip(1).permute(0, 2, 3, 4, 1)
        atlas = self.atlas.expand(len(inputs), -1, -1, -1, -1)
        return functional.grid_sample(
            atlas, places, mode="bilinear", padding_mode="border", align_corners=False
        )

    @torch.no_grad()
    def _evidence(self, inputs: Tensor, prior: Tensor) -> Evidence:
        table = torch.tensor(self.tissues, device=inputs.device)
        likelihood, shares = torch.zeros_like(prior), torch.zeros_like(inputs[:, :2])
        for scan, logit, told, part in zip(inputs, prior, likelihood, shares, strict=True):
            inside = scan[1] >= 0.5
            if bool(inside.any()):
                names = torch.softmax(logit[:, inside], dim=0)
                expected = names.new_zeros(OTHER + 1, names.shape[1]).index_add_(0, table, names)
                log_likelihood, found = _settled(scan[0][inside], expected)
                told[:, inside] = log_likelihood[table]
                part[:, inside] = torch.stack((found[WHITE], found[VENTRICLE] + found[FLUID]))
        return Evidence(likelihood, shares)


def _settled(values: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihood and share of every tissue (rows) at every voxel, given the shares that the atlas expects."""
    found = expected * (expected > SURE)
    for _ in range(ROUNDS):
        # a tenth of a tissue's range, held by ten voxels, keeps the spread of a tissue that is hardly seen
        weight = found.sum(1, keepdim=True)
        mean = (found * values).sum(1, keepdim=True) / (weight + 1e-3)
        spread = ((found * (values - mean) ** 2).sum(1, keepdim=True) + 0.2) / (weight + 10)
        spread = spread.sqrt().clamp(min=0.05)
        told = (-0.5 * ((values - mean) / spread) ** 2 - spread.log()).clamp(min=UNLIKELY)
        told[BETWEEN] = torch.maximum(told[WHITE], told[GREY])
        told[OTHER] = UNLIKELY + 2
        found = torch.softmax((expected + 1e-6).log() + told, dim=0)
    return told, found


def to_labels(logit: Tensor) -> Tensor:
    """Labels (places in `STRUCTURES`) of logits of shape (names + 1, ...), int64."""
    table = torch.tensor([[_label(name, side) for name in NAMES] for side in _SIDES], device=logit.device)
    return table[(logit[-1] > 0).long(), logit[:-1].argmax(0)]


def _label(name: str, side: Side) -> int:
    sides = {structure.side for structure in STRUCTURES if structure.name == name}
    return label_of(name, side if side in sides else "")
