"""Where the brain is: images that are skull-stripped already, or a mask."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.inference.images import Image, from_itk, read_image, same_grid, to_itk
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.errors import UserError

LEAST_BACKGROUND = 0.2
"""Share of voxels that are exactly 0 around a brain that was cut out."""

LARGEST_BRAIN = 1700.0
"""ml; an infant's head has more, and an adult's brain hardly ever."""

SKULL_DIP = 0.6
"""Bone shows darker than this, relative to the scalp around it."""

MASK_TOOLS = "SynthStrip (mri_synthstrip), HD-BET and iBEAT make such masks"


def is_skull_stripped(image: Image) -> bool:
    """Whether only a brain is left of an image: much is exactly 0, and the rest is no larger than a brain.

    A head in air of exactly 0 is recognised by its size, and a small one by its bone: a dark shell below the scalp.
    """
    inside = image.data != 0
    if 1 - inside.mean() < LEAST_BACKGROUND or inside.sum() * image.voxel_ml > LARGEST_BRAIN:
        return False
    box = bounding_box(inside)  # outside of it, distances would be computed for nothing
    solid = ndimage.binary_fill_holes(inside[box])
    depth = ndimage.distance_transform_edt(np.pad(solid, 1), sampling=image.spacing)[1:-1, 1:-1, 1:-1]
    shells = [image.data[box][(depth > mm) & (depth <= mm + 2)] for mm in (0, 2, 4, 6, 8, 10)]
    profile = [float(np.median(shell)) if shell.size else 0.0 for shell in shells]
    scalp = max(profile[:2])
    dips = [k for k in (2, 3, 4) if profile[k] < SKULL_DIP * scalp]
    # In a brain on its own T2 also falls from the rim (CSF), but does not rise again to the rim's brightness.
    return not any(max(profile[k + 1 :]) > profile[k] / SKULL_DIP for k in dips)


def find_brain(t1: Image, mask_file: Path | None, stripped: bool | None) -> NDArray[np.bool_]:
    """The mask of the brain on the grid of T1.

    Args:
        t1: the reference image.
        mask_file: a mask of the brain, if any, on any grid in the same space.
        stripped: whether the images are skull-stripped; None to find out.

    Returns:
        (X, Y, Z) of bool.

    Raises:
        UserError: there is a skull and no mask, or the mask covers no brain.
    """
    if mask_file is not None:
        return _read_mask(t1, mask_file)
    if stripped is False or (stripped is None and not is_skull_stripped(t1)):
        raise UserError(
            f"{t1.file} shows more than a brain; give a mask of the brain with -mask FILE ({MASK_TOOLS}), "
            "or --skull-stripped if everything but the brain is 0"
        )
    return filled(t1.data != 0)


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without holes; looked for within its bounding box, since there are none outside."""
    box = bounding_box(mask)
    whole = np.zeros_like(mask)
    whole[box] = ndimage.binary_fill_holes(mask[box])
    return whole


def _read_mask(t1: Image, file: Path) -> NDArray[np.bool_]:
    mask = read_image(file)
    if same_grid(mask, t1):
        brain = mask.data > 0
    else:
        moved = sitk.Resample(
            to_itk((mask.data > 0).astype(np.uint8), mask.affine),
            to_itk(t1.data, t1.affine),
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
        )
        brain = from_itk(moved) > 0
    if not brain.any():
        raise UserError(f"{file} covers no voxel of {t1.file}; expected a mask of its brain, in the same space")
    shown = float((t1.data[brain] != 0).mean())
    if shown < 0.5:
        raise UserError(f"{file} covers no brain: {t1.file} is 0 in {1 - shown:.0%} of it")
    return brain


def correct_bias(image: Image, brain: NDArray[np.bool_]) -> Image:
    """Divide by the bias field that N4 finds in the brain (on a grid four times as coarse).

    Args:
        image: any image.
        brain: (X, Y, Z) mask.
    """
    whole = to_itk(image.data, image.affine)
    small = sitk.Shrink(whole, [4] * 3)
    mask = sitk.Shrink(to_itk(brain.astype(np.uint8), image.affine), [4] * 3)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50, 50, 30])
    n4.Execute(sitk.Maximum(small, 1e-3), mask)
    field = from_itk(sitk.Exp(n4.GetLogBiasFieldAsImage(whole)))
    return image.with_data(np.where(image.data != 0, image.data / field, 0).astype(np.float32))
