"""The segmentations of a case as pictures need them, so that the files are read only once, to be scored."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nnunetv2_dualagg.evaluation.reading import Grid, Volume

MARGIN = 10  # voxels around what is segmented


@dataclass(frozen=True)
class Snapshot:
    """Reference and predictions, turned to RAS, cropped to what is segmented, and compressed in memory.

    Attributes:
        grid: the reference's voxel grid.
        box: the part of the (right, anterior, superior) array that is kept.
        shape: of that part.
    """

    grid: Grid
    box: tuple[slice, ...]
    shape: tuple[int, ...]
    _reference: bytes = field(repr=False)
    _predictions: Mapping[str, bytes] = field(repr=False)

    @property
    def reference(self) -> np.ndarray:
        """Label values of the reference, shape ``shape``, int16."""
        return self._unpack(self._reference)

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """Label values of each method's first run, shape ``shape``, int16."""
        return {method: self._unpack(packed) for method, packed in self._predictions.items()}

    def _unpack(self, packed: bytes) -> np.ndarray:
        return np.frombuffer(zlib.decompress(packed), np.int16).reshape(self.shape)


def take_snapshot(reference: Volume, predictions: Mapping[str, np.ndarray], box: tuple[slice, ...]) -> Snapshot:
    """Keep what pictures need of a case.

    Args:
        reference: its reference segmentation.
        predictions: method -> label values in RAS order, on the same grid.
        box: what to keep of these arrays.
    """
    packed = {method: _pack(array[box]) for method, array in predictions.items()}
    return Snapshot(reference.grid, box, reference.ras[box].shape, _pack(reference.ras[box]), packed)


def _pack(array: np.ndarray) -> bytes:
    return zlib.compress(array.astype(np.int16).tobytes(), level=1)
