"""Convert iSeg folders into a raw dataset of nnU-Net."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.dataset_conversion.description import Description
from nnunetv2_dualagg.dataset_conversion.iseg.cases import MODALITIES, Case, read_data_set
from nnunetv2_dualagg.dataset_conversion.iseg.challenge import ORIGINS, TISSUES
from nnunetv2_dualagg.dataset_conversion.iseg.check import Grid, mixed_codings, read_image
from nnunetv2_dualagg.dataset_conversion.origin import Origin, origin_of
from nnunetv2_dualagg.dataset_conversion.raw_dataset import (
    image_file,
    label_file,
    new_converted_dataset,
    target_folder,
)
from nnunetv2_dualagg.dataset_conversion.volumes import save_nifti
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import run_parallel


def convert_iseg(
    folders: Iterable[Path | str],
    dataset_id: int,
    *,
    year: int | None = None,
    split: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    sites: Path | str | None = None,
    name: str | None = None,
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
        sites: CSV with the columns subject,site that overrides the sites inferred from the subject numbers.
        name: of the dataset, after its number; None for iSeg20XX.
        add: put the subjects into an existing dataset of the same name and channels.
        overwrite: replace an existing dataset of the same name.
        num_processes: cases converted at the same time; a worker takes less than three volumes of memory.

    Returns:
        The dataset's folder, complete.

    Raises:
        UserError: see ``docs/iseg.md`` for all that is refused; then nothing has been written.
        OSError: a file cannot be read or written; then nothing has been written either.
    """
    modalities, folders = [kind for kind in MODALITIES if kind in modalities], list(folders)
    data = read_data_set(folders, year, split, modalities, sites)
    if data.problems:
        raise UserError(data.problems[0])
    name = name or (f"iSeg{data.year}" if len(modalities) > 1 else f"iSeg{data.year}_{modalities[0]}")
    origins = {case.subject.case: _origin(case, folders, data.year) for case in data.cases}
    target = target_folder(dataset_id, name, add, overwrite)
    inputs = [*folders, *([sites] if sites else [])]
    entries = {case.subject.case: _entry(case, origins[case.subject.case]) for case in data.cases}
    description = Description(name, modalities, TISSUES, list(dict.fromkeys(origins.values())), ["convert_iseg"])
    with new_converted_dataset(target, description, entries, add, overwrite, inputs) as folder:
        codings = run_parallel(partial(_convert_case, folder, modalities), data.cases, num_processes)
        if problem := mixed_codings({path: year for case in codings for path, year in case.items()}):
            raise UserError(problem)
    return target


def _origin(case: Case, folders: Sequence[Path | str], year: int) -> Origin:
    """What the folder around a subject's files says; without that, they are taken for the challenge's own."""
    return origin_of(next(iter(case.subject.files.values())), folders, ORIGINS[year])


def _entry(case: Case, origin: Origin) -> dict[str, Any]:
    """The case in ``sites.json``."""
    return {"site": case.site, "split": case.split, "inferred": case.inferred, "origin": origin.name}


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
    training = case.split == "training"
    if kind == "label":
        file = label_file(folder, case.subject.case, training)
    else:
        file = image_file(folder, case.subject.case, training, modalities.index(kind))
    image = read_image(case.subject, kind, grid)
    grid = grid or Grid.of(image)
    save_nifti(image.voxels, grid.volume.spacing, file)
    return grid, image.coding
