"""nnU-Net's trainer and ours with 160 iterations, for scripts/life_cycle.sh.

This is also how to derive a trainer of your own: a module in a folder of its own, with that folder in
nnUNet_extTrainer behind the one of nnunetv2_dualagg.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2_dualagg.trainers import nnUNetTrainerDualAgg
from nnunetv2_dualagg.trainers.preset import PresetTrainer


class nnUNetTrainerTiny(PresetTrainer):
    """Four epochs of 40 iterations."""

    presets: ClassVar[Mapping[str, Any]] = {
        "num_epochs": 4,
        "num_iterations_per_epoch": 40,
        "num_val_iterations_per_epoch": 4,
    }


class nnUNetTrainerTinyDualAgg(nnUNetTrainerTiny, nnUNetTrainerDualAgg):
    """The same for the dual aggregation network."""
