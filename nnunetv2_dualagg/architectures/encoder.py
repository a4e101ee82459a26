"""The encoder: pre-activation residual blocks, down-sampling through dilated convolution pyramids, no pooling."""

from collections.abc import Sequence

from torch import Tensor, nn

from nnunetv2_dualagg.architectures.dcp import DownsamplingBlock
from nnunetv2_dualagg.architectures.layers import LayerFactory, Size, residual_blocks, run_stage


class Encoder(nn.Module):
    """Stem convolution and residual blocks at full resolution, then a DCP block (and residual blocks) a stage.

    ``n_convs`` counts convolutions with kernel k as nnU-Net's plans do: the stem is one, a down-sampling block two.
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
    ) -> None:
        super().__init__()
        self.checkpointing = False
        self.stem = layers.conv(input_channels, features[0], kernels[0], strides[0])
        stages = [nn.Sequential(*residual_blocks(layers, features[0], features[0], kernels[0], n_convs[0] - 1))]
        for s in range(1, len(features)):
            down = DownsamplingBlock(layers, features[s - 1], features[s], kernels[s], strides[s], dcp)
            more = residual_blocks(layers, features[s], features[s], kernels[s], n_convs[s] - 2)
            stages.append(nn.Sequential(down, *more))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) -> one map a stage, full resolution first."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = run_stage(stage, x, checkpointing=self.checkpointing)
            maps.append(x)
        return maps
