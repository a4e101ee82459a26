"""Find the files of Baby Open Brains and sort them by session, wherever the user has put them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_dualagg.dataset_conversion.folders import visible_files
from nnunetv2_dualagg.utils.errors import UserError

AGES = range(1, 9)  # months

_KINDS = {"t1w": "T1", "t2w": "T2", "aseg_dseg": "label"}
# The data set's documentation also writes desc-T1w; the files that are handed out do not.
_FILE = re.compile(
    r"sub-([a-z0-9]+)_ses-(\d+)mo(?:_space-[a-z0-9]+)?_(?:desc-)?(t1w|t2w|aseg_dseg)\.nii(?:\.gz)?", re.IGNORECASE
)


@dataclass
class Session:
    """One visit of one infant.

    Attributes:
        subject: the infant, as in ``sub-116845``, without ``sub-``.
        age: in whole months, as in ``ses-6mo``.
        files: path by kind: "T1", "T2" and "label".
    """

    subject: str
    age: int
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def case(self) -> str:
        """nnU-Net's case identifier."""
        return f"BOBs_{self.subject}_{self.age}mo"


def session_file(name: str) -> tuple[str, int, str] | None:
    """What a file's name says: infant, age in months and kind ("T1", "T2", "label"); None if it is none of BOBs'."""
    found = _FILE.fullmatch(name)
    return (found[1], int(found[2]), _KINDS[found[3].lower()]) if found else None


def find_sessions(folders: Iterable[Path | str], ages: Iterable[int] | None = None) -> tuple[list[Session], list[str]]:
    """Find BOBs' files under some folders, at any depth and in any letter case.

    Args:
        folders: folders with files named ``sub-X_ses-Nmo_..._T1w``, ``_T2w`` and ``_desc-aseg_dseg`` (``.nii.gz`` or
            ``.nii``). Hidden files, ``__MACOSX`` and files of other names are passed over.
        ages: in months; None for all.

    Returns:
        The sessions by infant and age, and a sentence for each file that comes twice.

    Raises:
        UserError: a folder does not exist, or there is no such file, or none of these ages.
    """
    roots = [Path(folder) for folder in folders]
    sessions: dict[tuple[str, int], Session] = {}
    problems = []
    for _, path in visible_files(roots, "Baby Open Brains"):
        if found := session_file(path.name):
            subject, age, kind = found
            session = sessions.setdefault((subject, age), Session(subject, age))
            first = session.files.setdefault(kind, path)
            if first != path:
                problems.append(f"{path} is a second {kind} of {session.case}, after {first}; expected one")
    where = ", ".join(map(str, roots))
    if not sessions:
        names = "sub-X_ses-Nmo_..._T1w, _T2w and _desc-aseg_dseg as .nii.gz or .nii"
        raise UserError(f"{where}: found no files of Baby Open Brains; expected {names}")
    wanted = {age for _, age in sessions} if ages is None else set(ages)
    chosen = [session for (_, age), session in sorted(sessions.items()) if age in wanted]
    if not chosen:
        there, asked = (_months(numbers) for numbers in ({age for _, age in sessions}, wanted))
        raise UserError(f"{where}: found sessions of {there} months only; expected some of {asked} months (-ages)")
    return chosen, problems


def _months(ages: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ages)))
