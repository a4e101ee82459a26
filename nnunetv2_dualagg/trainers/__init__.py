"""Trainers for ``nnUNetv2_train -tr``; nnU-Net finds them through ``nnUNet_extTrainer="$(nnUNetv2_dualagg path)"``."""

from nnunetv2_dualagg.trainers.default import (
    nnUNetTrainerDualAgg,
    nnUNetTrainerDualAgg_1epoch,
    nnUNetTrainerDualAgg_5epochs,
    nnUNetTrainerDualAgg_50epochs,
    nnUNetTrainerDualAgg_250epochs,
)

__all__ = [
    "nnUNetTrainerDualAgg",
    "nnUNetTrainerDualAgg_1epoch",
    "nnUNetTrainerDualAgg_5epochs",
    "nnUNetTrainerDualAgg_50epochs",
    "nnUNetTrainerDualAgg_250epochs",
]
