"""Down-sampling through a dilated convolution pyramid (DCP), section "DCP Block" of the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_dualagg.architectures.layers import (
    CHANNELS_LAST,
    LayerFactory,
    Size,
    in_fast_layout,
    layout_of,
    learns_eagerly,
)

DILATIONS = (1, 2, 4)


class DilatedPyramid(nn.Module):
    """Four parallel convolutions, concatenated: a 1x1x1 one, and kernel k with dilations 1, 2 and 4.

    The paper gives no widths. Here the undilated branch has a share of ``channels_out`` and the other three have the
    rest in equal parts; without a share all four are as even as possible.
    """

    def __init__(
        self,
        layers: LayerFactory,
        channels_in: int,
        channels_out: int,
        kernel: Size,
        undilated_share: float | None = None,
    ) -> None:
        super().__init__()
        widths = _widths(channels_out, undilated_share)
        self.dilated = nn.ModuleList(
            layers.conv(channels_in, width, kernel, dilation=d) for width, d in zip(widths, DILATIONS, strict=False)
        )
        self.pointwise = layers.conv(channels_in, widths[3], 1)

    def forward(self, a: Tensor) -> Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial)."""
        layout = layout_of(a)
        if a.device.type == "cpu":
            # oneDNN's kernels for dilated and for narrow convolutions are about twice as fast in this layout.
            a = a.contiguous(memory_format=CHANNELS_LAST[a.dim()])
        maps = [self._pointwise_and_first(a)]
        for conv in self.dilated[1:]:
            maps.append(convolve_subgrids(conv, a) if wants_subgrids(conv, a) else conv(a))
        return torch.cat(maps, dim=1).contiguous(memory_format=layout)

    def _pointwise_and_first(self, a: Tensor) -> Tensor:
        """Both undilated branches at once: a 1x1x1 kernel is a kernel k that is zero but in its centre.

        One convolution twice as wide is faster than two narrow ones, on a CPU and on tensor cores.
        """
        first = self.dilated[0]
        margins = [p for p in reversed(first.padding) for _ in range(2)]
        weight = torch.cat([F.pad(self.pointwise.weight, margins), first.weight])
        bias = None if first.bias is None else torch.cat([self.pointwise.bias, first.bias])
        return _CONVOLUTION[a.dim()](a, weight, bias, padding=first.padding)


def wants_subgrids(conv: nn.Module, a: Tensor) -> bool:
    """On a CPU, oneDNN takes four times as long for the gradient of a dilated kernel as for that of any other.

    On sub-grids of less than four voxels an axis, margins take more time than this saves.
    """
    steps = zip(a.shape[2:], conv.dilation, strict=True)
    return a.device.type == "cpu" and learns_eagerly() and all(step == 1 or n >= 4 * step for n, step in steps)


def convolve_subgrids(conv: nn.Module, a: Tensor) -> Tensor:
    """``conv(a)`` for a convolution with dilation d: an ordinary one of the interleaved sub-grids, d along each axis.

    Voxels whose coordinates are equal modulo d never meet in one product with another remainder. So each remainder is
    a small map of its own, and all of them are one batch.

    (B, C_in, *spatial) -> (B, C_out, *spatial), for an odd kernel without stride.
    """
    size, steps, n = a.shape[2:], conv.dilation, a.dim() - 2
    margins = [m for length, step in zip(reversed(size), reversed(steps), strict=True) for m in (0, -length % step)]
    grids = F.pad(a, margins).movedim(1, -1)
    for i in range(n):
        grids = grids.unflatten(1 + 2 * i, (-1, steps[i]))
    # (B, cell, step, cell, step, ..., C_in) -> (B * step * step ..., C_in, cell, cell, ...)
    grids = grids.permute(0, *range(2, 2 * n + 1, 2), *range(1, 2 * n, 2), -1).flatten(0, n).movedim(-1, 1)
    padding = [p // step for p, step in zip(conv.padding, steps, strict=True)]
    out = _CONVOLUTION[a.dim()](grids, conv.weight, conv.bias, padding=padding)
    out = out.movedim(1, -1).unflatten(0, (-1, *steps))
    out = out.permute(0, *(axis for i in range(1, n + 1) for axis in (n + i, i)), -1)
    for i, length in enumerate(size, start=1):
        out = out.flatten(i, i + 1).narrow(i, 0, length)
    return out.movedim(-1, 1)


def _widths(channels: int, undilated_share: float | None) -> list[int]:
    """Channels of the branches with dilation 1, 2 and 4, and of the 1x1x1 branch."""
    if channels < 4:
        raise ValueError(f"a pyramid of four branches needs at least 4 channels, not {channels}")
    if undilated_share is None:
        return [channels // 4 + (i < channels % 4) for i in range(4)]
    others = max(1, int(channels * (1 - undilated_share) / 3))
    return [channels - 3 * others, others, others, others]


_CONVOLUTION = {4: F.conv2d, 5: F.conv3d}


class DownsamplingBlock(nn.Module):
    """Residual block that halves the resolution (or divides it by ``stride``).

    Its input is the activated map a = act(norm(x)) that ends the stage above. Left branch, a 1x1x1 convolution with
    stride s on a; right branch, the pyramid on a, act(norm(.)) and a convolution k with stride s. The output is their
    sum. Without ``dcp`` a single convolution k takes the pyramid's place (the paper's "Model-2").
    """

    def __init__(
        self,
        layers: LayerFactory,
        channels_in: int,
        channels_out: int,
        kernel: Size,
        stride: Size,
        dcp: bool = True,
        undilated_share: float | None = None,
    ) -> None:
        super().__init__()
        width = channels_in
        self.left = layers.conv(channels_in, channels_out, 1, stride)
        self.right = nn.Sequential(
            DilatedPyramid(layers, channels_in, width, kernel, undilated_share)
            if dcp
            else layers.conv(channels_in, width, kernel),
            layers.preact(width),
            layers.conv(width, channels_out, kernel, stride),
        )

    def forward(self, a: Tensor) -> Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial / stride, rounded up)."""
        return in_fast_layout(self.left(a) + self.right(a))
