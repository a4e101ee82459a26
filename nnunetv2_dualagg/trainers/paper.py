"""The paper's training, meant for the configuration ``3d_paper``.

The paper (section 3.1) gives Adam, a learning rate of 3.3e-3 and a weight decay of 2e-6; by the authors' checkpoints
a training has about 29,000 iterations. What it leaves open follows the code it builds on (Wang et al., "Non-local
U-Nets for Biomedical Image Segmentation", AAAI 2020): cross-entropy alone, the L2 penalty on kernels only, a constant
learning rate, patches drawn at random and neither augmented nor mirrored.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA
from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerCELoss import nnUNetTrainerCELoss
from torch.optim.lr_scheduler import LRScheduler

from nnunetv2_dualagg.planning.networks import BASELINE, NO_ATTENTION, NO_DCP
from nnunetv2_dualagg.trainers.mixin import DualAggMixin
from nnunetv2_dualagg.trainers.preset import PresetTrainer


class nnUNetTrainerDualAggPaper(PresetTrainer, DualAggMixin, nnUNetTrainerCELoss, nnUNetTrainerNoDA):
    """The paper's optimisation: 116 epochs of 250 iterations."""

    presets: ClassVar[Mapping[str, Any]] = {
        "initial_lr": 3.3e-3,
        "weight_decay": 2e-6,
        "num_epochs": 116,
        "oversample_foreground_percent": 0.0,
        "enable_deep_supervision": False,
    }

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """Adam with the L2 penalty on the kernels, at a constant learning rate."""
        parameters = list(self.network.parameters())
        kernels = [parameter for parameter in parameters if parameter.ndim > 1]
        others = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups = [{"params": kernels, "weight_decay": self.weight_decay}, {"params": others}]
        optimizer = torch.optim.Adam(groups, lr=self.initial_lr)
        # (1 - step / max_steps) ** 0 is 1: nnU-Net's own scheduler, without decay.
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, exponent=0)


class nnUNetTrainerDualAggPaperNoAttention(nnUNetTrainerDualAggPaper):
    """The paper's "Model-1" with the paper's optimisation."""

    network_options = NO_ATTENTION


class nnUNetTrainerDualAggPaperNoDCP(nnUNetTrainerDualAggPaper):
    """The paper's "Model-2" with the paper's optimisation."""

    network_options = NO_DCP


class nnUNetTrainerDualAggPaperBaseline(nnUNetTrainerDualAggPaper):
    """The paper's baseline with the paper's optimisation."""

    network_options = BASELINE
