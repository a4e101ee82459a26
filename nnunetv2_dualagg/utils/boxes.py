"""Bounding boxes of masks."""

import numpy as np
from scipy import ndimage


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around a mask.

    Args:
        mask: boolean, of any number of axes.
        margin: voxels to add on each side, as far as the mask's array reaches.

    Returns:
        A slice per axis; the whole array if nothing is marked.
    """
    found = ndimage.find_objects(mask.astype(np.uint8, copy=False))
    if not found:
        return (slice(0, None),) * mask.ndim
    return tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(found[0], mask.shape, strict=True)
    )
