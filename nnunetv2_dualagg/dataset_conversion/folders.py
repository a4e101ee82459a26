"""Walking through folders of a data set as the user has them, unzipped or copied."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from nnunetv2_dualagg.utils.errors import UserError


def visible_files(folders: Iterable[Path], what: str) -> Iterator[tuple[Path, Path]]:
    """Each file once, with the folder it was found under, in a fixed order; hidden ones and ``__MACOSX`` are left out.

    Args:
        folders: where to look, at any depth.
        what: the data set, for the error.

    Raises:
        UserError: a folder does not exist.
    """
    seen = set()
    for root in folders:
        if not root.is_dir():
            found = "a file" if root.exists() else "nothing there"
            raise UserError(f"{root}: found {found}; expected a folder of {what} (unzip archives first)")
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            real = os.path.realpath(path)  # which follows links that lead to themselves nowhere
            if path.is_dir() or real in seen or any(p.startswith((".", "__MACOSX")) for p in parts):
                continue
            seen.add(real)
            yield root, path
