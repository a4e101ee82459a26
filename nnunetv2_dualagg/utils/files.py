"""Writing files and folders that are either complete or absent, and that never replace somebody else's.

What is being written is in a hidden workplace beside its target until it is complete. A workplace is locked by the
process that uses it. The lock ends with the process, so workplaces of killed processes can be recognised, and the next
command that writes there removes them.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nnunetv2_dualagg.utils.errors import UserError

MARK = ".nnunetv2_dualagg.json"
"""In each folder that we make: which command made it, and which files are ours. Nothing else is ever replaced."""

_WORKPLACE = ".nnunetv2_dualagg-"
_LOCK = "lock"
_OF_THE_DESKTOP = {".DS_Store", "Thumbs.db", "desktop.ini"}


@contextmanager
def new_file(target: Path | str, overwrite: bool = False, inputs: Iterable[Path | str] = ()) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to; it becomes ``target`` when the block ends without an exception.

    Args:
        target: the file to make.
        overwrite: replace a file that is there.
        inputs: what is read; the target must not be one of them.

    Raises:
        UserError: ``target`` exists, or appears meanwhile, and ``overwrite`` is False; or it is one of the inputs.
    """
    target = _absolute(target)
    _refuse_existing(target, overwrite)
    _refuse_inputs(target, inputs)
    with _workplace(target.parent) as folder:
        part = folder / target.name  # the name is kept, because writers choose the format by the file's ending
        yield part
        if overwrite:
            part.replace(target)
        else:
            _rename_file(part, target)


@contextmanager
def new_directory(
    target: Path | str,
    made_by: str,
    overwrite: bool = False,
    inputs: Iterable[Path | str] = (),
    keep_content: bool = False,
) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; it becomes ``target`` when the block ends without an exception.

    Args:
        target: the folder to make.
        made_by: the command that makes it; only a folder of the same command is ever replaced.
        overwrite: replace a folder that is there, once the new one is complete.
        inputs: what is read; the target must hold none of it.
        keep_content: begin with a copy of the folder that is there and replace that, whoever wrote its files.

    Raises:
        UserError: ``target`` exists, or appears meanwhile, and is not to be replaced; it holds files that this
            package did not write; or it holds one of the inputs.
    """
    target, replace = _absolute(target), overwrite or keep_content
    check_new_directory(target, made_by, overwrite, inputs, keep_content)
    with _workplace(target.parent) as folder:
        part = folder / "new"
        part.mkdir()  # unlike the workplace around it, with the user's default permissions
        foreign: set[str] = set()
        if keep_content:
            foreign = foreign_files(target, made_by)
            shutil.copytree(target, part, symlinks=True, dirs_exist_ok=True)
        yield part
        _write_mark(part, made_by, foreign)
        if replace and os.path.lexists(target):
            if not keep_content:
                _refuse_foreign(target, made_by)
            _swap(part, target, folder)
        else:
            _rename_directory(part, target)


def check_new_directory(
    target: Path | str,
    made_by: str,
    overwrite: bool = False,
    inputs: Iterable[Path | str] = (),
    keep_content: bool = False,
) -> None:
    """What :func:`new_directory` checks at its beginning; for commands that work for long before they write.

    Raises:
        UserError: as there.
    """
    target = _absolute(target)
    _refuse_existing(target, overwrite or keep_content)
    _refuse_inputs(target, inputs)
    if not keep_content:
        _refuse_foreign(target, made_by)


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Wait until no other process holds this lock, and hold it.

    Args:
        folder: what is locked, by a hidden file beside it; neither it nor its parent need exist.
    """
    folder = _absolute(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is working on {folder}; waiting for it to end.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        _unlock(lock, file)


def regular_file(path: Path | str) -> Path:
    """The path, if reading it can neither wait for ever nor end in a device.

    Raises:
        UserError: it is a folder, a pipe or another thing that is no file.
        OSError: there is nothing, or it cannot be looked at.
    """
    path = Path(path)
    path.stat()
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}; expected a file")
    return path


def remove_abandoned(parent: Path) -> None:
    """Remove the workplaces in a folder whose process is gone; for commands that find their files there already."""
    for left in sorted(path for path in parent.iterdir() if path.name.startswith(_WORKPLACE) and path.is_dir()):
        lock = FileLock(left / _LOCK)
        with suppress(Timeout, OSError):  # in use, or another process has just removed it, or is not ours to remove
            lock.acquire(timeout=0)
            _restore(left)
            _remove(left, lock)


