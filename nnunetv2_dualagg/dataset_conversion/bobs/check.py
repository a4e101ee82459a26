"""Reading and validating one session of BOBs, for the converter and for its report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_dualagg.dataset_conversion.bobs.labels import CSF, GM, NAMES, TISSUE_OF, UNLABELLED, WM, WORDS, name_of
from nnunetv2_dualagg.dataset_conversion.bobs.layout import Session
from nnunetv2_dualagg.dataset_conversion.checks import check_intensities, check_same_grid, digest_of
from nnunetv2_dualagg.dataset_conversion.volumes import Volume, open_volume, recode
from nnunetv2_dualagg.utils.errors import UserError

_SAME_PLACE = 0.01  # mm; headers keep positions in single precision


@dataclass
class Image:
    """One sound image of a session.

    Attributes:
        volume: its header.
        voxels: shape (x, y, z) in the file's order; of a label, tissues as in ``labels.TISSUE_OF``.
    """

    volume: Volume
    voxels: np.ndarray


def missing_files(session: Session, modalities: Sequence[str]) -> Iterator[str]:
    """A sentence for each image or label that a session lacks."""
    names = {"T1": "T1w", "T2": "T2w", "label": "desc-aseg_dseg"}
    for kind in (*modalities, "label"):
        if kind not in session.files:
            found = ", ".join(map(str, session.files.values()))
            expected = f"sub-{session.subject}_ses-{session.age}mo_..._{names[kind]}.nii.gz"
            yield f"{session.case} has no {kind} (found {found}); expected {expected}"


def read_image(session: Session, kind: str, first: Volume | None, more: Mapping[int, int]) -> Image:
    """Read and validate one image of a session.

    Args:
        session: the session.
        kind: "T1", "T2" or "label"; the file must be there.
        first: header of the session's image that was read first; None for that one itself.
        more: what the user says of labels that are not known here.

    Raises:
        UserError: the file cannot be read, has voxels that are no intensities or labels, or is not on the same grid.
    """
    volume = open_volume(session.files[kind])
    if first:
        check_same_grid(volume, first)
        _check_same_place(volume, first)
    voxels = volume.read()
    if kind == "label":
        return Image(volume, _tissues(voxels, volume, {**TISSUE_OF, **more}))
    check_intensities(voxels, volume.path)
    return Image(volume, voxels)


class Copies:
    """Knows the images of a session that were read, and refuses a copy of one."""

    def __init__(self) -> None:
        self.seen: dict[bytes, Path] = {}

    def check(self, voxels: np.ndarray, path: Path) -> None:
        """Take note of an image.

        Raises:
            UserError: another file holds the same voxels.
        """
        first = self.seen.setdefault(digest_of(voxels), path)
        if first != path:
            raise UserError(f"{path} holds the same voxels as {first}; expected another modality")


def parse_labels(items: Sequence[str]) -> dict[int, int]:
    """``["72=CSF"]`` -> what to take a label for that is not known here.

    Raises:
        UserError: an item is something else, or the label is known.
    """
    more = {}
    for item in items:
        value, _, word = item.partition("=")
        if not value.isdecimal() or word not in WORDS:
            raise UserError(f"-labels {item} is not understood; expected VALUE=WORD, with one of {', '.join(WORDS)}")
        if int(value) in TISSUE_OF:
            raise UserError(
                f"-labels {item}: {value} is {NAMES[int(value)]}; expected a label that is not in the table"
            )
        more[int(value)] = WORDS[word]
    return more


def _tissues(voxels: np.ndarray, volume: Volume, table: Mapping[int, int]) -> np.ndarray:
    tissues, counts = recode(voxels, tuple(table), tuple(table.values()))
    if sum(counts) != voxels.size:
        values, numbers = np.unique(voxels[~np.isin(voxels, list(table))], return_counts=True)
        found = ", ".join(f"{v:g} ({name_of(v)}, {n} voxels)" for v, n in zip(values[:8], numbers[:8], strict=True))
        more = ", ..." if len(values) > 8 else ""
        raise UserError(
            f"{volume.path} holds the labels {found}{more}; expected FreeSurfer's labels as listed in docs/bobs.md, "
            f"or the tissue to use, such as -labels {values[0]:g}=CSF"
        )
    for tissue, name in ((CSF, "CSF"), (GM, "grey matter"), (WM, "white matter")):
        if not (tissues == tissue).any():
            expected = ", ".join(str(value) for value, of in table.items() if of == tissue)
            raise UserError(f"{volume.path} holds no {name}; expected some of its labels {expected}")
    return tissues


def _check_same_place(volume: Volume, first: Volume) -> None:
    found, expected = volume.affine, first.affine
    if not np.allclose(found, expected, atol=_SAME_PLACE):
        rows = [[[round(float(v), 3) for v in row] for row in affine[:3]] for affine in (found, expected)]
        raise UserError(f"{volume.path} has the affine {rows[0]}; expected {rows[1]} as {first.path.name}")


def share_of_labels_without_image(tissues: np.ndarray, voxels: np.ndarray) -> float:
    """How much of what is labelled lies where the image is 0; near to 0 if label and image belong together."""
    labelled = tissues != UNLABELLED
    return float(np.count_nonzero(labelled & (voxels == 0)) / np.count_nonzero(labelled))
