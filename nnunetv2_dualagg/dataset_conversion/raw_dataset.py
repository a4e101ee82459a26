"""A raw dataset of nnU-Net: its folder, its files, ``dataset.json`` and ``sites.json``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunetv2_dualagg.dataset_conversion.description import FILE_ENDING, Description
from nnunetv2_dualagg.dataset_conversion.volumes import naming
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import locked, new_directory
from nnunetv2_dualagg.utils.forms import ConvertedSites
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE

MADE_BY = "convert_iseg or convert_bobs"


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
    """Where the labels of a case go, such as ``labelsTr/CASE.nii.gz``; the folder is made if it is missing."""
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


@contextmanager
def new_converted_dataset(
    target: Path,
    description: Description,
    entries: Mapping[str, Mapping[str, Any]],
    add: bool = False,
    overwrite: bool = False,
    inputs: Iterable[Path | str] = (),
) -> Iterator[Path]:
    """Yield a folder to write images and labels to; finally it gets its tables and becomes ``target``.

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


def _part(training: bool) -> str:
    return "Tr" if training else "Ts"
