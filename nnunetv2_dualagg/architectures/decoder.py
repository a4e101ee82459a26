"""The decoder: residual blocks with parallel spatial and channel attention, and deep supervision."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunetv2_dualagg.architectures.attention import DualAttention
from nnunetv2_dualagg.architectures.layers import LayerFactory, Size, blocks_of, in_fast_layout, pointwise, run_stage


class DecoderStage(nn.Module):
    """Up-sample, merge with the skip, residual blocks, dual attention (where wanted), pre-activation."""

    def __init__(
        self,
        layers: LayerFactory,
        channels_below: int,
        channels: int,
        kernel: Size,
        stride: Size,
        n_convs: int,
        concat_skips: bool,
        residual: bool,
        attention: DualAttention | None,
    ) -> None:
        super().__init__()
        self.upsample = layers.upsample(channels_below, channels, stride)
        self.merge = layers.conv(2 * channels, channels, kernel) if concat_skips else None
        more = n_convs - 1 if concat_skips else n_convs
        self.blocks = nn.Sequential(*blocks_of(layers, channels, kernel, more, residual))
        self.attention = attention
        self.preact = layers.preact(channels)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """(B, C_below, *spatial / stride) and (B, C, *spatial) -> (B, C, *spatial)."""
        up = self.upsample(in_fast_layout(below, skip.shape[2:]))
        x = up + skip if self.merge is None else self.merge(torch.cat([up, skip], dim=1))
        x = self.blocks(x)
        if self.attention is not None:
            x = self.attention(x)
        return self.preact(x)


class Decoder(nn.Module):
    """Decoder stages from the lowest resolution up, with a segmentation head each.

    All heads always exist, so that networks with and without deep supervision load the same weights.
    """

    def __init__(
        self,
        stages: Sequence[DecoderStage],
        seg_layers: Sequence[nn.Module],
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision  # nnU-Net switches this attribute
        self.checkpointing = False
        self.stages = nn.ModuleList(stages)
        self.seg_layers = nn.ModuleList(seg_layers)

    def forward(self, maps: list[Tensor]) -> Tensor | list[Tensor]:
        """The encoder's maps -> logits at full resolution, or with deep supervision a list, full resolution first."""
        x = maps[-1]
        outputs = []
        for stage, seg_layer, skip in zip(self.stages, self.seg_layers, reversed(maps[:-1]), strict=True):
            x = run_stage(stage, x, skip, checkpointing=self.checkpointing)
            if self.deep_supervision:
                outputs.append(pointwise(seg_layer, x))
        return outputs[::-1] if self.deep_supervision else pointwise(self.seg_layers[-1], x)
