"""Convert Baby Open Brains into a raw dataset of nnU-Net."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nnunetv2_dualagg.dataset_conversion.bobs.check import Copies, missing_files, read_image
from nnunetv2_dualagg.dataset_conversion.bobs.envelope import with_ignored
from nnunetv2_dualagg.dataset_conversion.bobs.labels import IGNORE, TISSUES
from nnunetv2_dualagg.dataset_conversion.bobs.layout import Session, find_sessions
from nnunetv2_dualagg.dataset_conversion.bobs.origin import BOBS
from nnunetv2_dualagg.dataset_conversion.description import Description
from nnunetv2_dualagg.dataset_conversion.origin import origin_of
from nnunetv2_dualagg.dataset_conversion.raw_dataset import (
    image_file,
    label_file,
    new_converted_dataset,
    target_folder,
)
from nnunetv2_dualagg.dataset_conversion.volumes import in_las, save_nifti
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import run_parallel

MODALITIES = ("T1", "T2")
SITE = "BCP"  # Baby Connectome Project; which of its two scanners, UNC's or UMN's, is not published


def convert_bobs(
    folders: Iterable[Path | str],
    dataset_id: int,
    *,
    ages: Iterable[int] | None = None,
    modalities: Sequence[str] = MODALITIES,
    keep_head: bool = False,
    more_labels: Mapping[int, int] | None = None,
    name: str | None = None,
    add: bool = False,
    overwrite: bool = False,
    num_processes: int = 2,
) -> Path:
    """Convert sessions of Baby Open Brains into ``nnUNet_raw/DatasetXXX_BOBs``.

    All sessions go to ``imagesTr`` and ``labelsTr``. Channel 0000 is T1 and 0001 is T2. The labels are 0 background,
    1 CSF, 2 GM, 3 WM and 4 ignore, see ``envelope``. All files are turned to the orientation LAS, as those of
    ``convert_iseg``, and keep their place in space.

    Args:
        folders: the data set's folders, however nested.
        dataset_id: nnU-Net's number for the dataset, 1 to 999.
        ages: in months; None for all.
        modalities: ("T1",) or ("T2",) for a dataset of one channel, whose name then ends with it.
        keep_head: leave skull, cerebellum and brain stem in the images; the name then ends with ``_head``.
        more_labels: what to take labels for that are not in ``labels.TISSUE_OF``.
        name: of the dataset, after its number; None for one that begins with BOBs.
        add: put the sessions into an existing dataset of the same name and channels, which may hold iSeg's subjects.
        overwrite: replace an existing dataset of the same name.
        num_processes: sessions converted at the same time; a worker takes about 0.4 GB.

    Returns:
        The dataset's folder, complete.

    Raises:
        UserError: see ``docs/bobs.md`` for all that is refused; then nothing has been written.
        OSError: a file cannot be read or written; then nothing has been written either.
    """
    modalities, folders = [kind for kind in MODALITIES if kind in modalities], list(folders)
    sessions, problems = find_sessions(folders, ages)
    problems += [problem for session in sessions for problem in missing_files(session, modalities)]
    if problems:
        raise UserError(problems[0])
    one = [] if len(modalities) > 1 else modalities
    name = name or "_".join(["BOBs", *one, *(["head"] if keep_head else [])])
    origins = {session.case: origin_of(session.files["label"], folders, BOBS) for session in sessions}
    description = Description(
        name=name,
        channels=modalities,
        labels=TISSUES | {"ignore": IGNORE},
        origins=list(dict.fromkeys(origins.values())),
        converted_by=["convert_bobs"],
        skull_stripped=not keep_head,
        ignored_may_be=("background", "CSF"),
    )
    target = target_folder(dataset_id, name, add, overwrite)
    entries = {session.case: _entry(session, origins[session.case].name) for session in sessions}
    with new_converted_dataset(target, description, entries, add, overwrite, folders) as folder:
        label_file(folder, "", training=True)  # makes the folder, before several processes want to
        convert = partial(_convert_session, folder, modalities, keep_head, dict(more_labels or {}))
        run_parallel(convert, sessions, num_processes)
    return target


def _entry(session: Session, origin: str) -> dict[str, object]:
    """The session in ``sites.json``."""
    return {
        "site": SITE,
        "split": "training",
        "inferred": False,
        "origin": origin,
        "subject": f"BOBs_{session.subject}",
        "age": session.age,
    }


def _convert_session(
    folder: Path, modalities: Sequence[str], keep_head: bool, more: Mapping[int, int], session: Session
) -> None:
    """Convert one session: its labels first, since they say where the brain is."""
    label = read_image(session, "label", None, more)
    first, affine = label.volume, label.volume.affine
    labels = with_ignored(label.voxels, first.spacing, keep_head)
    del label
    _save(labels, affine, label_file(folder, session.case, training=True))
    copies = Copies()
    for channel, kind in enumerate(modalities):
        voxels = read_image(session, kind, first, more).voxels
        copies.check(voxels, session.files[kind])
        if not keep_head:
            voxels = np.where(labels != 0, voxels, voxels.dtype.type(0))
        _save(voxels, affine, image_file(folder, session.case, True, channel))


def _save(voxels: np.ndarray, affine: np.ndarray, file: Path) -> None:
    voxels, affine = in_las(voxels, affine)
    save_nifti(voxels, np.linalg.norm(affine[:3, :3], axis=0), file, affine)
