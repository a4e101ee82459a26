"""Checkpoints of nnU-Net, read without running code that a stranger may have put into them.

A checkpoint is a pickle, and a pickle can call any function. nnU-Net loads it as such. What nnU-Net itself writes is
tensors, numbers, text and NumPy scalars: that much PyTorch reads safely (``weights_only``), once it knows NumPy's
few helpers. A file that passes has no other content, so that nnU-Net may load it then.
"""

import pickle
import zipfile
from _codecs import encode
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import regular_file

_SCALAR_TYPES = "?bhilqBHILQefd"
_scalar = np.float32(0).__reduce__()[0]
_reconstruct = np.zeros(1).__reduce__()[0]
SAFE_GLOBALS = [
    encode,  # of the bytes of a NumPy scalar
    np.ndarray,
    np.dtype,
    *dict.fromkeys(type(np.dtype(kind)) for kind in _SCALAR_TYPES),
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]


def is_whole(checkpoint: Path) -> bool:
    """Whether the zip archive that PyTorch writes has its table of contents, which comes last, and right checksums."""
    try:
        with zipfile.ZipFile(regular_file(checkpoint)) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError):
        return False


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU, without running code that is in it.

    Raises:
        UserError: it is damaged, holds more than nnU-Net's checkpoints do, or has no ``network_weights``.
        OSError: it cannot be read.
    """
    if not is_whole(file):
        raise UserError(f"{file} is damaged or not a checkpoint; expected a complete file of nnU-Net's training")
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).replace("\n", " ")
        found = reason[reason.find("Unsupported") :] if "Unsupported" in reason else reason
        raise UserError(
            f"{file} holds more than the numbers and texts of nnU-Net's checkpoints, and might run code: "
            f"{found[:200]}. If you trust it, use nnU-Net's own commands, which load such files"
        ) from error
    except (RuntimeError, ValueError, KeyError, EOFError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{file} cannot be read as a checkpoint: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        raise UserError(
            f"{file} has no network_weights; expected a checkpoint of nnU-Net, such as checkpoint_final.pth"
        )
    return checkpoint
