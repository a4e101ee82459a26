"""What the public bucket of Baby Open Brains holds: every file with its size and SHA-256."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from nnunetv2_dualagg.dataset_conversion.bobs.layout import session_file

# Also https://openneuro.org/datasets/ds005450.
BASE_URL = "https://bobsrepository.s3.us-east-2.amazonaws.com/"
ARCHIVE = "V1.0.zip"  # the whole data set in one file
SESSIONS_TABLE = "phenotype/sessions.tsv"


@dataclass(frozen=True)
class RemoteFile:
    """One file of the bucket.

    Attributes:
        path: below the bucket, and below the folder that is downloaded to.
        size: in bytes.
        sha256: as hexadecimal digits.
    """

    path: str
    size: int
    sha256: str

    @property
    def session(self) -> tuple[str, int] | None:
        """Infant and age in months; None for a table."""
        found = session_file(PurePosixPath(self.path).name)
        return found[:2] if found else None


def load_registry() -> list[RemoteFile]:
    """All files, as ``registry.tsv`` lists them, which ``scripts/make_bobs_registry.py`` makes."""
    text = (files(__package__) / "registry.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return [RemoteFile(row["path"], int(row["bytes"]), row["sha256"]) for row in rows]


def of_ages(registry: Iterable[RemoteFile], ages: Iterable[int] | None) -> list[RemoteFile]:
    """The files of the sessions of these ages in months (None: all), and the tables."""
    wanted = None if ages is None else set(ages)
    return [file for file in registry if not file.session or wanted is None or file.session[1] in wanted]
