"""Is there tissue where the image is 0, or background inside the brain? Measured on the raw training data.

The preprocessed data cannot tell: nnU-Net counts a labelled voxel as inside the mask even where the image is 0, and
normalises it like the rest. In prediction, without labels, such a voxel is outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from tqdm import tqdm

MOST_CASES = 100
"""More would take minutes and give the same answer."""

TOLERATED = 1e-4
"""Share of voxels that may disagree: a few stray voxels of a manual segmentation do not make a rule false."""


@dataclass(frozen=True)
class BackgroundOfData:
    """Numbers of voxels, over all cases that were measured.

    Attributes:
        cases: number of cases.
        tissue: labelled voxels that are not background.
        tissue_outside: those of them where all channels are 0.
        inside: labelled voxels inside the mask, which nnU-Net draws around what is not 0.
        background_inside: those of them whose label is background.
    """

    cases: int
    tissue: int
    tissue_outside: int
    inside: int
    background_inside: int

    @property
    def outside_is_known(self) -> bool:
        """Whether there is no tissue where the image is 0."""
        return self.tissue > 0 and self.tissue_outside <= TOLERATED * self.tissue

    @property
    def inside_is_known(self) -> bool:
        """Whether there is no background inside the mask."""
        return self.inside > 0 and self.background_inside <= TOLERATED * self.inside

    def __str__(self) -> str:
        outside, inside = ("on" if known else "off" for known in (self.outside_is_known, self.inside_is_known))
        return (
            f"in {self.cases} training cases, {self.tissue_outside} of {self.tissue} tissue voxels lie where the image "
            f"is 0 (background outside: {outside}), and {self.background_inside} of {self.inside} voxels inside the "
            f"mask are background (no background inside: {inside})"
        )


def measure_background(
    raw: Path, dataset_json: dict, plans_manager: PlansManager, cases: Sequence[str]
) -> BackgroundOfData:
    """Read images and labels of the training cases and count.

    Args:
        raw: the dataset's folder in nnUNet_raw.
        dataset_json: its description.
        plans_manager: nnU-Net's plans, which name the reader and the labels.
        cases: names of the cases to measure; of more than ``MOST_CASES``, as many evenly spaced ones.

    Raises:
        FileNotFoundError: images or labels of a case are missing.
    """
    if "dataset" not in dataset_json and not (raw / "imagesTr").is_dir():
        raise FileNotFoundError(f"{raw} has no imagesTr")
    files = get_filenames_of_train_images_and_targets(str(raw), dataset_json)
    reader = plans_manager.image_reader_writer_class()
    ignored = plans_manager.get_label_manager(dataset_json).ignore_label
    chosen = sorted(cases)[:: -(-len(cases) // MOST_CASES)]
    missing = [case for case in chosen if case not in files or not _are_there(files[case])]
    if missing:
        raise FileNotFoundError(f"{raw} has no images or no label of {missing[0]}")
    counts = np.zeros(4, dtype=np.int64)
    for case in tqdm(chosen, desc="Known background", unit="case"):
        images, _ = reader.read_images(files[case]["images"])
        labels = reader.read_seg(files[case]["label"])[0][0]
        counts += _count(images, labels, ignored)
    return BackgroundOfData(len(chosen), *map(int, counts))


def _are_there(case: dict[str, Any]) -> bool:
    return all(Path(file).is_file() for file in (*case["images"], case["label"]))


def _count(images: np.ndarray, labels: np.ndarray, ignored: int | None) -> np.ndarray:
    """Images (C, Z, Y, X) and labels (Z, Y, X) -> tissue, tissue outside, inside, background inside."""
    mask = create_nonzero_mask(images)
    counted = np.ones(labels.shape, dtype=bool) if ignored is None else labels != ignored
    tissue, inside = (labels != 0) & counted, mask & counted
    values = (tissue, tissue & ~mask, inside, inside & (labels == 0))
    return np.array([np.count_nonzero(value) for value in values])
