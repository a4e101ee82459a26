"""A raw dataset of nnU-Net: its folder, its files, ``dataset.json`` and ``sites.json``."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunetv2_dualagg.dataset_conversion.origin import Origin, in_words
from nnunetv2_dualagg.dataset_conversion.volumes import naming
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import locked, new_directory
from nnunetv2_dualagg.utils.forms import ConvertedDatasetJson, ConvertedSites
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE

DATASET_JSON = "dataset.json"
FILE_ENDING = ".nii.gz"
MADE_BY = "convert_iseg or convert_bobs"

_PACKAGE = "nnunetv2_dualagg "


def target_folder(dataset_id: int, name: str, add: bool = False, overwrite: bool = False) -> Path:
    """The dataset's folder, once it is clear that nnU-Net would find it by its number.

    Args:
        dataset_id: nnU-Net's number for the dataset, 1 to 999.
        name: the name after the number.
        add: cases are to be added to a dataset of that name.
        overwrite: a dataset of that name may be replaced.

    Raises:
        UserError: the number is out of range or belongs to another dataset, nnUNet_raw is not set, the dataset exists
            and neither ``add`` nor ``overwrite`` is given, or there is nothing to add to.
    """
    if not 1 <= dataset_id <= 999:
        raise UserError(f"the dataset number is {dataset_id}; expected 1 to 999")
    if not nnUNet_raw.get():
        raise UserError("nnUNet_raw is not set; type: export nnUNet_raw=/the/folder/for/raw/datasets")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"the dataset's name is {name!r}; expected letters, digits and . + - _ only (-n)")
    dataset = f"Dataset{dataset_id:03d}_{name}"
    for other in find_candidate_datasets(dataset_id):
        if other != dataset:
            raise UserError(f"number {dataset_id} belongs to {other} already; expected a free one for {dataset}")
    target = Path(nnUNet_raw.require()) / dataset
    if target.exists() and not (add or overwrite):
        raise UserError(f"{target} exists already; give --overwrite to replace it or --add to add subjects to it")
    if add and not (target / SITES_FILE).is_file():
        raise UserError(f"{target} holds no {SITES_FILE}; expected a converted dataset to add to")
    return target


@contextmanager
def new_raw_dataset(
    target: Path, add: bool = False, overwrite: bool = False, inputs: Iterable[Path | str] = ()
) -> Iterator[Path]:
    """Yield a folder that becomes ``target`` when the block ends without an exception.

    Of several processes that make or change datasets of the same number, one works at a time.

    Args:
        target: from :func:`target_folder`.
        add: start with a copy of ``target``.
        overwrite: replace ``target``.
        inputs: what is read; ``target`` must hold none of it.

    Raises:
        UserError: as :func:`target_folder`, once it is this process's turn, and :func:`utils.files.new_directory`.
    """
    number, _, name = target.name.partition("_")
    with locked(target.with_name(number)):
        target_folder(int(number.removeprefix("Dataset")), name, add, overwrite)
        with new_directory(target, MADE_BY, overwrite, inputs, keep_content=add) as folder, naming(target):
            for part in ("imagesTr", "labelsTr", "imagesTs"):
                (folder / part).mkdir(exist_ok=True)
            yield folder


def image_file(folder: Path, case: str, training: bool, channel: int) -> Path:
    """Where a channel of a case goes, such as ``imagesTr/CASE_0000.nii.gz``."""
    return folder / f"images{_part(training)}" / f"{case}_{channel:04d}{FILE_ENDING}"


def label_file(folder: Path, case: str, training: bool) -> Path:
    """Where the labels of a case go, such as ``labelsTr/CASE.nii.gz``; the folder is made if it is not there."""
    parent = folder / f"labels{_part(training)}"
    parent.mkdir(exist_ok=True)
    return parent / f"{case}{FILE_ENDING}"


def merge_sites(folder: Path, new: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The content of ``sites.json``: the cases that are there already, if any, and the new ones.

    Args:
        folder: the dataset.
        new: case -> at least ``site`` and ``split`` ("training" or another).

    Raises:
        UserError: a new case is in the dataset already.
    """
    table = {}
    if (folder / SITES_FILE).exists():
        table = read_json(folder / SITES_FILE, ConvertedSites)
    for case, entry in new.items():
        if case in table:
            raise UserError(f"{case} is in the dataset already; expected other subjects to add")
        table[case] = dict(entry)
    return dict(sorted(table.items()))


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says of a dataset besides its number of cases.

    Attributes:
        name: the name after the number.
        channels: names of the image channels, in their order.
        labels: name -> value.
        origins: where the data come from, and on what terms.
        converted_by: the commands that wrote it.
        skull_stripped: whether the images show the brain alone.
        ignored_may_be: the labels that an ignored voxel may belong to, where that is known; it belongs to no other.
            ``compare`` reads it.
    """

    name: str
    channels: Sequence[str]
    labels: Mapping[str, int]
    origins: Sequence[Origin]
    converted_by: Sequence[str]
    skull_stripped: bool = True
    ignored_may_be: Sequence[str] = ()

    def joined(self, folder: Path) -> "Description":
        """This description and that of the dataset that is in the folder already, if there is one.

        Raises:
            UserError: they do not fit together.
        """
        file = folder / DATASET_JSON
        if not file.is_file():
            return self
        before = read_json(file, ConvertedDatasetJson)
        channels = list(before["channel_names"].values())
        if channels != list(self.channels):
            raise UserError(f"{file} has the channels {channels}; expected {list(self.channels)} to add to")
        if before.get("skull_stripped", True) != self.skull_stripped:
            raise UserError(
                f"{file} says skull_stripped: {not self.skull_stripped}; expected the same of what is added"
            )
        if clash := [name for name, value in self.labels.items() if before["labels"].get(name, value) != value]:
            raise UserError(f"{file} has another value for {clash[0]} than {self.labels[clash[0]]}; expected the same")
        return replace(
            self,
            labels=before["labels"] | dict(self.labels),
            origins=_together(_origins(before), self.origins),
            converted_by=_together(before["converted_by"].removeprefix(_PACKAGE).split(", "), self.converted_by),
            ignored_may_be=_together(before.get("ignored_may_be", []), self.ignored_may_be),
        )

    def write(self, folder: Path, table: Mapping[str, Mapping[str, Any]]) -> None:
        """Write ``dataset.json`` and ``sites.json``, which is ``table``, from :func:`merge_sites`."""
        save_json(table, str(folder / SITES_FILE), sort_keys=False)
        geometry = "; orientation of all files LAS"
        generate_dataset_json(
            str(folder),
            channel_names=dict(enumerate(self.channels)),
            labels=dict(self.labels),
            num_training_cases=sum(entry["split"] == "training" for entry in table.values()),
            file_ending=FILE_ENDING,
            dataset_name=self.name,
            overwrite_image_reader_writer="SimpleITKIO",  # keeps the order of the voxels; one of nnU-Net's does not
            reference=in_words(self.origins, "reference"),
            description=in_words(self.origins, "description") + geometry,
            license=in_words(self.origins, "licence"),
            converted_by=_PACKAGE + ", ".join(self.converted_by),
            origins=[asdict(origin) for origin in self.origins],
            skull_stripped=self.skull_stripped,
            **({"ignored_may_be": list(self.ignored_may_be)} if self.ignored_may_be else {}),
        )


@contextmanager
def new_converted_dataset(
    target: Path,
    description: Description,
    entries: Mapping[str, Mapping[str, Any]],
    add: bool = False,
    overwrite: bool = False,
    inputs: Iterable[Path | str] = (),
) -> Iterator[Path]:
    """Yield a folder to write images and labels to; in the end it has its tables and becomes ``target``.

    Args:
        target: from :func:`target_folder`.
        description: of what is converted; that of a dataset to which it is added is joined to it.
        entries: the cases for ``sites.json``, see :func:`merge_sites`.
        add: as for :func:`new_raw_dataset`, and likewise the others.
        overwrite: replace ``target``.
        inputs: what is read.

    Raises:
        UserError: as there, or what is added does not fit the dataset.
    """
    with new_raw_dataset(target, add, overwrite, inputs) as folder:
        joined = description.joined(folder)
        table = merge_sites(folder, entries)
        yield folder
        joined.write(folder, table)


def _origins(content: Mapping[str, Any]) -> list[Origin]:
    """Those that a ``dataset.json`` tells; datasets of version 0.1.0 tell of one, in nnU-Net's own keys."""
    if "origins" in content:
        return [Origin.of(origin) for origin in content["origins"]]
    known = {key: str(content.get(key, "")) for key in ("name", "description", "licence", "citation", "reference")}
    return [Origin(**known)]


def _together(before: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys([*before, *new]))


def _part(training: bool) -> str:
    return "Tr" if training else "Ts"
