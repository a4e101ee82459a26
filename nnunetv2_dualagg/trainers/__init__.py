"""Trainers for ``nnUNetv2_train -tr``; nnU-Net finds them through ``nnUNet_extTrainer="$(nnUNetv2_dualagg path)"``.

Each also exists with another number of epochs: append ``_1epoch``, ``_20epochs``, ... to its name.
So does nnU-Net's own ``nnUNetTrainer``, for comparisons of any length.
"""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers.default import (
    nnUNetTrainerDualAgg,
    nnUNetTrainerDualAggBaseline,
    nnUNetTrainerDualAggDA5,
    nnUNetTrainerDualAggNoAttention,
    nnUNetTrainerDualAggNoDCP,
    nnUNetTrainerDualAggNoForeground,
)
from nnunetv2_dualagg.trainers.foreground import nnUNetTrainerForeground
from nnunetv2_dualagg.trainers.lengths import with_length
from nnunetv2_dualagg.trainers.paper import (
    nnUNetTrainerDualAggPaper,
    nnUNetTrainerDualAggPaperBaseline,
    nnUNetTrainerDualAggPaperNoAttention,
    nnUNetTrainerDualAggPaperNoDCP,
)
from nnunetv2_dualagg.trainers.site import (
    nnUNetTrainerDualAggSite,
    nnUNetTrainerForegroundSite,
    nnUNetTrainerSite,
)
from nnunetv2_dualagg.trainers.synthetic import nnUNetTrainerDualAggSynthetic, nnUNetTrainerSynthetic
from nnunetv2_dualagg.utils.trainer_names import parse_length

__all__ = [
    "nnUNetTrainerDualAgg",
    "nnUNetTrainerDualAggBaseline",
    "nnUNetTrainerDualAggDA5",
    "nnUNetTrainerDualAggNoAttention",
    "nnUNetTrainerDualAggNoDCP",
    "nnUNetTrainerDualAggNoForeground",
    "nnUNetTrainerDualAggPaper",
    "nnUNetTrainerDualAggPaperBaseline",
    "nnUNetTrainerDualAggPaperNoAttention",
    "nnUNetTrainerDualAggPaperNoDCP",
    "nnUNetTrainerDualAggSite",
    "nnUNetTrainerDualAggSynthetic",
    "nnUNetTrainerForeground",
    "nnUNetTrainerForegroundSite",
    "nnUNetTrainerSite",
    "nnUNetTrainerSynthetic",
]


def __getattr__(name: str) -> type[nnUNetTrainer]:
    """A trainer of another length."""
    found = parse_length(name)
    if found is None or found[0] not in (*__all__, nnUNetTrainer.__name__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return with_length(globals()[found[0]], name, found[1])
