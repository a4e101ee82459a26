"""nnU-Net's sliding window, with several windows at a time and none where there is no brain."""

import contextlib
import io
from collections.abc import Sequence
from itertools import compress, product
from math import prod

import numpy as np
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
        sums = torch.zeros((heads + 1, *data.shape[1:]), device=results)  # weighted logits, and the weights
        background = self._known_background(data.shape[0], heads)
        empty = are_empty(data, slicers) if background is not None else [False] * len(slicers)
        full = [where for where, nothing in zip(slicers, empty, strict=True) if not nothing]
        size = max(1, VOXELS_AT_ONCE.get(self.device.type, 2**18) // prod(patch))
        with tqdm(total=len(slicers), unit="window", leave=False, disable=not self.allow_tqdm) as bar:
            for group in (full[start : start + size] for start in range(0, len(full), size)):
                batch = torch.stack([data[where] for where in group]).to(self.device)
                values = self._internal_maybe_mirror_and_predict(batch).to(results, torch.float32)
                for where, weighted in zip(group, _weighted(values, weight), strict=True):
                    sums[where].add_(weighted)
                bar.update(len(group))
            if background is not None:
                (weighted,) = _weighted(background.to(results, torch.float32).expand(1, heads, *patch), weight)
                for where in compress(slicers, empty):
                    sums[where].add_(weighted)
        return sums[:-1].div_(sums[-1])

    def _known_background(self, channels: int, heads: int) -> Tensor | None:
        """The logits that the network gives where the image is 0, (1, classes, 1, ...), if they are known."""
        modules = dict(self.network.named_modules())
        rule = modules.get("known_background")
        if rule is None or not bool(rule.state_dict()["rule"][0]):
            return None
        shape = [1] * len(self.configuration_manager.patch_size)
        device = next(self.network.parameters()).device
        zeros = (torch.zeros(1, n, *shape, device=device) for n in (heads, channels))
        return rule(*zeros)


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Logits (N, classes, *patch) times the weight (*patch) of each voxel, and the weight behind them as a channel."""
    return torch.cat([values * weight, weight.expand(len(values), 1, *weight.shape)], dim=1)


def are_empty(data: Tensor, slicers: Sequence[tuple[slice | int, ...]]) -> list[bool]:
    """Whether an image is 0 all over each window; one look at the image serves all windows.

    Args:
        data: (C, *spatial).
        slicers: windows, the first slice for the channels.
    """
    image = (data != 0).any(dim=0).cpu().numpy()
    below = np.pad(image, [(1, 0)] * image.ndim).astype(np.int32)  # voxels that are not 0 below each corner
    for axis in range(image.ndim):
        np.cumsum(below, axis, dtype=np.int32, out=below)
    bounds = [[(s.start, s.stop) if isinstance(s, slice) else (s, s + 1) for s in where[1:]] for where in slicers]
    corners = np.array(bounds).transpose(1, 2, 0)  # axis, start or stop, window
    count = np.zeros(len(slicers), np.int64)
    for ends in product((0, 1), repeat=image.ndim):
        sign = (-1) ** (image.ndim - sum(ends))
        count += sign * below[tuple(corners[axis, end] for axis, end in enumerate(ends))]
    return (count == 0).tolist()
