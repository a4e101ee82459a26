"""Splits of the training cases, in nnU-Net's ``splits_final.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunetv2_dualagg.utils import forms
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.nnunet_folders import required_folder

SPLITS_FILE = "splits_final.json"
Splits = list[dict[str, list[str]]]

# What a training leaves in its fold's folder: any of it means that the fold's split is in use.
_TRACES = ("checkpoint_*.pth", "progress.png", "training_log_*.txt")


def leave_one_out(cases: Sequence[str], subjects: Mapping[str, str] | None = None) -> Splits:
    """One fold per subject, in sorted order: its cases for validation, all others for training.

    Args:
        cases: the training cases.
        subjects: case -> subject, for those that are not all of their subject.

    Raises:
        UserError: fewer than two subjects.
    """
    groups = _groups(cases, subjects)
    if len(groups) < 2:
        what = "cases" if len(groups) == len(cases) else "cases of one subject"
        raise UserError(f"there are {len(cases)} training {what}; expected at least 2 to leave one out")
    return [fold for _, group in sorted(groups.items()) for fold in hold_out(cases, group)]


def hold_out(cases: Sequence[str], validation: Sequence[str], subjects: Mapping[str, str] | None = None) -> Splits:
    """A single fold with the given cases for validation and all others for training.

    Args:
        cases: the training cases.
        validation: some of them.
        subjects: case -> subject, for those that are not all of their subject.

    Raises:
        UserError: a case is unknown, none is left for training, or a subject would be on both sides.
    """
    unknown = sorted(set(validation) - set(cases))
    if unknown:
        raise UserError(f"there is no training case {', '.join(unknown)}; expected some of {', '.join(sorted(cases))}")
    training = sorted(set(cases) - set(validation))
    if not training:
        raise UserError("all training cases are held out; expected at least one to train on")
    fold = {"train": training, "val": sorted(set(validation))}
    if divided := divided_subjects([fold], subjects):
        others = sorted(case for case in training if subjects and subjects.get(case) == divided[0])
        raise UserError(f"{', '.join(others)} would be trained on, of the same subject; hold out all of {divided[0]}")
    return [fold]


def by_subject(cases: Sequence[str], subjects: Mapping[str, str]) -> Splits:
    """Five folds as nnU-Net's, but of subjects: all cases of a subject are on the same side.

    Where each subject has one case, and its name sorts as the case's, these are nnU-Net's own folds.

    Args:
        cases: the training cases.
        subjects: case -> subject; a case that is missing here is a subject of its own.

    Raises:
        UserError: fewer than five subjects.
    """
    groups = _groups(cases, subjects)
    if len(groups) < 5:
        raise UserError(f"there are {len(groups)} subjects; expected at least 5 for five folds")
    folds = nnunet_default(list(groups))
    return [{part: sorted(c for s in fold[part] for c in groups[s]) for part in ("train", "val")} for fold in folds]


def by_site(cases: Sequence[str], sites: Mapping[str, str], subjects: Mapping[str, str] | None = None) -> Splits:
    """One fold per site, in the order of the cases' names; each trains and validates at its site alone.

    A fold is the first of the five folds by subject that the site's cases alone would have.

    Args:
        cases: the training cases.
        sites: case -> site.
        subjects: case -> subject, for those that are not all of their subject.

    Raises:
        UserError: a case has no site, or a site has fewer than five subjects.
    """
    groups: dict[str, list[str]] = {}
    for case in sorted(cases):
        if case not in sites:
            raise UserError(f"{case} has no site in sites.json; expected one for each training case")
        groups.setdefault(sites[case], []).append(case)
    folds = []
    for site, group in groups.items():
        try:
            folds.append(by_subject(group, subjects or {})[0])
        except UserError as error:
            raise UserError(f"{site}: {error}") from error
    return folds


def divided_subjects(splits: Splits, subjects: Mapping[str, str] | None) -> list[str]:
    """The subjects that a fold both trains on and validates with, sorted."""
    subjects = subjects or {}
    found = set()
    for fold in splits:
        training, validation = (
            {subjects[case] for case in fold[part] if case in subjects} for part in ("train", "val")
        )
        found |= training & validation
    return sorted(found)


def _groups(cases: Sequence[str], subjects: Mapping[str, str] | None) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for case in sorted(cases):
        groups.setdefault((subjects or {}).get(case, case), []).append(case)
    return groups


def nnunet_default(cases: Sequence[str]) -> Splits:
    """The five folds that nnU-Net makes by itself.

    Raises:
        UserError: fewer than five cases.
    """
    if len(cases) < 5:
        raise UserError(f"there are {len(cases)} training cases; expected at least 5 for nnU-Net's five folds")
    folds = generate_crossval_split(sorted(cases), seed=12345, n_splits=5)
    return [{part: [str(case) for case in fold[part]] for part in ("train", "val")} for fold in folds]


def write_splits(name: str, splits: Splits, overwrite: bool = False) -> Path:
    """Write ``nnUNet_preprocessed/DatasetXXX_Name/splits_final.json``.

    Args:
        name: the dataset's full name.
        splits: the folds.
        overwrite: replace another split, if no trained model relies on it.

    Returns:
        The file; it is left alone if it holds these folds already.

    Raises:
        UserError: models in nnUNet_results have been trained with another split, there is another split and
            ``overwrite`` is False, or the raw dataset prescribes another one.
    """
    file = required_folder(nnUNet_preprocessed) / name / SPLITS_FILE
    if read_splits(file) == splits:
        return file
    trained = trained_folds(name)
    if trained:
        raise UserError(
            f"{len(trained)} folds have been trained with the present split, {trained[0]} for one; expected none: "
            f"move them away first, or make a second dataset"
        )
    check_raw_splits(name, splits)
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists already with other folds; give --overwrite to replace it")
    with new_file(file, overwrite=True) as part:
        part.write_text(json.dumps(splits, indent=4))
    return file


def trained_folds(name: str) -> list[Path]:
    """The folders in nnUNet_results of folds that have been or are being trained; ``fold_all`` uses no split.

    Args:
        name: the dataset's full name.

    Raises:
        UserError: nnUNet_results is not set, so that nobody knows.
    """
    results = required_folder(nnUNet_results)
    # `nnUNetv2_dualagg train` keeps the results of each seed in a folder of its own.
    folds = (fold for part in (".", "seed_*") for fold in results.glob(f"{part}/{name}/*/fold_[0-9]*"))
    return sorted(fold for fold in folds if any(any(fold.glob(trace)) for trace in _TRACES))


def check_raw_splits(name: str, splits: Splits) -> None:
    """Make sure that nnU-Net's planners, which insist on a split in the raw dataset, will agree with a split.

    Raises:
        UserError: the raw dataset has a split whose folds are not the first ones of ``splits``.
    """
    if not nnUNet_raw.is_set():
        return
    file = Path(nnUNet_raw.require()) / name / SPLITS_FILE
    prescribed = read_splits(file)
    if prescribed is not None and _as_sets(prescribed) != _as_sets(splits[: len(prescribed)]):
        raise UserError(f"{file} prescribes other folds, which nnU-Net's planning would enforce; remove the file first")


def read_splits(file: Path) -> Splits | None:
    """The folds in a file; None without it.

    Raises:
        UserError: it holds something else.
    """
    if not file.is_file():
        return None
    try:
        return read_json(file, forms.Splits)
    except UserError as error:
        raise UserError(f"{error}; remove the file first") from error


def _as_sets(splits: Splits) -> list[tuple[set[str], set[str]]]:
    return [(set(fold["train"]), set(fold["val"])) for fold in splits]
