"""The images behind the segmentations, read for the cases that are shown."""

from collections.abc import Mapping, Sequence

import numpy as np

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.scoring import ScoredCase
from nnunetv2_dualagg.evaluation.reading import read_image
from nnunetv2_dualagg.utils.parallel import run_threads

GREY_LEVELS = 64

Images = Mapping[str, Sequence[np.ndarray]]
"""Case -> its channels, as grey levels 0 to 63 (uint8) of the snapshot's shape."""


def read_images(scored: Sequence[ScoredCase], labels: Labels, num_threads: int) -> Images:
    """Read all channels of some cases, once for all pictures.

    Args:
        scored: the cases to show.
        labels: what ``dataset.json`` says.
        num_threads: how many cases to work on at a time.

    Raises:
        UserError: an image cannot be read, holds NaN, or is not on the grid of the reference.
    """
    channels = run_threads(lambda result: _channels(result, labels), scored, num_threads, "Reading images")
    return {result.case.name: found for result, found in zip(scored, channels, strict=True)}


def _channels(result: ScoredCase, labels: Labels) -> list[np.ndarray]:
    snapshot = result.snapshot
    volumes = (read_image(file, labels, like=snapshot.grid) for file in result.case.images)
    return [_quantise(volume.ras[snapshot.box]) for volume in volumes]


def _quantise(image: np.ndarray) -> np.ndarray:
    """Grey levels from 0 to 63 between the 0.5th and 99.5th percentile of what is not zero."""
    foreground = image[image != 0]
    low, high = np.percentile(foreground, (0.5, 99.5)) if foreground.size else (0, 1)
    scaled = (np.clip(image, low, high) - low) / max(high - low, np.finfo(float).tiny)
    return np.round(scaled * (GREY_LEVELS - 1)).astype(np.uint8)
