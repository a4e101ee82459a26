"""Convert iSeg folders into a raw dataset of nnU-Net."""

import json
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunetv2_dualagg.dataset_conversion.iseg_cases import MODALITIES, Case, read_data_set
from nnunetv2_dualagg.dataset_conversion.iseg_challenge import TISSUES
from nnunetv2_dualagg.dataset_conversion.iseg_check import Grid, mixed_codings, read_image
from nnunetv2_dualagg.dataset_conversion.iseg_images import naming, save_nifti
from nnunetv2_dualagg.errors import UserError
from nnunetv2_dualagg.files import new_directory
from nnunetv2_dualagg.parallel import run_parallel

SITES_FILE = "sites.json"


def convert_iseg(
    folders: Iterable[Path | str],
    dataset_id: int,
    *,
    year: int | None = None,
    split: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    sites: Path | str | None = None,
    add: bool = False,
    overwrite: bool = False,
    num_processes: int = 2,
) -> Path:
    """Convert folders of iSeg-2017 or iSeg-2019 into ``nnUNet_raw/DatasetXXX_iSeg20XX``.

    Training subjects go to ``imagesTr`` and ``labelsTr``, all others to ``imagesTs``, and to ``labelsTs`` if they have
    labels. Channel 0000 is T1 and 0001 is T2. All files keep the order of the voxels and get the orientation LAS.

    Args:
        folders: any of the challenge's folders, however nested.
        dataset_id: nnU-Net's number for the dataset, 1 to 999.
        year: 2017 or 2019; None to recognise it.
        split: "training", "validation" or "testing" for all subjects; None to recognise it.
        modalities: ("T1",) or ("T2",) for a dataset of one channel, whose name then ends with it.
        sites: CSV with the columns subject,site that goes before the sites inferred from the subject numbers.
        add: put the subjects into an existing dataset of the same name and channels.
        overwrite: replace an existing dataset of the same name.
        num_processes: cases converted at the same time; a worker takes less than three volumes of memory.

    Returns:
        The dataset's folder, complete.

    Raises:
        UserError: see ``docs/iseg.md`` for all that is refused; then nothing has been written.
        OSError: a file cannot be read or written; then nothing has been written either.
    """
    modalities = [kind for kind in MODALITIES if kind in modalities]
    data = read_data_set(folders, year, split, modalities, sites)
    if data.problems:
        raise UserError(data.problems[0])
    name = f"iSeg{data.year}" if len(modalities) > 1 else f"iSeg{data.year}_{modalities[0]}"
    target = _target(dataset_id, name, add, overwrite)
    with new_directory(target, overwrite or add) as folder, naming(target):
        if add:
            shutil.copytree(target, folder, dirs_exist_ok=True)
        table = _merge_sites(folder, data.cases)
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            (folder / part).mkdir(exist_ok=True)
        codings = run_parallel(partial(_convert_case, folder, modalities), data.cases, num_processes)
        if problem := mixed_codings({path: year for case in codings for path, year in case.items()}):
            raise UserError(problem)
        save_json(table, str(folder / SITES_FILE), sort_keys=False)
        generate_dataset_json(
            str(folder),
            channel_names=dict(enumerate(modalities)),
            labels=dict(TISSUES),
            num_training_cases=sum(entry["split"] == "training" for entry in table.values()),
            file_ending=".nii.gz",
            dataset_name=name,
            reference=f"https://iseg{data.year}.web.unc.edu",
            description=f"iSeg-{data.year}, 6-month infant brain MRI; order of the voxels as released, orientation LAS",
            overwrite_image_reader_writer="SimpleITKIO",  # keeps the order of the voxels; one of nnU-Net's does not
            license="by the challenge's own terms; must not be passed on",
            converted_by="nnunetv2_dualagg convert_iseg",
        )
    return target


def _target(dataset_id: int, name: str, add: bool, overwrite: bool) -> Path:
    """The dataset's folder, once it is clear that nnU-Net would find it by its number."""
    if not 1 <= dataset_id <= 999:
        raise UserError(f"the dataset number is {dataset_id}; expected 1 to 999")
    if not nnUNet_raw.get():
        raise UserError("nnUNet_raw is not set; type: export nnUNet_raw=/the/folder/for/raw/datasets")
    dataset = f"Dataset{dataset_id:03d}_{name}"
    for other in find_candidate_datasets(dataset_id):
        if other != dataset:
            raise UserError(f"number {dataset_id} belongs to {other} already; expected a free one for {dataset}")
    target = Path(nnUNet_raw.require()) / dataset
    if target.exists() and not (add or overwrite):
        raise UserError(f"{target} exists already; give --overwrite to replace it or --add to add subjects to it")
    if add and not (target / SITES_FILE).is_file():
        raise UserError(f"{target} holds no {SITES_FILE}; expected a converted iSeg dataset to add to")
    return target


def _merge_sites(folder: Path, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """The content of sites.json: the cases that are there already, if any, and the new ones."""
    table = {}
    if (folder / SITES_FILE).exists():
        table = json.loads((folder / SITES_FILE).read_text())
    for case in cases:
        if case.subject.case in table:
            raise UserError(f"{case.subject.case} is in the dataset already; expected other subjects to add")
        table[case.subject.case] = {"site": case.site, "split": case.split, "inferred": case.inferred}
    return dict(sorted(table.items()))


def _convert_case(folder: Path, modalities: Sequence[str], case: Case) -> dict[Path, int]:
    """Convert one subject; returns its label file, if any, with the year whose values that has."""
    grid, codings = None, {}
    for kind in (*modalities, "label"):
        if kind in case.subject.files:
            # No image is referred to from here, so that one at a time is in memory.
            grid, coding = _convert_image(folder, modalities, case, kind, grid)
            if coding:
                codings[case.subject.files[kind]] = coding
    return codings


def _convert_image(
    folder: Path, modalities: Sequence[str], case: Case, kind: str, grid: Grid | None
) -> tuple[Grid, int | None]:
    """Convert one image; returns the subject's grid, and of a label the year whose values it has."""
    part = "Tr" if case.split == "training" else "Ts"
    if kind == "label":
        file = folder / f"labels{part}" / f"{case.subject.case}.nii.gz"
    else:
        file = folder / f"images{part}" / f"{case.subject.case}_{modalities.index(kind):04d}.nii.gz"
    image = read_image(case.subject, kind, grid)
    grid = grid or Grid(image.volume, image.voxels != 0)
    file.parent.mkdir(exist_ok=True)
    save_nifti(image.voxels, grid.volume.spacing, file)
    return grid, image.coding
