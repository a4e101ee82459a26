"""What the names of trainers say, nnU-Net's own and ours."""

import re

_EPOCHS = re.compile(r"_(?:1epoch|([1-9]\d*)epochs)(?=_|$)")


def epochs_in_name(trainer: str) -> int | None:
    """The number of epochs in a name such as ``nnUNetTrainer_20epochs_NoMirroring``; None if it has none."""
    found = _EPOCHS.search(trainer)
    return int(found[1] or 1) if found else None


def parse_length(name: str) -> tuple[str, int] | None:
    """``nnUNetTrainerDualAgg_20epochs`` -> (``nnUNetTrainerDualAgg``, 20); None for a name without a length."""
    base, _, length = name.rpartition("_")
    if not base or epochs_in_name(base) or not (epochs := epochs_in_name(f"_{length}")):
        return None
    return base, epochs
