"""Every trainer at every length: ``nnUNetTrainerDualAgg_20epochs`` is nnUNetTrainerDualAgg with 20 epochs.

nnU-Net knows a trainer by the name of its class alone, so a length has to be part of the name. The classes are made
when they are asked for.
"""

import re
from functools import cache

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

LENGTH = re.compile(r"(\w+?)_(1epoch|[1-9]\d*epochs)")


@cache
def with_length(trainer: type[nnUNetTrainer], name: str, num_epochs: int) -> type[nnUNetTrainer]:
    """The same trainer with another number of epochs.

    Args:
        trainer: the trainer.
        name: the name of the new class; asked for again, it is the same class.
        num_epochs: number of epochs.
    """

    class Trainer(trainer):
        # nnU-Net reads the names of these arguments; *args would not do.
        def __init__(
            self,
            plans: dict,
            configuration: str,
            fold: int,
            dataset_json: dict,
            device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own default)
        ) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs = num_epochs

    Trainer.__name__ = Trainer.__qualname__ = name
    Trainer.__module__ = "nnunetv2_dualagg.trainers"  # where pickle finds it, by that module's __getattr__
    Trainer.__doc__ = f":class:`{trainer.__name__}` with {num_epochs} epoch(s)."
    return Trainer


def parse_length(name: str) -> tuple[str, int] | None:
    """``nnUNetTrainerDualAgg_20epochs`` -> (``nnUNetTrainerDualAgg``, 20); None for a name without a length."""
    match = LENGTH.fullmatch(name)
    return (match[1], int(re.sub(r"\D", "", match[2]))) if match else None
