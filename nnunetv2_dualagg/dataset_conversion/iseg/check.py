"""Validation of iSeg subjects: for the converter, which stops at the first fault, and for a report of them all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_dualagg.dataset_conversion.checks import check_intensities, check_same_grid, digest_of
from nnunetv2_dualagg.dataset_conversion.iseg.challenge import CODINGS, TISSUES
from nnunetv2_dualagg.dataset_conversion.iseg.layout import Subject
from nnunetv2_dualagg.dataset_conversion.volumes import Volume, listed, open_volume, recode
from nnunetv2_dualagg.utils.errors import UserError

# Masks of one brain agree to a few per cent, so one that fits by this much more Dice when mirrored is mirrored.
_MIRROR_MARGIN = 0.02


@dataclass
class Grid:
    """What the images of one subject must agree on.

    Attributes:
        volume: header of the subject's first image.
        mask: where that image is not zero, shape (x, y, z).
        digest: of its voxels, to know a copy of it.
    """

    volume: Volume
    mask: np.ndarray
    digest: bytes

    @classmethod
    def of(cls, image: "Image") -> "Grid":
        """That of the first image."""
        return cls(image.volume, image.voxels != 0, digest_of(image.voxels))


@dataclass
class Image:
    """One sound image of a subject.

    Attributes:
        volume: its header.
        voxels: shape (x, y, z); of a label, uint8 0 to 3 whatever the file's values.
        coding: of a label, the year whose values the file has.
        overlap: Dice coefficient of its non-zero voxels with those of the grid's image.
    """

    volume: Volume
    voxels: np.ndarray
    coding: int | None = None
    overlap: float | None = None


def read_image(subject: Subject, kind: str, grid: Grid | None) -> Image:
    """Read and validate one image.

    Args:
        subject: the subject.
        kind: "T1", "T2" or "label"; the file must be there.
        grid: from the subject's first image; None for that one itself.

    Raises:
        UserError: the file cannot be read, has voxels that are no intensities or labels, or does not fit the grid.
    """
    volume = open_volume(subject.files[kind])
    if grid:
        check_same_grid(volume, grid.volume)
    image = Image(volume, volume.read())
    if kind == "label":
        image.voxels, image.coding = _decode(image.voxels, volume.path)
    else:
        check_intensities(image.voxels, volume.path)
        if grid and digest_of(image.voxels) == grid.digest:
            raise UserError(f"{volume.path} holds the same voxels as {grid.volume.path}; expected another modality")
    if grid:
        image.overlap = _check_overlap(image, grid)
    return image


def mixed_codings(labels: dict[Path, int]) -> str | None:
    """A sentence if some label files have the values of one year and some of the other; by file, the year."""
    files = {year: path for path, year in labels.items()}
    if len(files) < 2:
        return None
    found = " but ".join(f"{path} holds {_words(CODINGS[year])}" for year, path in sorted(files.items()))
    return f"{found}; expected the same label values in all files"


def _decode(voxels: np.ndarray, path: Path) -> tuple[np.ndarray, int]:
    """Labels 0 to 3 as uint8, and the year whose values they had."""
    for year, coding in CODINGS.items():
        labels, counts = recode(voxels, coding, tuple(TISSUES.values()))
        if sum(counts) == voxels.size and all(counts[1:]):
            return labels, year
    expected = " or ".join(f"all of {_words(coding)}" for coding in CODINGS.values())
    raise UserError(f"{path} holds the values {listed(voxels)}; expected {expected}")


def _words(coding: tuple[int, ...]) -> str:
    return ", ".join(map(str, coding))


def _check_overlap(image: Image, grid: Grid) -> float:
    """The Dice coefficient with the grid's mask; refuses an image that is mirrored against it."""
    mask = image.voxels != 0
    total = np.count_nonzero(mask) + np.count_nonzero(grid.mask)
    dice = 2 * np.count_nonzero(mask & grid.mask) / total
    for axis, name in enumerate("xyz"):
        if 2 * np.count_nonzero(np.flip(mask, axis) & grid.mask) / total > dice + _MIRROR_MARGIN:
            path, first = image.volume.path, grid.volume.path
            raise UserError(f"{path} is mirrored along {name} against {first.name}; expected the same voxel order")
    return dice
