"""Rigid registration: bring one scan of a patient onto the grid of another, so that both can be read side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name everybody uses)
from jaxtyping import Float32

from napari_anomaly.errors import ScanError
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.scan import Scan

__all__ = ["Aligned", "align"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0])

_LEVELS_MM = (6.0, 3.0)
"""Voxels at which the scans are compared, coarse first: a head is found at the first, millimetres at the second."""

_BINS = 32
_SAMPLED = 0.25
_ROUNDS = 150
_SEED = 7


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A scan on the grid of another.

    Parameters
    ----------
    voxels
        Its intensities on that grid, its own lowest one where it does not reach, (z, y, x).
    moved_mm, turned_degrees
        How far it was shifted, at the middle of the grid, and turned.
    """

    voxels: Float32[np.ndarray, "z y x"]
    moved_mm: float
    turned_degrees: float


def align(moving: Scan, fixed: Scan) -> Steps[Aligned]:
    """Bring a scan onto the grid of another one of the same head, of any contrast, by rotation and shift.

    Mutual information (Mattes et al. 2003) by SimpleITK, from the centres of gravity on, coarse to fine.

    Parameters
    ----------
    moving
        What is brought.
    fixed
        Whose grid it is brought to.

    Yields
    ------
    Progress
        Once a level.

    Returns
    -------
    Aligned
        On the grid of `fixed`.

    Raises
    ------
    ScanError
        If one of them does not say how large its voxels are, or they do not overlap.
    """
    for scan in (moving, fixed):
        if scan.geometry.unit != "mm":
            raise ScanError(
                f"{scan.name} does not say how large its voxels are, so it cannot be laid over another scan. "
                "Compare scans whose files have millimetres."
            )
    target, source = _image(fixed), _image(moving)
    with _overlapping():
        transform: sitk.Transform = sitk.CenteredTransformInitializer(
            target, source, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
    for number, size in enumerate(_LEVELS_MM):
        yield Progress(number, len(_LEVELS_MM) + 1, "Laying the scans over each other")
        with _overlapping():
            transform = _registered(_coarse(target, size), _coarse(source, size), transform, size)
    yield Progress(len(_LEVELS_MM), len(_LEVELS_MM) + 1, "Bringing it onto the grid")
    brought = sitk.Resample(source, target, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    middle = np.array(target.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in target.GetSize()]))
    rigid = sitk.Euler3DTransform(transform)
    turn = np.array(rigid.GetMatrix()).reshape(3, 3)
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    moved = float(np.linalg.norm(np.array(rigid.TransformPoint(middle.tolist())) - middle))
    voxels = sitk.GetArrayFromImage(brought) + np.float32(moving.voxels.min())
    return Aligned(voxels, moved, float(angle))


@contextmanager
def _overlapping() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ScanError(
            "The two scans could not be laid over each other: they hardly overlap, or one of them is empty. "
            "Choose a scan of the same region of the same patient."
        ) from error


def _image(scan: Scan) -> sitk.Image:
    # from 0 on, so that the air of a CT has no weight in the centre of gravity
    image = sitk.GetImageFromArray(np.asarray(scan.voxels, dtype=np.float32) - np.float32(scan.voxels.min()))
    spacing = np.array(scan.geometry.spacing)[::-1]
    axes = _TO_LPS @ scan.geometry.affine[:3, 2::-1] / spacing
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((_TO_LPS @ scan.geometry.affine[:3, 3]).tolist())
    image.SetDirection(axes.reshape(-1).tolist())
    return image


def _coarse(image: sitk.Image, size_mm: float) -> sitk.Image:
    factors = [max(1, round(size_mm / step)) for step in image.GetSpacing()]
    small: sitk.Image = sitk.BinShrink(image, factors)
    return small


def _registered(
    target: sitk.Image, source: sitk.Image, transform: sitk.Transform, size_mm: float
) -> sitk.Transform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_SAMPLED, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=size_mm, minStep=size_mm / 100, numberOfIterations=_ROUNDS, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(sitk.Euler3DTransform(transform), inPlace=False)
    found: sitk.Transform = method.Execute(target, source)
    if isinstance(found, sitk.CompositeTransform):
        found = found.GetNthTransform(0)
    return found
