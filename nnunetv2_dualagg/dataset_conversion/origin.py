"""Where data come from, and on what terms: a small file that travels with them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.json import read_json

ORIGIN_FILE = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What has to be said of data when they are used or passed on.

    Attributes:
        name: short, such as "iSeg-2019".
        description: what it is, in a few words.
        licence: its licence, or the terms in a few words.
        citation: whom to cite.
        reference: an address or a DOI.
    """

    name: str
    description: str
    licence: str
    citation: str
    reference: str

    def write(self, folder: Path) -> None:
        """Write ``origin.json`` into a folder, for all that lies in it."""
        with new_file(folder / ORIGIN_FILE, overwrite=True) as part:
            part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Origin":
        """Read an ``origin.json``.

        Raises:
            UserError: the file is no such thing.
        """
        try:
            return cls.of(read_json(file))
        except (ValueError, TypeError) as error:
            keys = ", ".join(field.name for field in fields(cls))
            raise UserError(f"{file} does not say where the data come from ({error}); expected {keys}") from error

    @classmethod
    def of(cls, content: Any) -> "Origin":
        """From what :meth:`write` has made of it.

        Raises:
            TypeError: it is something else.
        """
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise TypeError("no mapping of words")
        return cls(**content)


def origin_of(path: Path, roots: Iterable[Path | str], default: Origin) -> Origin:
    """The origin of a file: what the nearest ``origin.json`` around it says, no further out than the given folders."""
    tops = {Path(root).absolute() for root in roots}
    for folder in path.absolute().parents:
        if (folder / ORIGIN_FILE).is_file():
            return Origin.read(folder / ORIGIN_FILE)
        if folder in tops:
            break
    return default


def in_words(origins: Sequence[Origin], attribute: str) -> str:
    """One attribute of several origins as text; with their names if they differ."""
    values = {origin.name: getattr(origin, attribute) for origin in origins}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return "; ".join(f"{name}: {value}" for name, value in values.items())
