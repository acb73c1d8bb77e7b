"""Voxels of a file, made fit to work with: one volume, native byte order, finite, one real number each."""

import numpy as np
from jaxtyping import Num, Shaped

from napari_anomaly.errors import UnreadableScan

__all__ = ["finite", "native", "one_volume"]


def native(array: Shaped[np.ndarray, "..."]) -> Num[np.ndarray, "..."]:
    """Bring an array to a type that every library takes: native byte order, no booleans, no long doubles."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16 or array.dtype.itemsize > 8:
        return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def finite(array: Num[np.ndarray, "a b c"], name: str) -> tuple[Num[np.ndarray, "a b c"], tuple[str, ...]]:
    """Replace numbers that are not finite, and say so.

    Parameters
    ----------
    array
        Voxels; not changed.
    name
        Of the file, for the error.

    Returns
    -------
    array
        The same array where all is finite; else a copy, in which not-a-number and minus infinity are the
        smallest finite value and infinity is the largest.
    notes
        One sentence for the user, if something was replaced.

    Raises
    ------
    UnreadableScan
        If no voxel is finite.
    """
    if array.dtype.kind != "f":
        return array, ()
    # Slab by slab: a memory map may be larger than the memory.
    bad = sum(int(slab.size - np.count_nonzero(np.isfinite(slab))) for slab in array)
    if not bad:
        return array, ()
    if bad == array.size:
        raise UnreadableScan(
            f"{name} holds not one finite number in {bad} voxels. Copy or convert it again from its original."
        )
    good = array[np.isfinite(array)]
    low, high = good.min(), good.max()
    note = (
        f"{bad} of {array.size} voxels are not a finite number (NaN or infinite): "
        f"shown as {low:g}, the smallest value in the scan (infinite ones as {high:g}, the largest)."
    )
    return np.nan_to_num(array, nan=low, posinf=high, neginf=low), (note,)


def one_volume(name: str, count: int, chosen: int | None, *, axes: str = "") -> int:
    """Give the number of the volume to read: the one that was chosen, or the only one.

    Parameters
    ----------
    name
        Of the file or series, for the message.
    count
        How many volumes it holds.
    chosen
        From 0; None where nobody chose.
    axes
        What its axes are called, where it says so.

    Raises
    ------
    UnreadableScan
        If there are several and none was chosen, or there is none of that number.
    """
    choice = f"Choose a volume from 0 to {count - 1}."
    if chosen is None and count > 1:
        told = f" (axes {axes})" if axes else ""
        raise UnreadableScan(f"{name} holds {count} volumes{told}; one is needed. {choice}")
    number = chosen or 0
    if not 0 <= number < count:
        raise UnreadableScan(f"{name} has no volume {number}; it holds {count}. {choice}")
    return number
