"""One infant, from files to segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunetv2_dualagg.inference.alignment import Alignment, align, resample
from nnunetv2_dualagg.inference.brain import correct_bias, find_brain
from nnunetv2_dualagg.inference.checks import alignment_warnings, image_warnings, intensity_warnings, volume_warnings
from nnunetv2_dualagg.inference.images import Image, read_image, same_grid, turned, turned_back
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.errors import UserError

if TYPE_CHECKING:  # images are read while PyTorch and nnU-Net, which the model needs, are still being imported
    from nnunetv2_dualagg.inference.model import Model


@dataclass(frozen=True)
class Case:
    """An infant to segment.

    Attributes:
        name: for messages.
        files: an image for each channel of the model, T1 first.
        target: beginning of the names of what is written, such as OUT/sub-01.
        mask: of the brain, if any.
        stripped: whether the images are skull-stripped; None to find out.
        sources: how to call the files in the record.
        remarks: what is odd about the choice of files.
    """

    name: str
    files: tuple[Path, ...]
    target: Path
    mask: Path | None = None
    stripped: bool | None = None
    sources: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def output(self, ending: str) -> Path:
        """A file to write, such as OUT/sub-01_dseg.nii.gz."""
        return self.target.with_name(f"{self.target.name}_{ending}")


@dataclass(frozen=True)
class Options:
    """How infants are prepared and segmented.

    Attributes:
        registration: align T2 with T1; otherwise the headers are trusted.
        bias_correction: N4.
        mirroring: average over mirrored windows, if the model allows it.
        step_size: of the windows.
    """

    registration: bool = True
    bias_correction: bool = False
    mirroring: bool = True
    step_size: float = 0.5


@dataclass(frozen=True)
class Aligned:
    """Images on the grid of T1, in the order of the files.

    Attributes:
        images: T1 as it was read, and the others.
        brain: (X, Y, Z) mask.
        alignments: of each image; None for T1, and for all where the headers are trusted.
        warnings: what is odd.
    """

    images: list[Image]
    brain: NDArray[np.bool_]
    alignments: list[Alignment | None]
    warnings: list[str]


@dataclass(frozen=True)
class Prepared:
    """Images on the grid of T1, 0 outside the brain.

    Attributes:
        reference: T1 as it was read.
        images: by channel name.
        brain: (X, Y, Z) mask.
        alignments: by channel name, of those that were aligned.
        warnings: what is odd.
    """

    reference: Image
    images: dict[str, NDArray[np.float32]]
    brain: NDArray[np.bool_]
    alignments: dict[str, Alignment]
    warnings: list[str]


@dataclass(frozen=True)
class Segmentation:
    """A segmented infant.

    Attributes:
        name: of the infant.
        file: the segmentation.
        volumes: in ml by tissue.
        alignments: how images lay relative to T1, by channel name.
        warnings: what looks like an accident.
    """

    name: str
    file: Path
    volumes: dict[str, float]
    alignments: dict[str, dict[str, Any]]
    warnings: list[str]


def align_images(case: Case, options: Options) -> Aligned:
    """Read the images of an infant, find its brain, and bring the others to the grid of T1; no model is needed yet.

    Args:
        case: the infant.
        options: what to do.

    Raises:
        UserError: an image is missing or unusable, or the brain is not known.
    """
    t1 = read_image(case.files[0])
    warnings = list(case.remarks)
    if not t1.oriented:
        warnings.append(f"the header of {t1.file.name} does not say which side is left")
    brain = find_brain(t1, case.mask, case.stripped)
    images: list[Image] = [t1]
    alignments: list[Alignment | None] = [None]
    for file in case.files[1:]:
        image, alignment = read_image(file), None
        if options.registration:
            image, alignment = align(t1, image, brain)
            warnings += alignment_warnings(alignment)
        images.append(image if same_grid(image, t1) else resample(image, t1, brain))
        alignments.append(alignment)
    return Aligned(images, brain, alignments, warnings)


def prepare(
    case: Case,
    channels: list[str],
    trained: Mapping[str, Any],
    options: Options,
    ahead: Future[Aligned] | None = None,
) -> Prepared:
    """Align, mask and check the images of an infant.

    Args:
        case: the infant.
        channels: names of the model's channels.
        trained: intensities that the model was trained on.
        options: what to do.
        ahead: :func:`align_images` of the case, if another thread is at it.

    Raises:
        UserError: an image is missing or unusable, or the brain is not known.
    """
    if len(case.files) != len(channels):
        raise UserError(
            f"{case.name} has {len(case.files)} image(s), but the model needs {len(channels)}, in this order: "
            f"{', '.join(channels)}"
        )
    aligned = align_images(case, options) if ahead is None else ahead.result()
    brain, images = aligned.brain, aligned.images
    if options.bias_correction:  # it takes long: not before the model is known to be sound
        images = [correct_bias(image, brain) for image in images]
    masked = {
        name: np.where(brain, image.data, 0).astype(np.float32) for name, image in zip(channels, images, strict=True)
    }
    warnings = [
        *aligned.warnings,
        *image_warnings(masked, brain),
        *intensity_warnings(list(masked.values()), channels, brain, trained),
    ]
    alignments = {name: found for name, found in zip(channels, aligned.alignments, strict=True) if found is not None}
    return Prepared(aligned.images[0], masked, brain, alignments, warnings)


def predict(model: Model, prepared: Prepared) -> NDArray[np.uint8]:
    """Labels (X, Y, Z) on the grid of T1, 0 outside the brain."""
    affine = prepared.reference.affine
    box = bounding_box(prepared.brain)  # nnU-Net would cut the images to it, too, but after more work
    stack = [turned(image[box], affine, model.orientation) for image in prepared.images.values()]
    spacing = np.linalg.norm(stack[0][1][:3, :3], axis=0)
    found = model.predict(np.stack([data for data, _ in stack]), spacing.tolist())
    labels = np.zeros(prepared.brain.shape, np.uint8)
    labels[box] = np.where(prepared.brain[box], turned_back(found, affine, model.orientation), 0)
    return labels


def measure(labels: NDArray[np.uint8], tissues: Mapping[str, int], voxel_ml: float) -> dict[str, float]:
    """Volume in ml of each tissue."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return {name: round(float(counts[value] * voxel_ml), 3) for name, value in tissues.items()}


def summary(case: Case, prepared: Prepared, volumes: dict[str, float]) -> Segmentation:
    """What to print and to write down."""
    found = {name: {k: _rounded(v) for k, v in asdict(found).items()} for name, found in prepared.alignments.items()}
    warnings = prepared.warnings + volume_warnings(volumes)
    return Segmentation(case.name, case.output("dseg.nii.gz"), volumes, found, warnings)


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
