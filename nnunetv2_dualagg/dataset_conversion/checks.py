"""Checks of the images of every data set, whatever they show."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nnunetv2_dualagg.dataset_conversion.volumes import Volume
from nnunetv2_dualagg.utils.errors import UserError


def check_same_grid(volume: Volume, first: Volume) -> None:
    """Two images of a subject must have the same shape and spacing.

    Raises:
        UserError: they have not.
    """
    if volume.shape != first.shape:
        raise UserError(f"{volume.path} has shape {volume.shape}; expected {first.shape} as {first.path.name}")
    if not np.allclose(volume.spacing, first.spacing, rtol=1e-3):
        found, expected = (tuple(round(mm, 4) for mm in v.spacing) for v in (volume, first))
        raise UserError(f"{volume.path} has spacing {found} mm; expected {expected} mm as {first.path.name}")


def check_intensities(voxels: np.ndarray, path: Path) -> None:
    """An image must hold intensities.

    Raises:
        UserError: it holds NaN or infinite values, or nothing but zeros.
    """
    if not np.isfinite(voxels).all():
        raise UserError(f"{path} holds NaN or infinite values; expected intensities")
    if not voxels.any():
        raise UserError(f"{path} holds nothing but zeros; expected intensities")


def digest_of(voxels: np.ndarray) -> bytes:
    """What identifies a copy of an image, whatever the order of the voxels in memory."""
    return hashlib.sha256(voxels.ravel(order="K").data).digest()


def report(
    problems: Sequence[str], remarks: Sequence[str], summary: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """What ``--check`` prints.

    Args:
        problems: what would make the conversion fail.
        remarks: oddities that would not.
        summary: what was found, some lines.
        rows: a table, its heading first.
    """
    lines = [f"{len(problems)} problems", *(f"  - {text}" for text in problems)]
    lines += [f"{len(remarks)} remarks", *(f"  - {text}" for text in remarks), "", *summary, ""]
    return "\n".join([*lines, *_aligned(rows)])


def volume_cells(volume: Volume) -> tuple[str, str, str]:
    """Shape, spacing and type of an image for the table of a report."""
    return (
        " x ".join(map(str, volume.shape)),
        " x ".join(f"{mm:.4g}" for mm in volume.spacing),
        volume.dtype.newbyteorder("=").name,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
