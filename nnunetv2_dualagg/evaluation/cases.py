"""What is compared: labels, cases and sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_dualagg.evaluation.metrics.aggregate import ALL_SITES
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import DatasetJson, Sites
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.names import is_text


@dataclass(frozen=True)
class Labels:
    """What ``dataset.json`` says about the segmentations.

    Attributes:
        tissues: foreground name -> the label values that belong to it (several for a region).
        ignore: the label value of voxels to leave out, or None.
        ignored_may_be: the label values that such a voxel may have in truth, if ``dataset.json`` says so as that of
            ``convert_bobs`` does. It is then left out for these only; any other tissue that is found there is wrong.
        channels: the names of the image channels, in nnU-Net's order.
        file_ending: such as ``.nii.gz``.
        content: the whole ``dataset.json``, for nnU-Net's choice of reader.
    """

    tissues: Mapping[str, tuple[int, ...]]
    ignore: int | None
    channels: tuple[str, ...]
    file_ending: str
    content: Mapping[str, Any] = field(repr=False)
    ignored_may_be: frozenset[int] | None = None

    @property
    def known_values(self) -> set[int]:
        """Every label value that a segmentation may hold, also of tissues that are not looked at."""
        values = (value if isinstance(value, list) else [value] for value in self.content["labels"].values())
        return {0, *(value for several in values for value in several)}

    def only(self, tissues: Sequence[str]) -> "Labels":
        """The same, of some tissues.

        Raises:
            UserError: ``dataset.json`` has no such tissue.
        """
        if unknown := [name for name in tissues if name not in self.tissues]:
            raise UserError(f"there is no tissue {unknown[0]}; expected some of {', '.join(self.tissues)}")
        return replace(self, tissues={name: values for name, values in self.tissues.items() if name in tissues})

    def to_measure(self, tissue: str, reference: np.ndarray) -> np.ndarray:
        """The voxels in which a tissue is measured, a boolean array.

        Args:
            tissue: its name.
            reference: label values of any shape.
        """
        if self.ignore is None:
            return np.ones(reference.shape, bool)
        known = self.ignored_may_be is not None and self.ignored_may_be.isdisjoint(self.tissues[tissue])
        return np.ones(reference.shape, bool) if known else reference != self.ignore

    def wrong(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Where a segmentation is wrong in one of the tissues, a boolean array.

        Args:
            values: its label values.
            reference: label values of the same shape.
        """
        found = self.paint(values)
        differs = found != self.paint(reference)
        if self.ignore is None:
            return differs
        impossible: np.ndarray | bool = False
        if self.ignored_may_be is not None:
            impossible = (found > 0) & ~np.isin(values, list(self.ignored_may_be))
        return np.where(reference == self.ignore, impossible, differs)

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
    content = read_json(file, DatasetJson)
    tissues = {}
    for name, value in content["labels"].items():
        values = tuple(value) if isinstance(value, list) else (value,)
        if name != "ignore" and set(values) != {0}:
            tissues[name] = values
    if not tissues:
        raise UserError(f"{file} declares no foreground label, expected at least one besides background")
    channels = tuple((content.get("channel_names") or {}).values())
    ignore, may_be = content["labels"].get("ignore"), content.get("ignored_may_be")
    if isinstance(ignore, list):
        raise UserError(f"{file}: labels.ignore is {ignore}; expected one whole number")
    if may_be is not None:
        if unknown := [name for name in may_be if name not in content["labels"]]:
            raise UserError(f"{file} says ignored_may_be: {unknown[0]}; expected some of its labels")
        given = (content["labels"][name] for name in may_be)
        may_be = frozenset(value for one in given for value in (one if isinstance(one, list) else [one]))
    return Labels(tissues, ignore, channels, content["file_ending"], content, may_be)


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
    content = read_json(file, Sites)
    sites = {case: entry["site"] if isinstance(entry, dict) else entry for case, entry in content.items()}
    for case, site in sites.items():
        if site == ALL_SITES or not site.strip() or not is_text(site):
            raise UserError(f"{file} gives the site {site!r} for case {case}; expected another name")
    return sites
