"""Parallel spatial (position) and channel self-attention, section "Attention Block" of the paper.

The idea is DANet's (Fu et al., "Dual Attention Network for Scene Segmentation", CVPR 2019), here in 2-D or 3-D and
without an N x N matrix in memory, N being the number of voxels of the map.
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_dualagg.architectures.layers import LayerFactory

# Exact for 16x16x16 maps. On a CPU the softmax of 32x32x32 maps would dominate a training step; the
# configuration 3d_paper raises the limit, so that every map of the paper's patch stays exact.
MAX_KEY_TOKENS = 16**3


class PositionAttention(nn.Module):
    """Every voxel looks at every voxel: conv(softmax(Q K^T / sqrt(C_E)) V), equations 1-3.

    Q, K and V are 1x1x1 convolutions with C_E = ``embed_channels`` channels. While a map has at most
    ``max_key_tokens`` voxels the attention is exact. Above that, keys and values (not queries) come from the
    average-pooled map, so that the cost grows linearly with the number of voxels and every query still sees the
    whole map.
    """

    def __init__(
        self, layers: LayerFactory, channels: int, embed_channels: int, max_key_tokens: int = MAX_KEY_TOKENS
    ) -> None:
        super().__init__()
        self.max_key_tokens = max_key_tokens
        self.query = layers.conv(channels, embed_channels, 1)
        self.key_value = layers.conv(channels, 2 * embed_channels, 1)
        self.project = layers.conv(embed_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) -> (B, C, *spatial)."""
        query = self.query(x)
        key, value = self.key_value(pool_to(x, self.max_key_tokens)).chunk(2, dim=1)
        attended = F.scaled_dot_product_attention(_tokens(query), _tokens(key), _tokens(value))
        return self.project(attended.squeeze(1).transpose(1, 2).reshape(query.shape))


class ChannelAttention(nn.Module):
    """Every channel looks at every channel: softmax(X X^T / N) X + X for the flattened map X (C x N), equation 4.

    The affinity sums over all N voxels. The mean keeps it independent of the patch size, and dividing X by sqrt(N)
    *before* the product, in single precision or better, keeps it from overflowing.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) -> (B, C, *spatial)."""
        flat = x.flatten(2)
        with _without_autocast(x):
            scaled = flat.to(torch.promote_types(flat.dtype, torch.float32)) / math.sqrt(flat.shape[2])
            weights = (scaled @ scaled.transpose(1, 2)).softmax(dim=-1).to(flat.dtype)
            attended = weights @ flat + flat
        return attended.reshape(x.shape)


class DualAttention(nn.Module):
    """x + scale * conv(concat(position attention, channel attention)), both on the normalised x.

    ``scale`` is learnable and starts at 0: a fresh network equals its twin without attention.
    """

    def __init__(self, layers: LayerFactory, channels: int, max_key_tokens: int = MAX_KEY_TOKENS) -> None:
        super().__init__()
        self.preact = layers.preact(channels)
        self.position = PositionAttention(layers, channels, embed_channels(channels), max_key_tokens)
        self.channel = ChannelAttention()
        self.fuse = layers.conv(2 * channels, channels, 1)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) -> (B, C, *spatial)."""
        a = self.preact(x)
        return x + self.scale * self.fuse(torch.cat([self.position(a), self.channel(a)], dim=1))


def embed_channels(channels: int) -> int:
    """C_E: a quarter of the channels, as a multiple of 16 and at least 16.

    Flash attention kernels ask for multiples of 8; on a CPU, 16 take less time than 8, because they fill its vectors.
    """
    return max(16, channels // 4 // 16 * 16)


def pool_to(x: Tensor, max_tokens: int) -> Tensor:
    """Average-pool a map by integer factors, the longest axis first, until it has at most ``max_tokens`` voxels.

    Cells at the far border may be incomplete; they average the voxels that they have.
    """
    factors = pooling_factors(tuple(x.shape[2:]), max_tokens)
    if all(f == 1 for f in factors):
        return x
    pool = {2: F.avg_pool2d, 3: F.avg_pool3d}[len(factors)]
    return pool(x, factors, ceil_mode=True, count_include_pad=False)


def pooling_factors(size: tuple[int, ...], max_tokens: int) -> tuple[int, ...]:
    """The smallest factors, raised one at a time for the axis that is longest at the moment."""
    factors = [1] * len(size)
    pooled = list(size)
    while math.prod(pooled) > max_tokens:
        axis = pooled.index(max(pooled))
        factors[axis] += 1
        pooled[axis] = math.ceil(size[axis] / factors[axis])
    return tuple(factors)


def _tokens(x: Tensor) -> Tensor:
    """(B, C, *spatial) -> (B, 1 head, N, C)."""
    return x.flatten(2).transpose(1, 2).contiguous().unsqueeze(1)


def _without_autocast(x: Tensor) -> AbstractContextManager:
    # The meta device, on which the planner estimates memory, knows no autocast.
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
