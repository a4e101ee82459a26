"""One training step as nnU-Net does it."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_dualagg.benchmark.setting import DATASET_JSON, Setting, build


def autocast(device: torch.device) -> AbstractContextManager:
    """nnU-Net's rule: mixed precision on CUDA only."""
    return torch.autocast("cuda") if device.type == "cuda" else nullcontext()


class TrainingStep:
    """Forward, Dice and cross-entropy with deep supervision, backward, clipping, SGD; call it to do one step.

    On CUDA it runs in mixed precision with loss scaling, as in nnU-Net's trainer.

    Args:
        name: one of :data:`nnunetv2_dualagg.benchmark.setting.NETWORKS`.
        setting: its plans.
        device: where to run.
        loss: from :func:`make_loss`.
        compiled: whether to use torch.compile for the network.
    """

    def __init__(self, name: str, setting: Setting, device: torch.device, loss: nn.Module, compiled: bool) -> None:
        self.device = device
        self.network = build(name, setting, deep_supervision=True).to(device)
        self._run = torch.compile(self.network) if compiled else self.network
        self.optimizer = torch.optim.SGD(self.network.parameters(), 1e-2, 0.99, weight_decay=3e-5, nesterov=True)
        # A lower scale than usual (65536), at which no step is skipped for an overflow: such steps would be shorter.
        self.scaler = torch.amp.GradScaler("cuda", init_scale=1024, enabled=device.type == "cuda")
        self.loss = loss
        self.data, self.targets = random_batch(setting, device)

    def __call__(self) -> None:
        """One step on the same random batch."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device):
            loss = self.loss(self._run(self.data), self.targets)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def resting_bytes(self) -> int:
        """Weights, buffers and the optimizer's momentum, which stay between steps."""
        state = [value for values in self.optimizer.state.values() for value in values.values()]
        tensors = [*self.network.parameters(), *self.network.buffers(), *filter(torch.is_tensor, state)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def random_batch(setting: Setting, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """An image (B, C, *patch) and a label map (B, 1, *size) for each resolution with deep supervision."""
    generator = torch.Generator().manual_seed(0)
    channels, classes = len(DATASET_JSON["channel_names"]), len(DATASET_JSON["labels"])
    image = torch.randn(setting.batch_size, channels, *setting.patch_size, generator=generator)
    targets, size = [], np.array(setting.patch_size)
    for stride in setting.strides[:-1]:
        size = size // stride
        labels = torch.randint(classes, (setting.batch_size, 1, *size.tolist()), generator=generator)
        targets.append(labels.float().to(device))
    return image.to(device), targets


def make_loss(n_outputs: int, compiled: bool) -> nn.Module:
    """Dice and cross-entropy of nnU-Net's trainer for labels without regions, with deep supervision.

    Args:
        n_outputs: resolutions with deep supervision; the lowest has no weight.
        compiled: whether to use torch.compile for the Dice loss, as nnU-Net does where it compiles the network.
    """
    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(options, {}, weight_ce=1, weight_dice=1, dice_class=MemoryEfficientSoftDiceLoss)
    if compiled:
        loss.dc = torch.compile(loss.dc)
    weights = np.array([1 / 2**i for i in range(n_outputs)])
    if n_outputs > 1:
        weights[-1] = 0
    return DeepSupervisionWrapper(loss, weights / weights.sum())
