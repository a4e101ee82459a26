"""Writing files and folders that are either complete or absent."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunetv2_dualagg.utils.errors import UserError


@contextmanager
def new_file(target: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to; it becomes ``target`` when the block ends without an exception.

    Raises:
        UserError: ``target`` exists and ``overwrite`` is False.
    """
    target = _checked(target, overwrite)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        # The name is kept, because writers choose the format by the file's ending.
        part = Path(folder) / target.name
        yield part
        part.replace(target)


@contextmanager
def new_directory(target: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; it becomes ``target`` when the block ends without an exception.

    With ``overwrite`` an existing ``target`` is replaced, but only once the new one is complete.

    Raises:
        UserError: ``target`` exists and ``overwrite`` is False.
    """
    target = _checked(target, overwrite)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        part = Path(folder) / "new"
        part.mkdir()  # unlike the temporary folder around it, with the user's default permissions
        yield part
        if target.exists():
            target.replace(Path(folder) / "old")
        part.replace(target)


def _checked(target: Path | str, overwrite: bool) -> Path:
    target = Path(target)
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already; choose another place or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
