"""Walking through folders of a data set as the user has them, unzipped or copied."""

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
            if path.is_dir() or path.resolve() in seen or any(p.startswith((".", "__MACOSX")) for p in parts):
                continue
            seen.add(path.resolve())
            yield root, path
