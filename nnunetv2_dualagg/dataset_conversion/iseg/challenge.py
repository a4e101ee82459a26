"""What is known about the iSeg-2017 and iSeg-2019 challenges: numbers, splits, sites and label values.

``docs/iseg.md`` says where each fact comes from and which ones are inferred.
"""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from nnunetv2_dualagg.dataset_conversion.iseg.layout import Subject
from nnunetv2_dualagg.dataset_conversion.origin import Origin
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import regular_file

TISSUES = {"background": 0, "CSF": 1, "GM": 2, "WM": 3}
# The values in the label files for background, CSF, GM and WM, by the year that uses them.
CODINGS = {2019: (0, 1, 2, 3), 2017: (0, 10, 150, 250)}
ORIGINS = {
    year: Origin(
        name=f"iSeg-{year}",
        description=f"iSeg-{year}, 6-month infant brain MRI",
        licence="by the challenge's own terms; must not be passed on",
        citation=citation,
        reference=f"https://iseg{year}.web.unc.edu",
    )
    for year, citation in {
        2017: (
            "Wang, L., et al. (2019). Benchmark on automatic six-month-old infant brain segmentation algorithms: the "
            "iSeg-2017 challenge. IEEE Transactions on Medical Imaging 38(9)."
        ),
        2019: (
            "Sun, Y., et al. (2021). Multi-site infant brain segmentation algorithms: the iSeg-2019 challenge. IEEE "
            "Transactions on Medical Imaging 40(5)."
        ),
    }.items()
}
"""What holds for the challenge's own files. A phantom says of itself that it is something else."""
# The last subject number of each split and of each testing site.
_LAST_OF_SPLIT = {
    2017: {"training": 10, "testing": 23},
    2019: {"training": 10, "validation": 23, "testing": 39},
}
_LAST_OF_SITE = {"BCP": 29, "Stanford": 34, "Emory": 39}

_YEAR = re.compile(r"iseg[-_ ]?(2017|2019)", re.IGNORECASE)


def year_of(subjects: Iterable[Subject], folders: Iterable[Path | str]) -> int | None:
    """The year in the folders' names, else 2019 if there is a subject beyond 23, else None.

    Raises:
        UserError: the names contain both years.
    """
    subjects = list(subjects)
    paths = {Path(os.path.realpath(folder)) for folder in folders}
    paths |= {Path(os.path.realpath(path)).parent for subject in subjects for path in subject.files.values()}
    by_year = {int(found[-1]): path for path in sorted(paths) if (found := _YEAR.findall(str(path)))}
    if len(by_year) > 1:
        raise UserError(f"{by_year[2017]} is iSeg-2017 but {by_year[2019]} is iSeg-2019; expected one year at a time")
    if by_year:
        return next(iter(by_year))
    return 2019 if any(subject.number > 23 for subject in subjects) else None


def split_of(subject: Subject, year: int) -> str | None:
    """The split that the subject's folder is named after, else the one of its number, else None."""
    if subject.folder_split:
        return subject.folder_split
    return next((split for split in _LAST_OF_SPLIT[year] if subject.number in known_subjects(year, split)), None)


def known_subjects(year: int, split: str) -> range:
    """The numbers of the subjects that the challenge has in a split; empty for 2017's "validation"."""
    start = 1
    for name, last in _LAST_OF_SPLIT[year].items():
        if name == split:
            return range(start, last + 1)
        start = last + 1
    return range(0)


def site_of(number: int, year: int, split: str) -> tuple[str, bool]:
    """The scanner site by subject number, and whether it is inferred rather than published by the organisers."""
    if split != "testing" or year == 2017:
        return "MAP", year == 2017
    by_number = (site for site, last in _LAST_OF_SITE.items() if 24 <= number <= last)
    return next(by_number, "unknown"), True


def read_sites(file: Path | str) -> dict[int, str]:
    """Read the user's own table of sites.

    Args:
        file: CSV with the columns ``subject`` (number) and ``site``; a row is such as ``24,BCP``.

    Raises:
        UserError: it is no such table, a subject is no number or comes twice, or a site is empty.
    """
    try:
        with open(regular_file(file), newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is not text ({error}); expected CSV with the columns subject,site") from error
    if not rows or not {"subject", "site"} <= set(rows[0]):
        raise UserError(f"{file} has the columns {','.join(rows[0]) if rows else ''}; expected subject,site")
    sites: dict[int, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        values = dict(zip(rows[0], row, strict=False))
        number, site = values.get("subject", "").strip(), values.get("site", "").strip()
        if not row:
            continue
        if not number.isdecimal() or len(number) > 9 or not site or int(number) in sites:
            raise UserError(
                f"{file}, line {line}: found '{','.join(row)}'; expected a subject number, once, and a site"
            )
        sites[int(number)] = site
    return sites
