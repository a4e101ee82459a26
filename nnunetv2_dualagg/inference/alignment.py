"""Rigid alignment of an infant's T2 with its T1, by mutual information."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from nibabel.affines import from_matvec
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.inference.brain import filled
from nnunetv2_dualagg.inference.images import Image, from_itk, same_grid, to_itk
from nnunetv2_dualagg.inference.registration import Registration, mask_pyramid, pyramid, refine, register_coarsely
from nnunetv2_dualagg.utils.boxes import bounding_box

TOLERANCE = 0.5
"""mm; images on one grid that are not further apart stay as they are, for resampling blurs."""

MARGIN = 3.0
"""mm around the brain that count too: T2 has to be dark where T1 is."""

FLIP_MARGIN = 0.02
"""By so much more mutual information has to speak for a flip."""

CLEARLY_WORSE = 0.05
"""By so much less mutual information at the coarse resolution, a flip is out of the question."""


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
    centre = _centre(brain, t1)
    fixed, masks = _around_the_brain(t1, brain)
    moving = pyramid(to_itk(t2.data, t2.affine))
    coarse = register_coarsely(fixed, moving, masks, centre)
    fine = refine(fixed, moving, masks, coarse)
    flipped = _fits_better_flipped(fixed, moving, masks, centre, coarse, fine)
    rotation, translation, displacement = _motion(fine.transform, brain, t1, centre)
    resampled = not same_grid(t1, t2) or displacement > TOLERANCE
    found = Alignment(rotation, translation, displacement, resampled, flipped, fine.information)
    return (resample(t2, t1, brain, fine.transform) if resampled else t2), found


def resample(image: Image, like: Image, brain: NDArray[np.bool_], transform: sitk.Transform | None = None) -> Image:
    """An image on the grid of another, with cubic splines; what was exactly 0 (cut away) is exactly 0 again.

    Args:
        image: to be moved.
        like: the grid.
        brain: mask on that grid; what is outside its box is left 0, which saves time.
        transform: from points of ``like`` to points of ``image``; None for the same place.
    """
    transform = sitk.Transform() if transform is None else transform
    box = bounding_box(brain)
    grid = to_itk(like.data[box], _affine_of(box, like.affine))
    moved = from_itk(sitk.Resample(to_itk(image.data, image.affine), grid, transform, sitk.sitkBSpline, 0.0))
    inside = filled(image.data != 0).astype(np.uint8)
    kept = from_itk(sitk.Resample(to_itk(inside, image.affine), grid, transform, sitk.sitkNearestNeighbor)) > 0
    low, high = float(image.data.min()), float(image.data.max())
    data = np.zeros(like.data.shape, np.float32)
    data[box] = np.where(kept, np.clip(moved, low, high), 0)
    return Image(image.file, data, like.affine)


def _affine_of(box: tuple[slice, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine of what is cut out of an image."""
    return affine @ from_matvec(np.eye(3), [side.start or 0 for side in box])


def _around_the_brain(t1: Image, brain: NDArray[np.bool_]) -> tuple[list[sitk.Image], list[sitk.Image]]:
    """T1 at each resolution, cut to the brain's box with a margin, and masks of the brain with the margin."""
    steps = max(1, round(MARGIN / float(t1.spacing.mean())))
    box = bounding_box(brain, margin=2 * steps)
    affine = _affine_of(box, t1.affine)
    near = ndimage.binary_dilation(brain[box], iterations=steps).astype(np.uint8)
    return pyramid(to_itk(t1.data[box], affine)), mask_pyramid(to_itk(near, affine))


def _centre(brain: NDArray[np.bool_], t1: Image) -> NDArray[np.float64]:
    """The brain's centre in ITK's coordinates (LPS)."""
    voxel = np.array([*ndimage.center_of_mass(brain), 1.0])
    return (np.diag([-1.0, -1.0, 1.0, 1.0]) @ t1.affine @ voxel)[:3]


def _fits_better_flipped(
    fixed: list[sitk.Image],
    moving: list[sitk.Image],
    masks: list[sitk.Image],
    centre: NDArray[np.float64],
    coarse: Registration,
    fine: Registration,
) -> bool:
    """Whether T2 has more in common with T1 when its left and right are exchanged, as a wrong header does it.

    It is compared at the coarse resolution first; most flips are out of the question there.
    """
    flipped = [_left_and_right_exchanged(image) for image in moving]
    found = register_coarsely(fixed, flipped, masks, centre)
    if found.information < coarse.information - CLEARLY_WORSE:
        return False
    return refine(fixed, flipped, masks, found).information > fine.information + FLIP_MARGIN


def _left_and_right_exchanged(image: sitk.Image) -> sitk.Image:
    """The image with its voxels in reverse order along the axis that runs from left to right, on the same grid."""
    axis = int(np.argmax(np.abs(image.GetDirection()[:3])))
    flipped = sitk.Flip(image, [number == axis for number in range(3)])
    flipped.CopyInformation(image)
    return flipped


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
