"""An iSeg data set as the converter takes it: subjects with their year, split and site."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_dualagg.dataset_conversion.iseg.challenge import known_subjects, read_sites, site_of, split_of, year_of
from nnunetv2_dualagg.dataset_conversion.iseg.check import read_image
from nnunetv2_dualagg.dataset_conversion.iseg.layout import Subject, find_subjects
from nnunetv2_dualagg.utils.errors import UserError

MODALITIES = ("T1", "T2")


@dataclass
class Case:
    """A subject with its place in the challenge.

    Attributes:
        subject: number and files.
        split: "training", "validation" or "testing".
        site: the scanner's site.
        inferred: the site is our guess from the subject number.
    """

    subject: Subject
    split: str
    site: str
    inferred: bool


@dataclass
class DataSet:
    """What a set of iSeg folders holds.

    Attributes:
        year: 2017 or 2019.
        year_from: how the year was recognised, in words.
        cases: by ascending subject number.
        problems: a sentence for each file too many or too few, and for each subject without a split.
    """

    year: int
    year_from: str
    cases: list[Case]
    problems: list[str]


def read_data_set(
    folders: Iterable[Path | str],
    year: int | None = None,
    split: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    sites: Path | str | None = None,
) -> DataSet:
    """Find the subjects in iSeg folders, and their year, split and site; see ``convert_iseg`` for the arguments.

    Raises:
        UserError: there are no subjects, the year cannot be recognised, or the table of sites is not valid.
    """
    folders = list(folders)
    given_sites = read_sites(sites) if sites else {}
    subjects, problems = find_subjects(folders)
    year_from = "given"
    if year is None:
        year, year_from = year_of(subjects, folders), "recognised from names or numbers"
    if year is None:
        year, year_from = _year_of_labels(subjects), "guessed from the label values"
    if year is None:
        raise UserError(
            f"{folders[0]}: the year cannot be recognised from names, numbers or labels; give -year 2017 or 2019"
        )
    cases = []
    for subject in subjects:
        subject_split = split or split_of(subject, year)
        if subject_split is None:
            path = next(iter(subject.files.values()))
            problems.append(f"{path}: iSeg-{year} knows no subject {subject.number}; expected its split (-split)")
            continue
        if not split and subject_split != "training" and _is_for_training(subject, year):
            problems.append(
                f"{subject.files['label']} is in a {subject_split} folder; expected subject {subject.number} "
                f"in iSeg-{year}'s training set (or else give -split)"
            )
        kinds = (*modalities, "label") if subject_split == "training" else modalities
        problems += [_missing(subject, kind) for kind in kinds if kind not in subject.files]
        site, inferred = site_of(subject.number, year, subject_split)
        if subject.number in given_sites:
            site, inferred = given_sites[subject.number], False
        cases.append(Case(subject, subject_split, site, inferred))
    return DataSet(year, year_from, cases, problems)


def _is_for_training(subject: Subject, year: int) -> bool:
    """Whether the subject is one of the challenge's training set, with label: hardly meant to be left out of it."""
    return "label" in subject.files and subject.number in known_subjects(year, "training")


def _missing(subject: Subject, kind: str) -> str:
    found = ", ".join(str(path) for path in subject.files.values())
    return f"subject {subject.number} has no {kind} (found {found}); expected subject-{subject.number}-{kind}"


def _year_of_labels(subjects: Iterable[Subject]) -> int | None:
    labelled = next((subject for subject in subjects if "label" in subject.files), None)
    return read_image(labelled, "label", None).coding if labelled else None
