"""nnU-Net's sliding window, with several windows at a time and none where there is no brain."""

import contextlib
import io
from math import prod
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch import Tensor
from tqdm import tqdm

VOXELS_AT_ONCE = {"cpu": 2**18, "cuda": 2**21, "mps": 2**19}
"""In all windows of a batch. On a CPU, small windows by themselves miss PyTorch's fast convolutions."""


class WindowPredictor(nnUNetPredictor):
    """Predicts what nnU-Net's predictor does; logits are added up in single instead of half precision.

    Args:
        device: where to compute.
        tile_step_size: step of the windows, as a fraction of their size.
        use_mirroring: average over mirrored windows, if the model allows it.
        progress: show a progress bar.
    """

    def __init__(
        self, device: torch.device, tile_step_size: float = 0.5, use_mirroring: bool = True, progress: bool = True
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it says that a CPU is no GPU
            super().__init__(
                tile_step_size=tile_step_size, use_mirroring=use_mirroring, device=device, allow_tqdm=progress
            )

    def _internal_predict_sliding_window_return_logits(
        self, data: Tensor, slicers: list[tuple[slice, ...]], do_on_device: bool = True
    ) -> Tensor:
        """(C, *spatial) -> logits (classes, *spatial), averaged over windows with nnU-Net's Gaussian weights."""
        results = self.device if do_on_device else torch.device("cpu")
        data = data.to(results)
        patch = tuple(self.configuration_manager.patch_size)
        weight = compute_gaussian(patch, sigma_scale=1 / 8, value_scaling_factor=10, device=results).float()
        heads = self.label_manager.num_segmentation_heads
        logits = torch.zeros((heads, *data.shape[1:]), device=results)
        weights = torch.zeros(data.shape[1:], device=results)
        size = max(1, VOXELS_AT_ONCE.get(self.device.type, 2**18) // prod(patch))
        background = self._known_background(data.shape[0], heads)
        with tqdm(total=len(slicers), unit="window", leave=False, disable=not self.allow_tqdm) as bar:
            for group in self._groups(data, slicers, size, background is not None):
                for where, values in self._predicted(data, group, background):
                    logits[where] += values.to(results, torch.float32) * weight
                    weights[where[1:]] += weight
                bar.update(len(group))
        return logits.div_(weights)

    def _known_background(self, channels: int, heads: int) -> Tensor | None:
        """The logits that the network gives where the image is 0, if it is known what they are; (classes,)."""
        modules = dict(self.network.named_modules())
        rule = modules.get("known_background")
        if rule is None or not bool(rule.state_dict()["rule"][0]):
            return None
        shape = [1] * len(self.configuration_manager.patch_size)
        device = next(self.network.parameters()).device
        zeros = (torch.zeros(1, n, *shape, device=device) for n in (heads, channels))
        return rule(*zeros).flatten()

    def _groups(self, data: Tensor, slicers: list[Any], size: int, skip: bool) -> list[list[Any]]:
        """Windows to predict together; those without any brain make up a group of their own, the last."""
        empty = [skip and not bool(data[where].any()) for where in slicers]
        full = [where for where, nothing in zip(slicers, empty, strict=True) if not nothing]
        groups = [full[start : start + size] for start in range(0, len(full), size)]
        nothing = [where for where, is_empty in zip(slicers, empty, strict=True) if is_empty]
        return groups + ([nothing] if nothing else [])

    def _predicted(self, data: Tensor, group: list[Any], background: Tensor | None) -> Any:
        """Each window of a group with its logits (classes, *patch)."""
        if background is not None and not bool(data[group[0]].any()):
            values = background.reshape(-1, *[1] * len(self.configuration_manager.patch_size))
            yield from ((where, values) for where in group)
            return
        batch = torch.stack([data[where] for where in group]).contiguous().to(self.device)
        yield from zip(group, self._internal_maybe_mirror_and_predict(batch), strict=True)
