"""Inference as nnU-Net does it: a patch, and a whole volume by sliding window."""

import contextlib
import io

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor, nn

from nnunetv2_dualagg.benchmark.setting import DATASET_JSON, Setting, build, plans_of
from nnunetv2_dualagg.benchmark.training import autocast


class Inference:
    """A network without deep supervision, in eval mode; nnU-Net does not compile it by default."""

    def __init__(self, name: str, setting: Setting, device: torch.device) -> None:
        self.device = device
        self.network = build(name, setting, deep_supervision=False).to(device).eval()
        generator = torch.Generator().manual_seed(0)
        channels = len(DATASET_JSON["channel_names"])
        self.patch = torch.randn(1, channels, *setting.patch_size, generator=generator).to(device)
        self.image = torch.randn(channels, *setting.volume, generator=generator)
        self.predictor = _predictor(self.network, setting, device)
        self.predictor.predict_sliding_window_return_logits(self.patch[0].cpu())  # weights of a window are kept

    @torch.inference_mode()
    def predict_patch(self) -> Tensor:
        """Logits (1, classes, *patch)."""
        with autocast(self.device):
            return self.network(self.patch)

    def predict_volume(self) -> Tensor:
        """Logits (classes, *volume) from half-overlapping windows, without mirroring."""
        return self.predictor.predict_sliding_window_return_logits(self.image)


def _predictor(network: nn.Module, setting: Setting, device: torch.device) -> nnUNetPredictor:
    on_device = device.type == "cuda"
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that results stay on the CPU: there is no other place
        predictor = nnUNetPredictor(
            use_mirroring=False, perform_everything_on_device=on_device, device=device, allow_tqdm=False
        )
    plans, configuration = plans_of(setting)
    predictor.manual_initialization(network, plans, configuration, None, DATASET_JSON, "nnUNetTrainer", None)
    return predictor
