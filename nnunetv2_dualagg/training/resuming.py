"""What makes a training that was killed safe to start again with nnU-Net's ``--c``."""

import errno
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from nnunetv2_dualagg.utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")  # the order nnU-Net looks in
DAMAGED = ".damaged"
LOCK = "training.lock"


def check_checkpoints(fold: Path) -> int:
    """Set damaged checkpoints aside, and look how far the training is.

    nnU-Net writes its checkpoints in place. A training that is killed meanwhile leaves a part of one, on which every
    further ``--c`` would fail; set aside, nnU-Net resumes from the checkpoint before, or starts anew without one.

    Args:
        fold: nnU-Net's folder of the fold; it need not exist.

    Returns:
        The number of epochs behind the checkpoint from which nnU-Net will resume; 0 without one.
    """
    for file in (fold / name for name in CHECKPOINTS if (fold / name).is_file()):
        if _is_whole(file):
            return int(torch.load(file, map_location="cpu", weights_only=False)["current_epoch"])
        aside = file.with_name(file.name + DAMAGED)
        file.replace(aside)
        print(f"{file} is damaged, the training was probably killed writing it; it is now {aside}")
    return 0


def _is_whole(checkpoint: Path) -> bool:
    """Whether the zip archive that PyTorch writes has its table of contents, which comes last, and right checksums."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


@contextmanager
def only_training_of(fold: Path) -> Iterator[None]:
    """Make sure that no other process trains the same fold; the lock ends with the process, however that ends.

    Windows has no such lock: there, nothing is checked.

    Args:
        fold: nnU-Net's folder of the fold; it is made.

    Raises:
        UserError: another process, on this or another computer, is training it.
    """
    fold.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    with (fold / LOCK).open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UserError(f"another process is training {fold}; wait for it, or end it first") from error
            print(f"{fold} cannot be locked on this file system ({error.strerror}): start no second training of it")
        yield
