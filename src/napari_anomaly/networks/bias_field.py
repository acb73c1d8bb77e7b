"""How unevenly a scanner saw one scan: a smooth gain, told from the tissues that should be equally bright.

Where coils receive more, tissue is brighter, which is no anomaly. Lesions belong to no tissue of the model and do not
pull at the field, as they do where only the histogram is sharpened (N4).

Sources: Van Leemput et al. 1999 (doi 10.1109/42.811270), a polynomial fitted in turn with a mixture of tissues;
Van Leemput et al. 2001 (doi 10.1109/42.938237), outliers have no say.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.polynomial.legendre import legvander
from torch import Tensor

from napari_anomaly.networks.tissue import belonging, mixture, prior_of, rough_start

ORDER = 4
"""Highest degree of the polynomial, over all axes together (Van Leemput 1999)."""

ZERO = -0.3
"""Normalised intensity of no signal: about what the 5th percentile of a brain is of its range, on any contrast."""

_STIFFNESS = 0.003
"""How dear a term is, as a share of the evidence and times its degree: tissues are not that evenly bright either."""

_ROUNDS = 8

_DARKEST = 0.02


def log_bias(atlas: Tensor, image: Tensor, share: Tensor, axes: Sequence[Tensor]) -> Tensor | None:
    """Logarithm of the gain in every voxel, 0 on average in the tissue.

    Parameters
    ----------
    atlas, image, share, axes
        As for `tissue.fit_tissues`.

    Returns
    -------
    Tensor or None
        float32, shape of `image`; None without an atlas, or where nothing is to be seen.
    """
    inside = share > 0.9
    if not bool(atlas.any()) or not bool(inside.any()):
        return None
    places = torch.nonzero(inside)[::2]
    values, shares = image[inside][::2].float(), prior_of(atlas, image, axes)[:, inside][:, ::2]
    vectors = [
        torch.from_numpy(legvander(axis.float().clamp(-1, 1).cpu().numpy(), ORDER).T).to(values)
        for axis in axes
    ]
    degrees = [
        (a, b, c)
        for a in range(ORDER + 1)
        for b in range(ORDER + 1 - a)
        for c in range(ORDER + 1 - a - b)
        if a + b + c
    ]
    terms = torch.stack(
        [
            vectors[0][a, places[:, 0]] * vectors[1][b, places[:, 1]] * vectors[2][c, places[:, 2]]
            for a, b, c in degrees
        ]
    )
    terms = terms - terms.mean(1, keepdim=True)
    dear = _STIFFNESS * torch.diag(torch.tensor([float(sum(degree)) for degree in degrees])).to(values)
    signal = (values - ZERO).clamp(min=_DARKEST)
    tissues = mixture(shares, values, *rough_start(shares, values))
    field = torch.zeros_like(values)
    weights = terms.new_zeros(len(terms))
    for _ in range(_ROUNDS):
        even = signal * torch.exp(-field) + ZERO
        tissues = mixture(shares, even, *tissues, rounds=4)
        mean, spread = tissues
        expected = (mean - ZERO).clamp(min=_DARKEST)
        # what a relative difference weighs, by the tissue that a voxel belongs to
        sure = belonging(shares, even, mean, spread) * (expected / spread)[:, None] ** 2
        total = sure.sum(0)
        apart = (sure * (signal.log() - expected.log()[:, None])).sum(0) / total.clamp(min=1e-6)
        apart = apart - (total * apart).sum() / total.sum().clamp(min=1e-6)
        normal = (terms * total) @ terms.T + dear * total.sum().clamp(min=1e-6)
        weights = torch.linalg.solve(normal, (terms * total) @ apart)
        field = weights @ terms
    cube = values.new_zeros((ORDER + 1,) * 3)
    for degree, weight in zip(degrees, weights, strict=True):
        cube[degree] = weight
    whole = torch.einsum("abc,az,by,cx->zyx", cube, *vectors)
    return whole - whole[inside].mean()
