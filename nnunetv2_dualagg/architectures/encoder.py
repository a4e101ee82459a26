"""The encoder: pre-activation residual blocks, down-sampling through dilated convolution pyramids, no pooling."""

from collections.abc import Sequence

from torch import Tensor, nn

from nnunetv2_dualagg.architectures.dcp import DownsamplingBlock
from nnunetv2_dualagg.architectures.layers import LayerFactory, Size, blocks_of, in_fast_layout, run_stage


class EncoderStage(nn.Module):
    """The blocks of one resolution, and the pre-activation of what comes next: a DCP block, or the decoder."""

    def __init__(self, blocks: Sequence[nn.Module], preact: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.preact = preact

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's input -> (B, C, *spatial), as it is and activated."""
        x = self.blocks(x)
        return x, self.preact(x)


class Encoder(nn.Module):
    """Stem convolution and residual blocks at full resolution, then a DCP block (and residual blocks) a stage.

    ``n_convs`` counts convolutions with kernel k at the stage's own resolution, as nnU-Net's plans do: the stem is
    one, the strided one of a DCP block is one. The block's pyramid belongs to the resolution above and comes on top.
    """

    def __init__(
        self,
        layers: LayerFactory,
        input_channels: int,
        features: Sequence[int],
        kernels: Sequence[Size],
        strides: Sequence[Size],
        n_convs: Sequence[int],
        dcp: bool,
        activated_skips: bool,
        residual: bool,
        undilated_share: float | None,
    ) -> None:
        super().__init__()
        self.checkpointing = False
        self.activated_skips = activated_skips
        self.stem = layers.conv(input_channels, features[0], kernels[0], strides[0])
        blocks = blocks_of(layers, features[0], kernels[0], n_convs[0] - 1, residual)
        stages = [EncoderStage(blocks, layers.preact(features[0]))]
        for s in range(1, len(features)):
            channels = features[s - 1], features[s]
            down = DownsamplingBlock(layers, *channels, kernels[s], strides[s], dcp, undilated_share)
            more = blocks_of(layers, features[s], kernels[s], n_convs[s] - 1, residual)
            stages.append(EncoderStage([down, *more], layers.preact(features[s])))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) -> one skip connection a stage, full resolution first, and the activated lowest map."""
        x = in_fast_layout(self.stem(in_fast_layout(x)))  # PyTorch's own kernel for small inputs forgets the layout
        maps = []
        for stage in self.stages:
            raw, x = run_stage(stage, x, checkpointing=self.checkpointing)
            maps.append(x if self.activated_skips else raw)
        return [*maps[:-1], x]
