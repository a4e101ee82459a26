"""Blurring and resampling as one small matrix per axis: a matrix product is many times faster than a filter."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def apply_along_axes(image: NDArray[np.float32], matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Multiply an image by a matrix of shape (new length, length) along each of its axes."""
    for matrix in matrices:
        image = np.tensordot(image, matrix, axes=(0, 1))  # the new axis comes last: after all, the order is the old one
    return image


@lru_cache(maxsize=256)
def resampling_matrix(length: int, new_length: int, order: int) -> NDArray[np.float32]:
    """(new_length, length): what ``scipy.ndimage.zoom`` does along an axis between the centres of the voxels.

    Args:
        length: number of voxels before.
        new_length: number of voxels afterwards, which cover the same extent.
        order: of the spline, 1 (linear) or 3 (cubic).
    """
    columns = [
        ndimage.zoom(column, new_length / length, order=order, mode="nearest", grid_mode=True)
        for column in np.eye(length)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def blurring_matrix(length: int, sigma: float) -> NDArray[np.float32]:
    """(length, length): what ``scipy.ndimage.gaussian_filter`` does along an axis; sigma is in voxels."""
    return ndimage.gaussian_filter(np.eye(length, dtype=np.float32), (sigma, 0))
