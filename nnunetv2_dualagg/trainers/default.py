"""The dual aggregation network with nnU-Net's training, its ablations and its stronger augmentation."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5

from nnunetv2_dualagg.planning.networks import BASELINE, NO_ATTENTION, NO_DCP, NO_FOREGROUND
from nnunetv2_dualagg.trainers.mixin import DualAggMixin


class nnUNetTrainerDualAgg(DualAggMixin, nnUNetTrainer):
    """The dual aggregation network with nnU-Net's default optimisation (1000 epochs)."""


class nnUNetTrainerDualAggNoAttention(nnUNetTrainerDualAgg):
    """The paper's ablation "Model-1": no attention in the decoder."""

    network_options = NO_ATTENTION


class nnUNetTrainerDualAggNoDCP(nnUNetTrainerDualAgg):
    """The paper's ablation "Model-2": residual blocks with a stride instead of dilated convolution pyramids."""

    network_options = NO_DCP


class nnUNetTrainerDualAggBaseline(nnUNetTrainerDualAgg):
    """The paper's baseline: the residual U-Net with neither."""

    network_options = BASELINE


class nnUNetTrainerDualAggNoForeground(nnUNetTrainerDualAgg):
    """Without the foreground channel and the known background."""

    network_options = NO_FOREGROUND


class nnUNetTrainerDualAggDA5(DualAggMixin, nnUNetTrainerDA5):
    """The dual aggregation network with nnU-Net's stronger augmentation."""
