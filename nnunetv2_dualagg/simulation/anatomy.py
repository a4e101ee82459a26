"""Anatomy of the phantom: label maps of adult brains, from the ICBM152 average or from files."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.errors import needs_extra

CSF, GM, WM = 1, 2, 3

# Boxes (|x| from, to, y from, to, z from, to, in MNI mm) that surely belong to the cerebrum or to the
# infratentorial brain (cerebellum and brain stem): the seeds of the watershed that separates them along the tentorium.
_ANY = 999
_CEREBRUM_BOXES = (
    (0, _ANY, -_ANY, _ANY, 6, _ANY),
    (0, _ANY, 0, _ANY, -_ANY, _ANY),
    (0, _ANY, -20, _ANY, -8, _ANY),
    (32, _ANY, -32, _ANY, -_ANY, _ANY),
    (0, _ANY, -_ANY, -96, -14, _ANY),
)
_INFRATENTORIAL_BOXES = (
    (0, 10, -42, -14, -_ANY, -14),
    (0, 36, -72, -48, -_ANY, -36),
    (0, 6, -66, -46, -_ANY, -8),
)


@dataclass(frozen=True)
class Anatomy:
    """A label map of one adult brain without cerebellum and brain stem.

    Attributes:
        name: the file or the atlas it comes from.
        labels: (X, Y, Z) uint8, axes right-anterior-superior, 0 background, 1 CSF, 2 GM, 3 WM.
        spacing: size of a voxel in mm.
    """

    name: str
    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]


def load_icbm152() -> Anatomy:
    """The ICBM152 2009a non-linear symmetric average brain that the nilearn package carries, as a label map.

    The average blurs the sulci, so CSF counts twice when the largest fraction is chosen. Cerebellum and brain stem
    are cut off by a watershed on the CSF fraction, whose crest is the tentorium. The atlas' mask is tight: 2 mm of CSF
    are added around it. MNI space is larger than most brains: its 1 mm are taken as 0.92 mm, which gives the volume
    of a rather large adult brain.

    Source: Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011).

    Raises:
        UserError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise needs_extra("the phantom without -maps", "nilearn", "demo") from error
    grey = nib.as_closest_canonical(datasets.load_mni152_gm_template(resolution=1))
    gm = grey.get_fdata(dtype=np.float32)
    wm = nib.as_closest_canonical(datasets.load_mni152_wm_template(resolution=1)).get_fdata(dtype=np.float32)
    brain = nib.as_closest_canonical(datasets.load_mni152_template(resolution=1)).get_fdata(dtype=np.float32) > 0

    csf = np.where(brain, np.clip(1 - gm - wm, 0, 1), 1)
    infratentorial = _infratentorial(csf, brain, origin=grey.affine[:3, 3])
    tissue = 1 + np.argmax([2 * csf, gm, wm], axis=0)
    labels = np.where(brain & ~infratentorial, tissue, 0).astype(np.uint8)
    spacing = (0.92, 0.92, 0.92)
    return Anatomy("ICBM152", _bathed(labels, spacing, rim=2.0), spacing)


def _infratentorial(
    csf: NDArray[np.float32], brain: NDArray[np.bool_], origin: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mask of cerebellum and brain stem; grid of 1 mm, ``origin`` is the MNI position of its first voxel."""
    x, y, z = np.ogrid[tuple(slice(n) for n in csf.shape)]
    x, y, z = np.abs(x + origin[0]), y + origin[1], z + origin[2]
    seeds = np.zeros(csf.shape, np.uint8)
    for value, boxes in ((1, _CEREBRUM_BOXES), (2, _INFRATENTORIAL_BOXES)):
        for x0, x1, y0, y1, z0, z1 in boxes:
            seeds[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & (z >= z0) & (z <= z1) & brain] = value
    height = (255 * csf).astype(np.uint8)
    basins = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(height), sitk.GetImageFromArray(seeds), markWatershedLine=False
    )
    return (sitk.GetArrayFromImage(basins) == 2) & brain


def anatomy_of(name: str, labels: NDArray, spacing: tuple[float, float, float]) -> Anatomy:
    """A brain from a label map with values 0 background, 1 CSF, 2 GM and 3 WM, all of them present.

    The brains of infants lie in CSF; adult maps often have little of it. So holes, gaps up to about 8 mm between gyri
    and a rim of 1 mm become CSF.

    Args:
        name: where it comes from.
        labels: (X, Y, Z), axes right-anterior-superior.
        spacing: size of a voxel in mm.
    """
    return Anatomy(name, _bathed(labels.astype(np.uint8), spacing, rim=1.0), spacing)


def _bathed(labels: NDArray[np.uint8], spacing: tuple[float, ...], rim: float) -> NDArray[np.uint8]:
    """Fill holes and gaps and add a rim of ``rim`` mm, all with CSF; cropped to what is not background."""
    gap, rim = (max(1, round(mm / max(spacing))) for mm in (4.0, rim))
    labels = np.pad(labels, gap + rim)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(labels > 0, iterations=gap))
    brain = ndimage.binary_dilation(brain, iterations=rim)
    return np.where(brain & (labels == 0), CSF, labels).astype(np.uint8)[bounding_box(brain)]
