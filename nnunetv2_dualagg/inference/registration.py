"""Rigid registration by mutual information, from coarse images to finer ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.inference.images import from_itk

RESOLUTIONS = (4.0, 2.0, 1.0)
"""mm; from coarse to fine. Images whose voxels are larger stay as they are."""

SMOOTHING = (2.0, 1.0, 0.0)
"""mm; standard deviation at each resolution. Blur in the last one would take precision."""

STEPS = ((2.0, 0.02), (0.5, 0.005), (0.2, 0.002))
"""mm; the first and the last step of the search at each resolution."""

RELAXATION = 0.8
"""A step shrinks by it where the search turns round; with ITK's 0.5 the search may stop in a narrow valley."""

TURN = np.radians(15.0)
"""By so much the images are turned to find where to begin: from 20 degrees off, a search alone may not find the way."""

SAMPLES = 30_000
"""Voxels that count, at most; as many again do not make the result better."""


@dataclass(frozen=True)
class Registration:
    """What was found.

    Attributes:
        transform: from points of the fixed image to points of the moving one.
        information: their mutual information with it; larger is better. It depends on the resolution.
    """

    transform: sitk.Euler3DTransform
    information: float


def pyramid(image: sitk.Image) -> list[sitk.Image]:
    """The image at each of the resolutions, smoothed.

    Args:
        image: of any type.
    """
    levels = zip(_shrunken_in_turn(image), SMOOTHING, strict=True)
    return [sitk.DiscreteGaussian(level, sigma**2) if sigma else level for level, sigma in levels]


def mask_pyramid(mask: sitk.Image) -> list[sitk.Image]:
    """The mask on the grid of each image of :func:`pyramid`: voxels of which at least a half was in it.

    Args:
        mask: 0 and 1.
    """
    return [sitk.Cast(level >= 0.5, sitk.sitkUInt8) for level in _shrunken_in_turn(mask)]


def _shrunken_in_turn(image: sitk.Image) -> list[sitk.Image]:
    """The image at each of the resolutions; a coarse one is made of the finer one, which has fewer voxels to read."""
    levels = [sitk.Cast(image, sitk.sitkFloat32)]
    for mm in reversed(RESOLUTIONS):
        levels.append(_shrunken(levels[-1], mm))
    return levels[:0:-1]


def _shrunken(image: sitk.Image, mm: float) -> sitk.Image:
    """Blocks of voxels averaged, so that each is of about ``mm`` along each axis."""
    sizes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return sitk.BinShrink(image, [min(count, max(1, round(mm / spacing))) for spacing, count in sizes])


def register_coarsely(
    fixed: Sequence[sitk.Image], moving: Sequence[sitk.Image], masks: Sequence[sitk.Image], centre: NDArray[np.float64]
) -> Registration:
    """Search at the coarsest resolution, from the best of several places.

    They are where the headers put the images and centre upon centre, each as it is and turned about each axis.

    Args:
        fixed: images of :func:`pyramid`.
        moving: images of :func:`pyramid`.
        masks: what counts of the fixed images, from :func:`mask_pyramid`.
        centre: of rotation, in ITK's coordinates.
    """
    method = _method(0, masks[0])
    shifts = (np.zeros(3), _moment(moving[0]) - centre)
    turns = [np.zeros(3), *(sign * TURN * axis for axis in np.eye(3) for sign in (-1, 1))]
    best, least = sitk.Euler3DTransform(), np.inf
    for shift, turn in product(shifts, turns):
        start = sitk.Euler3DTransform(centre.tolist(), *turn.tolist(), shift.tolist())
        method.SetInitialTransform(start)
        try:
            value = method.MetricEvaluate(fixed[0], moving[0])
        except RuntimeError:  # no overlap at all
            continue
        if value < least:
            best, least = start, value
    return _search(0, fixed, moving, masks, best)


def refine(
    fixed: Sequence[sitk.Image], moving: Sequence[sitk.Image], masks: Sequence[sitk.Image], found: Registration
) -> Registration:
    """Go on at the finer resolutions; arguments as for :func:`register_coarsely`."""
    for level in range(1, len(RESOLUTIONS)):
        found = _search(level, fixed, moving, masks, found.transform)
    return found


def _search(
    level: int,
    fixed: Sequence[sitk.Image],
    moving: Sequence[sitk.Image],
    masks: Sequence[sitk.Image],
    start: sitk.Euler3DTransform,
) -> Registration:
    method = _method(level, masks[level])
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=True)
    transform = method.Execute(fixed[level], moving[level])
    return Registration(sitk.Euler3DTransform(transform), -method.GetMetricValue())


def _method(level: int, mask: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    inside = int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / max(inside, 1)), 42)
    method.SetMetricFixedMask(mask)
    # Gradients where they are needed, and not of whole images.
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkLinear)
    first, last = STEPS[level]
    method.SetOptimizerAsRegularStepGradientDescent(first, last, 200, RELAXATION, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _moment(image: sitk.Image) -> NDArray[np.float64]:
    """The centre of what is not 0."""
    voxel = ndimage.center_of_mass(from_itk(image) != 0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(v) for v in voxel]))
