"""Which unlabelled voxels are unknown, and which are background.

BOBs labels the ventricles, but not the CSF around the brain: that has the value 0, like skull and air. Calling it
background would teach that sulci are empty; calling it CSF would need a border to the skull, which nobody has drawn. So
these voxels get nnU-Net's ignore label. BOBs has no brain mask to find them with, so the mask is made from the labels:

1. All labelled structures, cerebellum and brain stem included, are closed: what lies in a gap up to twice ``CLOSING``
   wide is inside. That is more than sulci and the fissure between the hemispheres take, and most of the Sylvian
   fissure, which is wide in infants.
2. The closed shape is dilated by ``RIM``: over the crowns of the gyri there is CSF too. Without a rim the image would
   end exactly where grey matter does, and a network would learn to look for the edge of the image. A wider rim would
   include bone: the brain is 1 to 5 mm away from it, depending on age and place.
3. An unlabelled voxel inside belongs to the nearest labelled voxel. If that is of the cerebellum or the brain stem, it
   is removed with them: iSeg's images have neither, and background is right where the image is empty.
4. The others are ignored. What is labelled as a tissue keeps it. All the rest is background: the image is 0 there, as
   it is in iSeg.

With the head kept (``HEAD_RIM``), nothing is set to 0, and CSF reaches further out than the rim. So all unlabelled
voxels within 10 mm of any labelled one are ignored, including those around cerebellum and brain stem; some of them are
bone, which does no harm. Farther out there is only skin, bone, face or air, so it is background. So are cerebellum and
brain stem themselves: they are not tissues of the cerebrum.

An ignored voxel may be CSF or background, but not grey or white matter: all of that is labelled.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nnunetv2_dualagg.dataset_conversion.bobs.labels import BACKGROUND, CSF, GM, IGNORE, INFRATENTORIAL, UNLABELLED, WM
from nnunetv2_dualagg.utils.boxes import bounding_box

CLOSING = 6.0  # mm
RIM = 2.0  # mm
HEAD_RIM = 10.0  # mm


def with_ignored(tissues: np.ndarray, spacing: Sequence[float], keep_head: bool = False) -> np.ndarray:
    """Tell unknown voxels from background.

    Args:
        tissues: shape (x, y, z): CSF, GM, WM, INFRATENTORIAL or UNLABELLED.
        spacing: mm along x, y and z.
        keep_head: for an image that keeps skull, cerebellum and brain stem.

    Returns:
        uint8 of that shape: BACKGROUND, CSF, GM, WM or IGNORE. Without ``keep_head``, the brain is where it is not 0.
    """
    closing, rim = (HEAD_RIM, HEAD_RIM) if keep_head else (CLOSING, RIM)
    labels = np.zeros(tissues.shape, np.uint8)
    box = bounding_box(tissues != UNLABELLED, [int(np.ceil(closing / mm)) + 2 for mm in spacing])
    tissues, part = tissues[box], labels[box]
    inside, nearest = _closed(tissues != UNLABELLED, spacing, closing, rim)
    unknown = inside & (tissues == UNLABELLED)
    if not keep_head:
        unknown &= tissues[tuple(nearest)] != INFRATENTORIAL
    known = np.isin(tissues, (CSF, GM, WM))
    part[...] = np.where(known, tissues, np.where(unknown, IGNORE, BACKGROUND))
    return labels


def _closed(mask: np.ndarray, spacing: Sequence[float], closing: float, rim: float) -> tuple[np.ndarray, np.ndarray]:
    """A mask, closed with a ball of a radius in mm and dilated by ``rim``, and the nearest voxel of the mask."""
    distance, nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_indices=True)
    dilated = distance <= closing
    if rim >= closing:
        return dilated, nearest
    return ndimage.distance_transform_edt(dilated, sampling=spacing) > closing - rim, nearest
