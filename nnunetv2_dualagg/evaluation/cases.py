"""What is compared: labels, cases and sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.json import read_json


@dataclass(frozen=True)
class Labels:
    """What ``dataset.json`` says about the segmentations.

    Attributes:
        tissues: foreground name -> the label values that belong to it (several for a region).
        ignore: the label value of voxels to leave out, or None.
        channels: the names of the image channels, in nnU-Net's order.
        file_ending: such as ``.nii.gz``.
        content: the whole ``dataset.json``, for nnU-Net's choice of reader.
    """

    tissues: Mapping[str, tuple[int, ...]]
    ignore: int | None
    channels: tuple[str, ...]
    file_ending: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def known_values(self) -> set[int]:
        """Every label value that a segmentation may hold."""
        values = {0} | {value for values in self.tissues.values() for value in values}
        return values if self.ignore is None else values | {self.ignore}

    def paint(self, array: np.ndarray) -> np.ndarray:
        """Number the tissues for a picture.

        Args:
            array: label values of any shape.

        Returns:
            uint8: 1 for the first tissue and so on, the later one where regions overlap; 0 elsewhere.
        """
        painted = np.zeros(array.shape, np.uint8)
        for number, values in enumerate(self.tissues.values(), start=1):
            painted[np.isin(array, values)] = number
        return painted


@dataclass(frozen=True)
class Case:
    """One reference segmentation and what the methods made of it.

    Attributes:
        name: the case identifier, the file name without its ending.
        site: where it was acquired; "all sites" in a comparison without sites.
        reference: the reference segmentation.
        predictions: method -> run (the folder it lies in) -> file. Several runs of a method are folds or seeds.
        images: the image channels, empty if no image folder was given.
    """

    name: str
    site: str
    reference: Path
    predictions: Mapping[str, Mapping[str, Path]]
    images: tuple[Path, ...] = ()


def load_labels(file: Path) -> Labels:
    """Read tissues, regions and the ignore label from nnU-Net's ``dataset.json``.

    Raises:
        UserError: ``labels`` or ``file_ending`` is missing, or there is no foreground label.
    """
    content = read_json(file)
    missing = [key for key in ("labels", "file_ending") if key not in content]
    if missing:
        raise UserError(f"{file} has no {' and no '.join(missing)}, expected nnU-Net's dataset.json")
    tissues = {}
    for name, value in content["labels"].items():
        values = tuple(value) if isinstance(value, list) else (value,)
        if name != "ignore" and set(values) != {0}:
            tissues[name] = values
    if not tissues:
        raise UserError(f"{file} declares no foreground label, expected at least one besides background")
    channels = tuple(content.get("channel_names", {}).values())
    return Labels(tissues, content["labels"].get("ignore"), channels, content["file_ending"], content)


def find_dataset_json(reference: Path, predictions: Mapping[str, Sequence[Path]]) -> Path:
    """The ``dataset.json`` beside the references, above them, or where nnU-Net left it with a prediction.

    Raises:
        UserError: there is none.
    """
    folders = [reference, reference.parent, *(folder for runs in predictions.values() for folder in runs)]
    for folder in folders:
        if (folder / "dataset.json").is_file():
            return folder / "dataset.json"
    raise UserError(f"no dataset.json found in {reference}, above it or in the predictions; name it with -djfile")


def load_sites(file: Path) -> dict[str, str]:
    """Read ``sites.json`` of ``convert_iseg``: ``{case: {"site": name, ...}}``; ``{case: name}`` will do too.

    Raises:
        UserError: the file has another form.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f'{file} holds a {type(content).__name__}, expected {{"case": {{"site": "name"}}}}')
    sites = {case: entry.get("site") if isinstance(entry, dict) else entry for case, entry in content.items()}
    for case, site in sites.items():
        if not isinstance(site, str):
            raise UserError(f'{file} gives no site for case {case}, expected {{"{case}": {{"site": "name"}}}}')
    return sites
