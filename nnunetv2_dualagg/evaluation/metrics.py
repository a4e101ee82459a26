"""Measures of agreement between two binary masks on the same grid."""

import numpy as np


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice similarity coefficient, exactly as in nnU-Net's ``summary.json``.

    Args:
        reference: boolean mask of any shape.
        prediction: boolean mask of the same shape.

    Returns:
        A value in [0, 1], 0 if only one mask is empty, NaN if both are.
    """
    both = np.count_nonzero(reference & prediction)
    either = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return 2 * both / either if either else float("nan")
