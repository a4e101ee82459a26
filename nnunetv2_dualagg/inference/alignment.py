"""Rigid alignment of an infant's T2 with its T1, by mutual information."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.inference.images import Image, from_itk, same_grid, to_itk

TOLERANCE = 0.5
"""mm; images on one grid that are not further apart stay as they are, for resampling blurs."""

RESOLUTIONS = (4.0, 2.0)
"""mm; first coarse, then fine. It does not take more for a rigid motion."""

FLIP_MARGIN = 0.02
"""By so much more mutual information has to speak for a flip."""


@dataclass(frozen=True)
class Alignment:
    """How T2 lay relative to T1.

    Attributes:
        rotation: angle in degrees.
        translation: of the brain's centre, in mm.
        displacement: mean over the brain, in mm.
        resampled: whether T2 was brought to T1's grid.
        flipped: whether T2 fits better when it is flipped from left to right.
        information: mutual information after the alignment; larger is better.
    """

    rotation: float
    translation: float
    displacement: float
    resampled: bool
    flipped: bool
    information: float

    def __str__(self) -> str:
        found = f"rotated by {self.rotation:.1f} degrees and shifted by {self.translation:.1f} mm"
        return f"{found}, mean displacement {self.displacement:.1f} mm" + ("" if self.resampled else "; left as it is")


def align(t1: Image, t2: Image, brain: NDArray[np.bool_]) -> tuple[Image, Alignment]:
    """Bring T2 to the grid of T1, if it is not on it.

    Args:
        t1: the reference.
        t2: on any grid; what is exactly 0 stays so.
        brain: mask on the grid of T1.

    Returns:
        T2 on T1's grid, and what was found.
    """
    fixed, moving = to_itk(t1.data, t1.affine), to_itk(t2.data, t2.affine)
    near = ndimage.binary_dilation(brain, iterations=max(1, round(3 / float(t1.spacing.mean()))))
    mask = to_itk(near.astype(np.uint8), t1.affine)
    centre = _centre(brain, t1)
    transform, information = _register(fixed, moving, mask, centre)
    flipped = _fits_better_flipped(fixed, t2, mask, centre, information)
    rotation, translation, displacement = _motion(transform, brain, t1, centre)
    resampled = not same_grid(t1, t2) or displacement > TOLERANCE
    found = Alignment(rotation, translation, displacement, resampled, flipped, information)
    return (resample(t2, t1, transform) if resampled else t2), found


def resample(image: Image, like: Image, transform: sitk.Transform | None = None) -> Image:
    """An image on the grid of another, with cubic splines; what was exactly 0 (cut away) is exactly 0 again.

    Args:
        image: to be moved.
        like: the grid.
        transform: from points of ``like`` to points of ``image``; None for the same place.
    """
    transform = sitk.Transform() if transform is None else transform
    grid = to_itk(like.data, like.affine)
    moved = from_itk(sitk.Resample(to_itk(image.data, image.affine), grid, transform, sitk.sitkBSpline, 0.0))
    inside = ndimage.binary_fill_holes(image.data != 0).astype(np.uint8)
    kept = from_itk(sitk.Resample(to_itk(inside, image.affine), grid, transform, sitk.sitkNearestNeighbor)) > 0
    low, high = float(image.data.min()), float(image.data.max())
    return Image(image.file, np.where(kept, np.clip(moved, low, high), 0).astype(np.float32), like.affine)


def _centre(brain: NDArray[np.bool_], t1: Image) -> NDArray[np.float64]:
    """The brain's centre in ITK's coordinates (LPS)."""
    voxel = np.array([*ndimage.center_of_mass(brain), 1.0])
    return (np.diag([-1.0, -1.0, 1.0, 1.0]) @ t1.affine @ voxel)[:3]


def _register(
    fixed: sitk.Image, moving: sitk.Image, mask: sitk.Image, centre: NDArray[np.float64]
) -> tuple[sitk.Euler3DTransform, float]:
    """The rigid transform from ``fixed`` to ``moving``, and their mutual information with it."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.2, 42)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([max(1, round(mm / float(np.mean(fixed.GetSpacing())))) for mm in RESOLUTIONS])
    method.SetSmoothingSigmasPerLevel([mm / 2 for mm in RESOLUTIONS])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(_best_start(method, fixed, moving, centre), inPlace=True)
    transform = method.Execute(fixed, moving)
    return sitk.Euler3DTransform(transform), -method.GetMetricValue()


def _best_start(
    method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, centre: NDArray[np.float64]
) -> sitk.Euler3DTransform:
    """Where the headers put the images, or centre upon centre if that fits better."""
    by_headers = sitk.Euler3DTransform(centre.tolist(), 0.0, 0.0, 0.0)
    by_centres = sitk.Euler3DTransform(by_headers)
    by_centres.SetTranslation((_moment(moving) - centre).tolist())
    values = []
    for start in (by_headers, by_centres):
        method.SetInitialTransform(start)
        try:
            values.append(method.MetricEvaluate(fixed, moving))
        except RuntimeError:  # no overlap at all
            values.append(np.inf)
    return by_centres if values[1] < values[0] else by_headers


def _moment(image: sitk.Image) -> NDArray[np.float64]:
    """The centre of what is not 0."""
    data = from_itk(image)
    voxel = ndimage.center_of_mass(data != 0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(v) for v in voxel]))


def _fits_better_flipped(
    fixed: sitk.Image, t2: Image, mask: sitk.Image, centre: NDArray[np.float64], information: float
) -> bool:
    """Whether T2 has more in common with T1 when its left and right are exchanged, as a wrong header does it."""
    axis = int(np.argmax(np.abs(t2.affine[0, :3])))
    flipped = to_itk(np.flip(t2.data, axis), t2.affine)
    return _register(fixed, flipped, mask, centre)[1] > information + FLIP_MARGIN


def _motion(
    transform: sitk.Euler3DTransform, brain: NDArray[np.bool_], t1: Image, centre: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Angle in degrees, shift of the brain's centre in mm, mean displacement of the brain in mm."""
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    angle = np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))
    shift = np.linalg.norm(np.subtract(transform.TransformPoint(centre.tolist()), centre))
    voxels = np.argwhere(brain)[:: max(1, int(brain.sum()) // 2000)]
    points = np.c_[voxels, np.ones(len(voxels))] @ (np.diag([-1.0, -1.0, 1.0, 1.0]) @ t1.affine).T[:, :3]
    moved = np.array([transform.TransformPoint(point.tolist()) for point in points])
    return float(angle), float(shift), float(np.linalg.norm(moved - points, axis=1).mean())
