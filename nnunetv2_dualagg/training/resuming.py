"""Making it safe to resume a killed training with nnU-Net's ``--c``."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunetv2_dualagg.utils.checkpoints import is_whole, load_checkpoint
from nnunetv2_dualagg.utils.errors import UserError

if sys.platform != "win32":
    import fcntl

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

    Raises:
        UserError: the checkpoint holds what nnU-Net does not write, and might run code when nnU-Net loads it.
    """
    for file in (fold / name for name in CHECKPOINTS if (fold / name).is_file()):
        if is_whole(file):
            epoch = load_checkpoint(file).get("current_epoch")
            if not isinstance(epoch, int):
                raise UserError(f"{file} does not contain its epoch; expected a checkpoint of nnU-Net")
            return epoch
        aside = file.with_name(file.name + DAMAGED)
        file.replace(aside)
        print(f"{file} is damaged, the training was probably killed writing it; it is now {aside}")
    return 0


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
    if sys.platform == "win32":
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
