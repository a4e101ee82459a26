"""nnU-Net's default training of the dual aggregation network, at several lengths."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_dualagg.trainers.mixin import DualAggMixin


class nnUNetTrainerDualAgg(DualAggMixin, nnUNetTrainer):
    """The dual aggregation network with nnU-Net's default optimisation (1000 epochs)."""


class nnUNetTrainerDualAgg_1epoch(nnUNetTrainerDualAgg):
    """One epoch."""

    length = 1


class nnUNetTrainerDualAgg_5epochs(nnUNetTrainerDualAgg):
    """Five epochs."""

    length = 5


class nnUNetTrainerDualAgg_50epochs(nnUNetTrainerDualAgg):
    """Fifty epochs."""

    length = 50


class nnUNetTrainerDualAgg_250epochs(nnUNetTrainerDualAgg):
    """250 epochs."""

    length = 250
