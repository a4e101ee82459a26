"""nnU-Net's trainer and ours with 80 iterations, for scripts/life_cycle.sh.

This is also how to derive a trainer of your own: a module in a folder of its own, with that folder in
nnUNet_extTrainer behind the one of nnunetv2_dualagg.
"""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers import nnUNetTrainerDualAgg


class nnUNetTrainerTiny(nnUNetTrainer):
    """Four epochs of 20 iterations."""

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
        self.num_epochs = 4
        self.num_iterations_per_epoch = 20
        self.num_val_iterations_per_epoch = 4


class nnUNetTrainerTinyDualAgg(nnUNetTrainerTiny, nnUNetTrainerDualAgg):
    """The same for the dual aggregation network."""
