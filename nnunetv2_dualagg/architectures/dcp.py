"""Down-sampling through a dilated convolution pyramid (DCP), section "DCP Block" of the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_dualagg.architectures.layers import LayerFactory, Size

DILATIONS = (1, 2, 4)


class DilatedPyramid(nn.Module):
    """Four parallel convolutions, concatenated: a 1x1x1 one, and kernel k with dilations 1, 2 and 4.

    The paper gives no widths; here the four branches share ``channels_out`` as evenly as possible.
    """

    def __init__(self, layers: LayerFactory, channels_in: int, channels_out: int, kernel: Size) -> None:
        super().__init__()
        if channels_out < 4:
            raise ValueError(f"a pyramid of four branches needs at least 4 channels, not {channels_out}")
        widths = [channels_out // 4 + (i < channels_out % 4) for i in range(4)]
        self.dilated = nn.ModuleList(
            layers.conv(channels_in, width, kernel, dilation=d) for width, d in zip(widths, DILATIONS, strict=False)
        )
        self.pointwise = layers.conv(channels_in, widths[3], 1)

    def forward(self, a: Tensor) -> Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial)."""
        if a.device.type == "cpu":
            # oneDNN's kernels for dilated and for narrow convolutions are about twice as fast in this layout.
            a = a.contiguous(memory_format=_CHANNELS_LAST[a.dim()])
        maps = [self._pointwise_and_first(a), *(conv(a) for conv in self.dilated[1:])]
        return torch.cat(maps, dim=1).contiguous()

    def _pointwise_and_first(self, a: Tensor) -> Tensor:
        """Both undilated branches at once: a 1x1x1 kernel is a kernel k that is zero but in its centre.

        One convolution twice as wide is faster than two narrow ones, on a CPU and on tensor cores.
        """
        first = self.dilated[0]
        margins = [p for p in reversed(first.padding) for _ in range(2)]
        weight = torch.cat([F.pad(self.pointwise.weight, margins), first.weight])
        bias = None if first.bias is None else torch.cat([self.pointwise.bias, first.bias])
        return _CONVOLUTION[a.dim()](a, weight, bias, padding=first.padding)


_CONVOLUTION = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_CHANNELS_LAST = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}


class DownsamplingBlock(nn.Module):
    """Residual block that halves the resolution (or divides it by ``stride``).

    Its input is the activated map a = act(norm(x)) that ends the stage above. Left branch, a 1x1x1 convolution with
    stride s on a; right branch, the pyramid on a, act(norm(.)) and a convolution k with stride s. The output is their
    sum. Without ``dcp`` a single convolution k takes the pyramid's place (the paper's "Model-2").
    """

    def __init__(
        self, layers: LayerFactory, channels_in: int, channels_out: int, kernel: Size, stride: Size, dcp: bool = True
    ) -> None:
        super().__init__()
        width = channels_in
        self.left = layers.conv(channels_in, channels_out, 1, stride)
        pyramid = DilatedPyramid if dcp else LayerFactory.conv
        self.right = nn.Sequential(
            pyramid(layers, channels_in, width, kernel),
            layers.preact(width),
            layers.conv(width, channels_out, kernel, stride),
        )

    def forward(self, a: Tensor) -> Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial / stride, rounded up)."""
        return self.left(a) + self.right(a)