def foreign_files(folder: Path, made_by: str) -> set[str]:
    """The files of a folder, relative to it, that are not in the mark that a command left there."""
    try:
        mark = json.loads((folder / MARK).read_text())
        ours = set(mark["files"]) if mark["made_by"] == made_by else set()
    except (OSError, ValueError, TypeError, KeyError):
        ours = set()
    return {name for name in _files(folder) if name not in ours and Path(name).name not in _OF_THE_DESKTOP} - {MARK}


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise UserError(f"{target} exists already; choose another place or remove it first")


def _refuse_inputs(target: Path, inputs: Iterable[Path | str]) -> None:
    real = os.path.realpath(target)
    for path in inputs:
        if os.path.realpath(path) == real or os.path.realpath(path).startswith(os.path.join(real, "")):
            raise UserError(f"{target} is or contains {path}, which is an input; choose another place to write to")


def _refuse_foreign(target: Path, made_by: str) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise UserError(f"{target} is not a folder, so it is not replaced; choose another place or remove it first")
    if not (target / MARK).is_file() and any(target.iterdir()):
        raise UserError(
            f"{target} was not made by nnUNetv2_dualagg {made_by} (it has no {MARK}), so it is not replaced; "
            "choose another place or remove it first"
        )
    foreign = sorted(foreign_files(target, made_by))
    if foreign:
        raise UserError(
            f"{target} holds {foreign[0]!r}, which nnUNetv2_dualagg {made_by} did not write, so it is not replaced; "
            "choose another place or remove it first"
        )


def _files(folder: Path) -> Iterator[str]:
    """The files below a folder, and links to whatever, relative to it."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in [*names, *links]:
            yield Path(root, name).relative_to(folder).as_posix()


def _write_mark(folder: Path, made_by: str, foreign: set[str]) -> None:
    ours = sorted(set(_files(folder)) - foreign - {MARK})
    (folder / MARK).write_text(json.dumps({"made_by": made_by, "files": ours}, indent=0))


def _rename_file(part: Path, target: Path) -> None:
    """Rename, but replace nothing: a hard link cannot, where a rename would."""
    try:
        os.link(part, target)
    except FileExistsError as error:
        raise UserError(f"{target} has appeared meanwhile; it is left alone") from error
    except OSError:  # a file system without hard links, or nothing has been written
        part.stat()
        with target.open("x"):
            pass
        part.replace(target)


def _rename_directory(part: Path, target: Path) -> None:
    """Rename; a folder that is not empty is never replaced by that."""
    try:
        part.rename(target)
    except OSError as error:
        if os.path.lexists(target):
            raise UserError(f"{target} has appeared meanwhile; it is left alone") from error
        raise


def _swap(part: Path, target: Path, workplace: Path) -> None:
    """Put ``part`` in the place of ``target``. Between the two renames a kill leaves what :func:`_restore` undoes."""
    old = workplace / "old" / target.name
    old.parent.mkdir()
    target.rename(old)
    try:
        _rename_directory(part, target)
    except BaseException:
        _restore(workplace)
        raise


def _restore(workplace: Path) -> None:
    """Bring back a folder that was to be replaced, if nothing has come into its place."""
    for old in workplace.glob("old/*"):
        place = workplace.parent / old.name
        if not os.path.lexists(place):
            old.rename(place)


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    """A locked hidden folder that is finally removed; those whose process is gone are removed first."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder, lock = _locked_folder(parent)
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _locked_folder(parent: Path) -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_WORKPLACE, dir=parent))
        lock = FileLock(folder / _LOCK)
        with suppress(Timeout, FileNotFoundError):  # another process took it for one whose process is gone
            lock.acquire(timeout=0)
            return folder, lock


def _remove(folder: Path, lock: FileLock) -> None:
    """Remove a workplace, its lock last, so that what a kill leaves of it is still known as one."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _LOCK:
            entry.unlink(missing_ok=True)
    _unlock(lock, folder / _LOCK)
    with suppress(OSError):  # what could not be removed is tried again by the next command
        folder.rmdir()


def _unlock(lock: FileLock, file: Path) -> None:
    """Release a lock and remove its file; where open files cannot be removed (Windows), in this order."""
    if os.name == "nt":
        lock.release()
        with suppress(OSError):
            file.unlink(missing_ok=True)
    else:
        file.unlink(missing_ok=True)
        lock.release()


def _absolute(path: Path | str) -> Path:
    return Path(os.path.abspath(path))
