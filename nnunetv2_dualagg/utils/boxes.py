"""Bounding boxes of masks."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def bounding_box(mask: np.ndarray, margin: int | Sequence[int] = 0) -> tuple[slice, ...]:
    """The smallest box around a mask.

    Args:
        mask: boolean, of any number of axes.
        margin: voxels to add on each side, one number for all axes or one per axis, as far as the mask's array reaches.

    Returns:
        A slice per axis; the whole array if nothing is marked.
    """
    found = ndimage.find_objects(mask.astype(np.uint8, copy=False))
    if not found:
        return (slice(0, None),) * mask.ndim
    margins = [margin] * mask.ndim if isinstance(margin, int) else margin
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, size, more in zip(found[0], mask.shape, margins, strict=True)
    )
