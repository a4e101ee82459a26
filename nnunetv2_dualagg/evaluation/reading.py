"""Reading images and segmentations the way nnU-Net does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_dualagg.dataset_conversion.volumes import open_volume
from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.orientation import to_ras
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import regular_file

GEOMETRY_TOLERANCE = 1e-3  # mm; NIfTI stores positions in single precision


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a file that was read.

    Attributes:
        file: where it came from.
        shape: voxels along (z, y, x).
        properties: nnU-Net's; ``properties["spacing"]`` is in mm, in the same order of axes.
    """

    file: Path
    shape: tuple[int, ...]
    properties: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Volume:
    """A file that was read.

    Attributes:
        file: where it came from.
        array: the voxels, shape (z, y, x).
        properties: nnU-Net's; ``properties["spacing"]`` is in mm, in the array's order of axes.
    """

    file: Path
    array: np.ndarray = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return Grid(self.file, self.array.shape, self.properties)

    @property
    def ras(self) -> np.ndarray:
        """The voxels as :func:`orientation.to_ras` turns them, shape (right, anterior, superior)."""
        return to_ras(self.array, self.properties)


def read_image(file: Path, labels: Labels, like: Grid | None = None) -> Volume:
    """Read an image or a segmentation with nnU-Net's reader.

    Args:
        file: the image.
        labels: what ``dataset.json`` says.
        like: the voxel grid that it must share, if any.

    Raises:
        UserError: the file cannot be read, is no single 3-D image, holds NaN, or differs from ``like`` in shape,
            spacing, origin or direction.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    finite = _check_on_disk(file)
    reader = determine_reader_writer_from_dataset_json(dict(labels.content), verbose=False)()
    try:
        array, properties = reader.read_images([str(file)])
    except Exception as error:  # each of nnU-Net's readers has its own exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(f"{file} cannot be read: {reason}") from error
    if len(array) != 1:
        raise UserError(f"{file} holds {len(array)} volumes, expected one")
    if not (finite and np.isfinite(array).all()):
        raise UserError(f"{file} holds voxels that are NaN or infinite, expected numbers")
    volume = Volume(file, array[0], properties)
    if like is not None:
        check_same_grid(volume, like)
    return volume


def read_segmentation(file: Path, labels: Labels, like: Grid | None = None) -> Volume:
    """Read a segmentation (as int16); see :func:`read_image`.

    Raises:
        UserError: as there, or the file holds a value that ``dataset.json`` does not declare.
    """
    volume = read_image(file, labels, like)
    unknown = ~np.isin(volume.array, list(labels.known_values))
    if unknown.any():
        found, expected = _listed(np.unique(volume.array[unknown])), _listed(sorted(labels.known_values))
        raise UserError(f"{file} holds the label values {found}, which dataset.json does not declare ({expected})")
    return Volume(file, volume.array.astype(np.int16), volume.properties)


def check_same_grid(volume: Volume, like: Grid) -> None:
    """A volume must lie on a voxel grid, in shape and position.

    Raises:
        UserError: shape, spacing, origin or direction differ.
    """
    found, expected = volume.array.shape[::-1], like.shape[::-1]
    if found != expected:
        raise UserError(f"{volume.file} has shape {found}, expected {expected} as in {like.file}")
    for name, ours, theirs in _geometry_pairs(volume.properties, like.properties):
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=GEOMETRY_TOLERANCE):
            raise UserError(f"{volume.file} has {name} {ours.tolist()}, expected {theirs.tolist()} as in {like.file}")


def _check_on_disk(file: Path) -> bool:
    """Whether all voxels are numbers; ITK reads NaN in NIfTI files as 0, and missing voxels too, without a word.

    Raises:
        UserError: the file is damaged. Of other formats than NIfTI, ITK itself refuses truncated files.
    """
    if not regular_file(file).name.lower().endswith((".nii", ".nii.gz")):
        return True
    volume = open_volume(file, flat=True)
    if volume.dtype.kind == "f":
        return bool(np.isfinite(volume.read()).all())
    volume.verify()
    return True


def _geometry_pairs(properties: Mapping, expected: Mapping) -> list[tuple[str, np.ndarray, np.ndarray]]:
    pairs = [("spacing", properties["spacing"], expected["spacing"])]
    for group in ("sitk_stuff", "nibabel_stuff"):
        pairs += [(key, value, expected[group][key]) for key, value in properties.get(group, {}).items()]
    return [(name, np.asarray(ours, float), np.asarray(theirs, float)) for name, ours, theirs in pairs]


def _listed(values: Sequence[float] | np.ndarray, most: int = 8) -> str:
    text = ", ".join(f"{value:g}" for value in values[:most])
    return text if len(values) <= most else f"{text}, ... ({len(values)} values)"
