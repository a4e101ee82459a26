"""Our position attention beside a straightforward one, and its time over the size of the map."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from nnunetv2_dualagg.architectures.attention import MAX_KEY_TOKENS, PositionAttention, embed_channels
from nnunetv2_dualagg.architectures.layers import LayerFactory
from nnunetv2_dualagg.benchmark.measure import interleaved_times, median, peak_bytes
from nnunetv2_dualagg.benchmark.setting import Setting
from nnunetv2_dualagg.benchmark.training import autocast

CHANNELS = 128  # those of nnU-Net's networks at a quarter of the resolution, the largest map with attention


def naive_position_attention(attention: PositionAttention, x: Tensor) -> Tensor:
    """The same weights and equations as DANet's code would run them: two matrix products around an N x N softmax."""
    query = attention.query(x).flatten(2).transpose(1, 2) / math.sqrt(attention.query.out_channels)
    key, value = attention.key_value(x).flatten(2).chunk(2, dim=1)
    weights = torch.softmax(query @ key, dim=-1)
    attended = weights @ value.transpose(1, 2)
    return attention.project(attended.transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))


def measure_position_attention(setting: Setting, device: torch.device, repeats: int) -> dict[str, Any]:
    """Time and peak memory of forward and backward for maps of side^3 voxels, 128 channels, batch 1.

    Compared are ours with the default number of keys, ours without pooling ("exact"), and the naive one, which
    computes the same as the exact one.

    Returns:
        ``channels``, ``embed_channels``, ``max_key_tokens``; ``flash``, whether a flash attention kernel takes
        the input; ``largest_difference`` of the exact and the naive output on the smallest map as a fraction of the
        largest value; and for each of ``ours``, ``exact`` and ``naive`` by side: ``seconds`` (median),
        ``all_seconds``, ``peak_bytes``.
    """
    torch.manual_seed(0)
    ours, exact = _attention(MAX_KEY_TOKENS, device), _attention(max(setting.naive_sides) ** 3, device)
    variants: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
        "ours": (ours, setting.sides),
        "exact": (exact, setting.naive_sides),
        "naive": (lambda x: naive_position_attention(exact, x), setting.naive_sides),
    }
    runs: dict[tuple[str, int], Callable[[], None]] = {
        (variant, side): _step(function, list((ours if variant == "ours" else exact).parameters()), side, device)
        for variant, (function, sides) in variants.items()
        for side in sides
    }
    times = interleaved_times(runs, repeats, device, "position attention", warm_up=1)
    results: dict[str, Any] = {variant: {} for variant in variants}
    for (variant, side), run in runs.items():
        results[variant][side] = {
            "seconds": median(times[variant, side]),
            "all_seconds": times[variant, side],
            "peak_bytes": peak_bytes(run, device),
        }
    return {
        "channels": CHANNELS,
        "embed_channels": embed_channels(CHANNELS),
        "max_key_tokens": MAX_KEY_TOKENS,
        "flash": _flash_kernel_applies(ours, min(setting.sides), device),
        "largest_difference": _largest_difference(exact, min(setting.naive_sides), device),
        **results,
    }


def _attention(max_key_tokens: int, device: torch.device) -> PositionAttention:
    layers = LayerFactory(torch.nn.Conv3d, conv_bias=True)
    return PositionAttention(layers, CHANNELS, embed_channels(CHANNELS), max_key_tokens).to(device)


def _step(
    function: Callable[[Tensor], Tensor], weights: list[Tensor], side: int, device: torch.device
) -> Callable[[], None]:
    def run() -> None:
        x = torch.randn(1, CHANNELS, side, side, side, device=device, requires_grad=True)
        with autocast(device):
            y = function(x)
        torch.autograd.grad(y.float().sum(), [x, *weights])

    return run


def _flash_kernel_applies(attention: PositionAttention, side: int, device: torch.device) -> bool:
    """Allow nothing but flash attention, which raises RuntimeError where it cannot run."""
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION), autocast(device), torch.no_grad():
            attention(torch.randn(1, CHANNELS, side, side, side, device=device))
    except RuntimeError:
        return False
    return True


@torch.no_grad()
def _largest_difference(attention: PositionAttention, side: int, device: torch.device) -> float:
    x = torch.randn(1, CHANNELS, side, side, side, device=device)
    ours = attention(x)
    return float((naive_position_attention(attention, x) - ours).abs().max() / ours.abs().max())
