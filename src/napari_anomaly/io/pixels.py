"""The numbers of DICOM frames: decoded, rescaled, and the right way round.

Source: DICOM PS3.3 2024, C.7.6.3 (image pixel), C.11.1 (modality LUT); PS3.5, 8 (encodings).
"""

from itertools import groupby
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Num
from pydicom import dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import DeflatedExplicitVRLittleEndian

from napari_anomaly.errors import UnreadableScan
from napari_anomaly.io.instances import Frame, Opener, Place, quiet

__all__ = ["dtype_of", "ends_of", "pixels"]

_TYPES = (np.uint8, np.int16, np.uint16, np.int32)


def dtype_of(frames: tuple[Frame, ...]) -> np.dtype[Any]:
    """Choose the smallest type that holds the values of frames: whole numbers where rescaling leaves them so."""
    if any(frame.slope != 1 or frame.intercept % 1 for frame in frames):
        return np.dtype(np.float32)
    lows, highs = zip(*(_range(frame) for frame in frames), strict=True)
    fitting = (
        each for each in _TYPES if np.iinfo(each).min <= min(lows) and max(highs) <= np.iinfo(each).max
    )
    return np.dtype(next(fitting, np.float64))


def ends_of(frame: Frame) -> float:
    """Give the sum of the lowest and the highest value that can be stored, around which a scale is turned round."""
    stored = -1 if frame.signed else (1 << frame.bits) - 1
    return stored * frame.slope + 2 * frame.intercept


def pixels(
    frames: tuple[Frame, ...], shape: tuple[int, int], open_place: Opener
) -> Num[np.ndarray, "slices rows columns"]:
    """Read the values of frames of one size, in their order.

    Parameters
    ----------
    frames
        Slices of one volume.
    shape
        Rows and columns of each.
    open_place
        See `napari_anomaly.io.instances.opener`.

    Raises
    ------
    UnreadableScan
        If a file breaks off or cannot be decoded; it is named.
    """
    out: np.ndarray | None = None
    for place, group in groupby(enumerate(frames), key=lambda pair: pair[1].place):
        members = list(group)
        stored = _stored(place, [frame for _, frame in members], shape, open_place)
        # Only after the first file proved to hold what its header claims.
        out = np.empty((len(frames), *shape), dtype_of(frames)) if out is None else out
        for (slot, frame), image in zip(members, stored, strict=True):
            if image.shape != shape:
                raise UnreadableScan(f"{frame.name} holds an image of {image.shape}; {shape} is needed.")
            out[slot] = _rescaled(image, frame, out.dtype)
    if out is None:
        raise UnreadableScan("The series holds no image.")
    return out


def _range(frame: Frame) -> tuple[int, int]:
    """Give the smallest and the largest value that can come of what is stored."""
    half = 1 << (frame.bits - 1)
    low, high = (-half, half - 1) if frame.signed else (0, 2 * half - 1)
    return low + int(frame.intercept), high + int(frame.intercept)


def _rescaled(image: Num[np.ndarray, "rows columns"], frame: Frame, dtype: np.dtype[Any]) -> np.ndarray:
    """Apply slope and intercept; where white means low, turn the scale round, so that bright stays bright."""
    if frame.inverted:
        image = (-1 if frame.signed else (1 << frame.bits) - 1) - image.astype(np.int64)
    if dtype.kind == "f":
        return (image.astype(np.float64) * frame.slope + frame.intercept).astype(dtype)
    return (image.astype(np.int64) + int(frame.intercept)).astype(dtype)


def _stored(
    place: Place, frames: list[Frame], shape: tuple[int, int], open_place: Opener
) -> list[np.ndarray]:
    """Decode frames of one file; tiles of a mosaic are cut out of it."""
    indices = [0] if frames[0].tiles else [frame.index for frame in frames]
    try:
        with quiet(), open_place(place) as file:
            stored = _decoded(file, indices)
    except (OSError, MemoryError):
        raise
    # Decoders fail in every way there is.
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        # Its licence (GPL) keeps that decoder out of the extra.
        wanted = "pylibjpeg-libjpeg" if "'JPEG Extended'" in why else "'napari-anomaly[dicom]'"
        raise UnreadableScan(
            f"The pixels of {place.name} cannot be read: {why}. Copy or export the file again; if a decoder is "
            f"missing, install it with: pip install {wanted}"
        ) from error
    return [_tile(stored[0], frame, shape) for frame in frames] if frames[0].tiles else stored


def _decoded(file: BinaryIO, indices: list[int]) -> list[np.ndarray]:
    try:
        return list(iter_pixels(file, raw=True, indices=indices))
    except AttributeError:
        # What is deflated as a whole has no place in the file at which its pixels begin.
        file.seek(0)
        dataset = dcmread(file)
        if dataset.file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
            raise
        return list(iter_pixels(dataset, raw=True, indices=indices))


def _tile(image: np.ndarray, frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    row, column = divmod(frame.index, frame.tiles)
    rows, columns = shape
    return image[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
