"""Every trainer at every length: ``nnUNetTrainerDualAgg_20epochs`` is nnUNetTrainerDualAgg with 20 epochs.

nnU-Net knows a trainer by the name of its class alone, so a length has to be part of the name. The classes are made
when they are asked for.
"""

from functools import cache

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers.preset import PresetTrainer


@cache
def with_length(trainer: type[nnUNetTrainer], name: str, num_epochs: int) -> type[nnUNetTrainer]:
    """The same trainer with another number of epochs.

    Args:
        trainer: the trainer.
        name: the name of the new class; asked for again, it is the same class.
        num_epochs: number of epochs.
    """
    bases = (trainer,) if issubclass(trainer, PresetTrainer) else (PresetTrainer, trainer)
    # pickle finds the class in that module, by its __getattr__
    content = {"presets": {"num_epochs": num_epochs}, "__module__": "nnunetv2_dualagg.trainers"}
    made = type(name, bases, content)
    made.__doc__ = f":class:`{trainer.__name__}` with {num_epochs} epoch(s)."
    return made
