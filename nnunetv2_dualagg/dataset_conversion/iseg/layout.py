"""Find iSeg's files and sort them by subject, wherever the user has unzipped or re-saved them."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_dualagg.dataset_conversion.folders import visible_files
from nnunetv2_dualagg.dataset_conversion.volumes import pair_name
from nnunetv2_dualagg.utils.errors import UserError

SPLITS = ("training", "validation", "testing")

_KINDS = {"t1": "T1", "t2": "T2", "label": "label"}
_FILE = re.compile(r"(?:subject[-_ ]?(\d+)[-_ ])?([a-z0-9]+)(\.hdr|\.img|\.nii|\.nii\.gz)", re.IGNORECASE)
_SUBJECT_FOLDER = re.compile(r"(?:subject[-_ ]?)?(\d{1,3})", re.IGNORECASE)
# Whole words: a folder called "latest" is not a testing set.
_SPLIT = re.compile(r"(?<![a-z])(?:(train(?:ing)?)|(val(?:id(?:ation)?)?)|(test(?:ing)?))(?![a-z])", re.IGNORECASE)


@dataclass
class Subject:
    """One infant and its files.

    Attributes:
        number: the challenge's subject number, 1 to 39.
        files: path by kind ("T1", "T2", "label"); the header stands for an Analyze pair.
        folder_split: the split that a folder around the files is named after, or None.
    """

    number: int
    files: dict[str, Path] = field(default_factory=dict)
    folder_split: str | None = None

    @property
    def case(self) -> str:
        """nnU-Net's case identifier; it keeps the subject number."""
        return f"iSeg_{self.number:03d}"


def find_subjects(folders: Iterable[Path | str]) -> tuple[list[Subject], list[str]]:
    """Find the iSeg files under some folders, at any depth and in any letter case.

    Args:
        folders: folders with files named ``subject-N-T1``, ``-T2`` and ``-label`` (``.hdr/.img``, ``.nii`` or
            ``.nii.gz``): flat, nested, or one folder per subject, where ``subject-N/T1.nii.gz`` also counts. Hidden
            files, ``__MACOSX`` and files of other names are passed over.

    Returns:
        The subjects by ascending number, and a sentence for each file that does not fit in.

    Raises:
        UserError: a folder does not exist, or there is no iSeg file at all.
    """
    subjects: dict[int, Subject] = {}
    pair_data: dict[str, Path] = {}
    problems: list[str] = []
    roots = [Path(folder) for folder in folders]
    for root, path in visible_files(roots, "iSeg files"):
        number, kind = _number_and_kind(path)
        if number is None:
            continue
        if path.suffix.lower() == ".img":
            pair_data[pair_name(path)] = path
        else:
            problems += _add(subjects.setdefault(number, Subject(number)), path, kind, _folder_split(path, root))
    if not subjects and not pair_data:
        names = "subject-N-T1, -T2 and -label as .hdr/.img, .nii or .nii.gz"
        raise UserError(f"{', '.join(map(str, roots))}: found no iSeg files; expected {names}")
    headers = {pair_name(path) for subject in subjects.values() for path in subject.files.values()}
    orphans = [path for stem, path in pair_data.items() if stem not in headers]
    problems += [f"{path} has no header; expected {path.with_suffix('.hdr').name} beside it" for path in orphans]
    return [subject for _, subject in sorted(subjects.items())], problems


def number_ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as text, such as 1-10, 12."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _number_and_kind(path: Path) -> tuple[int | None, str]:
    """The subject number and the lower-case kind in a path; the number is None for a file that is not iSeg's."""
    name = _FILE.fullmatch(path.name)
    if not name:
        return None, ""
    kind = name[2].lower()
    folder = _SUBJECT_FOLDER.fullmatch(path.parent.name)
    if name[1]:
        return int(name[1]), kind
    return (int(folder[1]) if folder and kind in _KINDS else None), kind


def _add(subject: Subject, path: Path, kind: str, split: str | None) -> Iterator[str]:
    if kind not in _KINDS:
        yield f"{path} is neither T1, T2 nor label; expected nothing else of subject {subject.number}"
        return
    first = subject.files.setdefault(_KINDS[kind], path)
    if first != path:
        yield f"{path} is a second {_KINDS[kind]} of subject {subject.number}, after {first}; expected one"
    elif split and split != (subject.folder_split or split):
        yield f"{path} is in a {split} folder but subject {subject.number}'s other files in {subject.folder_split}"
    subject.folder_split = subject.folder_split or split


def _folder_split(path: Path, root: Path) -> str | None:
    """The split in the name of the innermost telling folder; no further out than the given one."""
    for part in (*reversed(path.relative_to(root).parent.parts), os.path.basename(os.path.realpath(root))):
        if found := _SPLIT.search(part):
            return SPLITS[(found.lastindex or 0) - 1]
    return None
