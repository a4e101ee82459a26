"""Metrics of agreement between two binary masks on the same grid.

Surfaces and distances are MONAI's, which agreed with a brute-force search on every shape that was tried;
``docs/compare.md`` says how the library was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnunetv2_dualagg.utils.errors import needs_extra


@dataclass(frozen=True)
class Metric:
    """How a column of scores is to be read.

    Attributes:
        key: the column's name.
        title: what a table calls it, with its unit.
        better: whether higher or lower values are better, or values close to zero.
        digits: decimals worth printing.
    """

    key: str
    title: str
    better: Literal["higher", "lower", "zero"]
    digits: int


DICE = Metric("dice", "Dice", "higher", 3)
ASD = Metric("asd", "ASD [mm]", "lower", 3)
HD95 = Metric("hd95", "HD95 [mm]", "lower", 2)
HD = Metric("hd", "HD [mm]", "lower", 2)
MHD = Metric("mhd", "MHD [mm]", "lower", 3)
RVD = Metric("rvd", "RVD [%]", "zero", 1)
METRICS = (DICE, ASD, HD95, HD, MHD, RVD)


def metrics_of(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """All metrics of one tissue.

    Args:
        reference: boolean mask, 2-D or 3-D.
        prediction: boolean mask of the same shape.
        spacing: voxel size in mm along each axis of the masks.

    Returns:
        ``dice``; in mm ``asd``, ``hd95``, ``hd`` and ``mhd``; ``rvd`` in percent of the reference's volume, positive
        where the prediction is larger; ``volume_ml`` and ``reference_ml``. Distances are NaN if either mask is
        empty, ``rvd`` if the reference is, ``dice`` if both are.
    """
    ml = float(np.prod(spacing)) / 1000
    volume, reference_volume = np.count_nonzero(prediction) * ml, np.count_nonzero(reference) * ml
    return {
        "dice": dice(reference, prediction),
        **surface_metrics(*surface_distances(reference, prediction, spacing)),
        "rvd": 100 * (volume - reference_volume) / reference_volume if reference_volume else float("nan"),
        "volume_ml": volume,
        "reference_ml": reference_volume,
    }


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


def surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between the surfaces of two masks, in both directions.

    A mask's surface are its voxels with a face neighbour outside of it; what lies beyond the image is outside.

    Args:
        reference: boolean mask, 2-D or 3-D.
        prediction: boolean mask of the same shape.
        spacing: voxel size in mm along each axis.

    Returns:
        For each surface voxel of the prediction the distance in mm between its centre and that of the reference's
        nearest surface voxel, and the same from the reference to the prediction. Both empty if one mask is.
    """
    try:
        from monai.metrics import get_mask_edges, get_surface_distance
    except ImportError as error:
        raise needs_extra("the comparison", "MONAI", "report") from error

    if not (reference.any() and prediction.any()):
        return np.empty(0), np.empty(0)
    ours, theirs = get_mask_edges(prediction, reference)
    there = get_surface_distance(ours, theirs, spacing=tuple(spacing))
    back = get_surface_distance(theirs, ours, spacing=tuple(spacing))
    return there.astype(np.float64), back.astype(np.float64)


def surface_metrics(there: np.ndarray, back: np.ndarray) -> dict[str, float]:
    """Summarise surface distances.

    Args:
        there: distances from one surface to the other, in mm.
        back: distances in the other direction.

    Returns:
        ``asd``: mean over both surfaces together (average symmetric surface distance); ``hd95``: the larger of the
        two 95th percentiles; ``hd``: the Hausdorff distance, the largest of all; ``mhd``: the modified Hausdorff
        distance, the larger of the two means (Dubuisson and Jain, ICPR 1994). All NaN without distances.
    """
    if not there.size:
        return dict.fromkeys(("asd", "hd95", "hd", "mhd"), float("nan"))
    return {
        "asd": float(np.concatenate([there, back]).mean()),
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "hd": float(max(there.max(), back.max())),
        "mhd": float(max(there.mean(), back.mean())),
    }
