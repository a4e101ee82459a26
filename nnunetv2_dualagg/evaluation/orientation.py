"""From nnU-Net's array order to anatomical axes, for pictures."""

from collections.abc import Mapping

import nibabel as nib
import numpy as np


def affine(properties: Mapping) -> np.ndarray:
    """The 4x4 matrix from voxel (x, y, z) to world coordinates (RAS, mm) that nnU-Net's properties stand for."""
    if "nibabel_stuff" in properties:
        stuff = properties["nibabel_stuff"]
        return np.asarray(stuff.get("reoriented_affine", stuff["original_affine"]))
    matrix = np.diag([*properties["spacing"][::-1], 1.0])
    itk = properties.get("sitk_stuff", {})
    if len(itk.get("origin", ())) != 3:
        matrix[1, 1] *= -1  # the first row of a 2-D image is its uppermost
    else:
        lps_to_ras = np.diag([-1.0, -1.0, 1.0])
        matrix[:3, :3] = lps_to_ras @ np.reshape(itk["direction"], (3, 3)) @ matrix[:3, :3]
        matrix[:3, 3] = lps_to_ras @ itk["origin"]
    return matrix


def to_ras(array: np.ndarray, properties: Mapping) -> np.ndarray:
    """Turn an array of shape (z, y, x) so that its axes run to the right, to the front and upwards.

    Args:
        array: voxels as nnU-Net's readers give them.
        properties: the reader's properties.

    Returns:
        A view of the voxels, shape (right, anterior, superior).
    """
    return nib.apply_orientation(array.transpose(2, 1, 0), nib.io_orientation(affine(properties)))


def ras_spacing(properties: Mapping) -> tuple[float, float, float]:
    """Voxel size in mm along the axes of :func:`to_ras`."""
    axes = nib.io_orientation(affine(properties))[:, 0].astype(int)
    spacing = dict(zip(axes, properties["spacing"][::-1], strict=True))
    return spacing[0], spacing[1], spacing[2]
