"""What the networks see of a normalised scan: evenly received, and nothing that outshines everything else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_anomaly.intensities import normalise, soften
from napari_anomaly.networks.bias_field import ZERO, log_bias
from napari_anomaly.preprocess import coarse_tissue, volume_inputs

__all__ = ["as_seen", "even_out", "log_gain"]


def as_seen(
    image: Tensor, mask: Tensor, atlas: Tensor | None, *, even: bool = True, ceiling: bool = True
) -> Tensor:
    """Show a normalised scan as the networks of a detector learned to see it.

    Parameters
    ----------
    image : Tensor
        Normalised scan of 1 mm voxels, shape (z, y, x).
    mask : Tensor
        Global binary mask, bool, same shape.
    atlas : Tensor or None
        Of the tissue model, see `networks.tissue`; nothing is evened out without one.
    even, ceiling : bool, default True
        Whether they learned without the gain of the scanner, and below a ceiling; a detector's card says so.
    """
    if even and atlas is not None:
        image = even_out(image, mask, atlas)
    return soften(image) if ceiling else image


def even_out(image: Tensor, mask: Tensor, atlas: Tensor) -> Tensor:
    """Take the scanner's smooth gain out of a normalised scan, see `networks.bias_field`, and normalise it again.

    Parameters
    ----------
    image, mask, atlas
        As for `as_seen`; without an atlas that knows anything the scan stays as it is.
    """
    field = log_gain(image, mask, atlas)
    if field is None:
        return image
    # exact zeros are background and stay so
    even = torch.where(image != 0, (image - ZERO) * torch.exp(-field) + ZERO, image)
    return normalise(even, mask)


def log_gain(image: Tensor, mask: Tensor, atlas: Tensor) -> Tensor | None:
    """Logarithm of the scanner's gain in every voxel of a normalised scan, see `networks.bias_field.log_bias`.

    Parameters
    ----------
    image, mask, atlas
        As for `as_seen`.
    """
    with torch.no_grad():
        found = log_bias(atlas, volume_inputs(image, mask)[0, 0], *coarse_tissue(image, mask))
        if found is None:
            return None
        return functional.interpolate(found[None, None], size=image.shape, mode="trilinear")[0, 0]
