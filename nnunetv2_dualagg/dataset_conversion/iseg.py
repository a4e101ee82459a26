"""Convert iSeg folders into a raw dataset of nnU-Net."""

import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets
from tqdm import tqdm

from nnunetv2_dualagg.dataset_conversion.iseg_challenge import CODINGS, TISSUES, Case, read_cases
from nnunetv2_dualagg.dataset_conversion.iseg_check import Grid, read_image
from nnunetv2_dualagg.dataset_conversion.iseg_images import save_nifti
from nnunetv2_dualagg.errors import UserError
from nnunetv2_dualagg.files import new_directory

MODALITIES = ("T1", "T2")
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
    year, cases, problems = read_cases(folders, year, split, modalities, sites)
    if problems:
        raise UserError(problems[0])
    name = f"iSeg{year}" if len(modalities) > 1 else f"iSeg{year}_{modalities[0]}"
    target = _target(dataset_id, name, add, overwrite)
    with new_directory(target, overwrite or add) as folder:
        if add:
            shutil.copytree(target, folder, dirs_exist_ok=True)
        table = _merge_sites(folder, cases, modalities)
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            (folder / part).mkdir(exist_ok=True)
        codings = run_parallel(partial(_convert_case, folder, tuple(modalities)), cases, num_processes)
        _check_same_coding(cases, codings)
        (folder / SITES_FILE).write_text(json.dumps(table, indent=1) + "\n")
        generate_dataset_json(
            str(folder),
            channel_names=dict(enumerate(modalities)),
            labels=dict(TISSUES),
            num_training_cases=sum(entry["split"] == "training" for entry in table.values()),
            file_ending=".nii.gz",
            dataset_name=name,
            reference=f"https://iseg{year}.web.unc.edu",
            description=f"iSeg-{year}, 6-month infant brain MRI; order of the voxels as released, orientation LAS",
            overwrite_image_reader_writer="SimpleITKIO",  # keeps the order of the voxels; one of nnU-Net's does not
            license="by the challenge's own terms; must not be passed on",
            converted_by="nnunetv2_dualagg convert_iseg",
        )
    return target


def run_parallel(function: Any, items: Sequence[Any], num_processes: int) -> list[Any]:
    """Apply a picklable function to all items, with a progress bar; the first failure by order of items is raised."""
    with _mapper(min(num_processes, len(items))) as mapper:
        return list(tqdm(mapper(function, items), total=len(items), unit="case"))


@contextmanager
def _mapper(num_processes: int) -> Iterator[Any]:
    if num_processes <= 1:
        yield map
        return
    # "spawn" is safe beside threads and the same on all systems. Ctrl-C is for the parent, who then stops the workers.
    pool = ProcessPoolExecutor(
        num_processes, get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed, probably for lack of memory; give a smaller -np") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _target(dataset_id: int, name: str, add: bool, overwrite: bool) -> Path:
    """The dataset's folder, once it is clear that nnU-Net would find it by its number."""
    if not 1 <= dataset_id <= 999:
        raise UserError(f"dataset number {dataset_id}; expected 1 to 999")
    if not nnUNet_raw.is_set():
        raise UserError("nnUNet_raw is not set; type: export nnUNet_raw=/the/folder/for/raw/datasets")
    dataset = f"Dataset{dataset_id:03d}_{name}"
    for other in find_candidate_datasets(dataset_id):
        if other != dataset:
            raise UserError(f"number {dataset_id} belongs to {other} already; expected a free one for {dataset}")
    target = Path(nnUNet_raw.require()) / dataset
    if target.exists() and not (add or overwrite):
        raise UserError(f"{target} exists already; give --overwrite to replace it or --add to add subjects to it")
    if add and not (target / SITES_FILE).is_file():
        raise UserError(f"{target} is no converted iSeg dataset; expected one to add to")
    return target


def _merge_sites(folder: Path, cases: Sequence[Case], modalities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The content of sites.json: the cases that are there already, if any, and the new ones."""
    table = {}
    if (folder / SITES_FILE).exists():
        table = json.loads((folder / SITES_FILE).read_text())
    for case in cases:
        if case.subject.case in table:
            raise UserError(f"{case.subject.case} is in the dataset already; expected other subjects to add")
        table[case.subject.case] = {"site": case.site, "split": case.split, "inferred": case.inferred}
    return dict(sorted(table.items()))


def _convert_case(folder: Path, modalities: Sequence[str], case: Case) -> int | None:
    """Convert one subject; returns the year whose label values it has, or None without label."""
    part = "Tr" if case.split == "training" else "Ts"
    grid, coding = None, None
    for kind in (*modalities, "label"):
        if kind not in case.subject.files:
            continue
        image = read_image(case.subject, kind, grid)
        grid = grid or Grid(image.volume, image.voxels != 0)
        if kind == "label":
            file, coding = folder / f"labels{part}" / f"{case.subject.case}.nii.gz", image.coding
            file.parent.mkdir(exist_ok=True)
        else:
            file = folder / f"images{part}" / f"{case.subject.case}_{modalities.index(kind):04d}.nii.gz"
        save_nifti(image.voxels, grid.volume.spacing, file)
    return coding


def _check_same_coding(cases: Sequence[Case], codings: Sequence[int | None]) -> None:
    by_coding = {coding: case.subject.files["label"] for case, coding in zip(cases, codings, strict=True) if coding}
    if len(by_coding) > 1:
        told = " but ".join(f"{path} has {CODINGS[coding]}" for coding, path in by_coding.items())
        raise UserError(f"{told}; expected the same label values in all files")


def default_num_processes() -> int:
    """As many processes as there are processors, at most 8 as nnU-Net does."""
    return min(8, os.cpu_count() or 1)
