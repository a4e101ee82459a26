"""Down-sampling through a dilated convolution pyramid (DCP), section "DCP Block" of the paper."""

from collections.abc import Sequence
from typing import Any

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
            subgrids = wants_subgrids(conv, a)
            maps.append(
                DilatedConvolution.apply(a, conv.weight, conv.bias, conv.padding, conv.dilation)
                if subgrids
                else conv(a)
            )
        return torch.cat(maps, dim=1).contiguous(memory_format=layout)

    def _pointwise_and_first(self, a: Tensor) -> Tensor:
        """Both undilated branches at once: a 1x1x1 kernel is a kernel k that is zero but in its centre.

        One convolution twice as wide is faster than two narrow ones, on a CPU and on tensor cores.
        """
        first = self.dilated[0]
        margins = [p for p in reversed(first.padding) for _ in range(2)]
        weight = torch.cat([F.pad(self.pointwise.weight, margins), first.weight])
        bias = None if first.bias is None else torch.cat([self.pointwise.bias, first.bias])
        return first.with_weights(a, weight, bias)


def wants_subgrids(conv: nn.Module, a: Tensor) -> bool:
    """On a CPU, oneDNN takes four times as long for the gradient of a dilated kernel as for that of any other.

    On sub-grids of less than four voxels an axis, margins take more time than this saves.
    """
    if a.device.type != "cpu" or not learns_eagerly() or torch.is_autocast_enabled("cpu"):
        return False
    return all(step == 1 or n >= 4 * step for n, step in zip(a.shape[2:], conv.dilation, strict=True))


class DilatedConvolution(torch.autograd.Function):
    """A dilated convolution whose weights get their gradient from the interleaved sub-grids.

    Voxels whose coordinates differ modulo the dilation never meet in a product. So each remainder is a small map of its
    own with an ordinary convolution, and all of them are one batch. Odd kernels, no stride.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, a: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int], dilation: Sequence[int]
    ) -> Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial)."""
        ctx.save_for_backward(a, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return _CONVOLUTION[a.dim()](a, weight, bias, padding=padding, dilation=dilation)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The gradient of the output -> those of a, weight and bias."""
        a, weight = ctx.saved_tensors
        of_a, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            of_a = _gradients(gradient, a, weight, ctx.padding, ctx.dilation, (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            grids = _subgrids(gradient, ctx.dilation), _subgrids(a, ctx.dilation)
            padding = [p // step for p, step in zip(ctx.padding, ctx.dilation, strict=True)]
            of_weight = _gradients(*grids, weight, padding, [1] * len(padding), (False, True, False))[1]
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, *range(2, gradient.dim())))
        return of_a, of_weight, of_bias, None, None


def _gradients(
    gradient: Tensor,
    a: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    dilation: Sequence[int],
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    n = len(padding)
    return torch.ops.aten.convolution_backward(
        gradient, a, weight, None, [1] * n, padding, dilation, False, [0] * n, 1, wanted
    )


def _subgrids(x: Tensor, steps: Sequence[int]) -> Tensor:
    """(B, C, *spatial) -> (B * remainders, C, *spatial / steps), channels last, with zeros behind the last voxels."""
    n = len(steps)
    margins = [
        m for length, step in zip(reversed(x.shape[2:]), reversed(steps), strict=True) for m in (0, -length % step)
    ]
    grids = F.pad(x, margins).movedim(1, -1)
    for i in range(n):
        grids = grids.unflatten(1 + 2 * i, (-1, steps[i]))  # (B, cells, step, cells, step, ..., C)
    return grids.permute(0, *range(2, 2 * n + 1, 2), *range(1, 2 * n, 2), -1).flatten(0, n).movedim(-1, 1)


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
