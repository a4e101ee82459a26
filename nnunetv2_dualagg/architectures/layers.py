"""What every block of the network is made of: convolution, pre-activation and residual block, in 2-D or 3-D."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_convtransp
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils.checkpoint import checkpoint

Size = int | tuple[int, ...] | list[int]


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_LARGE = 16**3  # voxels; a convolution of smaller maps would spend more time on turning its weights than on theirs


def layout_of(x: Tensor) -> torch.memory_format:
    """Channels last, if a map is stored in this way and in no other, or PyTorch's default."""
    last = CHANNELS_LAST.get(x.dim())
    if last is not None and not x.is_contiguous() and x.is_contiguous(memory_format=last):
        return last
    return torch.contiguous_format


def in_fast_layout(x: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
    """On a CPU, large maps channels last, as oneDNN's kernels want them, and small maps in PyTorch's default layout.

    ``size`` are the spatial axes that count, by default those of ``x``. Compilers choose layouts themselves.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x
    large = math.prod(x.shape[2:] if size is None else size) >= _LARGE
    return x.contiguous(memory_format=CHANNELS_LAST[x.dim()] if large else torch.contiguous_format)


class _WithOneDNN:
    """A convolution that takes oneDNN for single small maps on a CPU, as PyTorch does for all others.

    For a batch of 1 with at most 20480 voxels and channels in all axes but the last, PyTorch falls back to its own
    kernel, which takes two to five times as long. Prediction is full of such maps: nnU-Net's windows come one by one.
    """

    def with_weights(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """This convolution with other weights; the number of channels may be another."""
        if not _is_single_on_cpu(x):
            return super()._conv_forward(x, weight, bias)  # type: ignore[misc]
        sizes = (self.padding, self.stride, self.dilation)  # type: ignore[attr-defined]
        return torch.mkldnn_convolution(x, weight, bias, *sizes, 1)

    _conv_forward = with_weights  # PyTorch's name of what ``forward`` calls


class Conv2d(_WithOneDNN, nn.Conv2d):
    """``torch.nn.Conv2d`` without groups and with zeros as padding."""


class Conv3d(_WithOneDNN, nn.Conv3d):
    """``torch.nn.Conv3d`` without groups and with zeros as padding."""


_CONV: dict[int, type[Conv2d | Conv3d]] = {2: Conv2d, 3: Conv3d}


def _is_single_on_cpu(x: Tensor) -> bool:
    """Whether it is one map in single precision on a CPU, predicted and not trained on, and no graph is recorded."""
    if x.device.type != "cpu" or x.shape[0] != 1 or x.dtype != torch.float32 or torch.is_grad_enabled():
        return False
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return torch.backends.mkldnn.is_available() and not recorded and not torch.is_autocast_enabled("cpu")


def learns_eagerly() -> bool:
    """Whether gradients may be needed, and no graph is recorded that has to fit other batch sizes too."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    """``conv(x)`` of a 1x1x1 convolution to few channels; on a CPU, the result is in PyTorch's default layout.

    Channels last it is a matrix product, for which oneDNN's convolution takes twice as long.
    """
    if x.device.type != "cpu" or layout_of(x) is torch.contiguous_format:
        return conv(x)
    return F.linear(x.movedim(1, -1), conv.weight.flatten(1), conv.bias).movedim(-1, 1).contiguous()


def as_tuple(value: Size, n: int) -> tuple[int, ...]:
    """An int repeated ``n`` times, or a sequence as a tuple."""
    return (value,) * n if isinstance(value, int) else tuple(value)


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers that nnU-Net's plans ask for; the dimension is that of ``conv_op``.

    Attributes carry the names and meanings of nnU-Net's ``arch_kwargs``. None stands for "no such layer".
    """

    conv_op: type[nn.Module]
    conv_bias: bool = False
    norm_op: type[nn.Module] | None = None
    norm_op_kwargs: dict[str, Any] = field(default_factory=dict)
    dropout_op: type[nn.Module] | None = None
    dropout_op_kwargs: dict[str, Any] = field(default_factory=dict)
    nonlin: type[nn.Module] | None = None
    nonlin_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Number of spatial axes."""
        return convert_conv_op_to_dim(self.conv_op)

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Size,
        stride: Size = 1,
        dilation: int = 1,
        bias: bool | None = None,
    ) -> Conv2d | Conv3d:
        """A convolution that keeps the size (up to its stride). Dilation acts only along axes whose kernel is > 1."""
        kernel = as_tuple(kernel, self.dimension)
        dilations = tuple(dilation if k > 1 else 1 for k in kernel)
        padding = tuple((k - 1) // 2 * d for k, d in zip(kernel, dilations, strict=True))
        conv = _CONV[self.dimension]
        bias = self.conv_bias if bias is None else bias
        return conv(channels_in, channels_out, kernel, stride, padding=padding, dilation=dilations, bias=bias)

    def norm(self, channels: int) -> nn.Module:
        """The normalisation of a map with ``channels`` channels."""
        if self.norm_op is None:
            return nn.Identity()
        return self.norm_op(channels, **self.norm_op_kwargs)

    def preact(self, channels: int) -> "PreActivation":
        """The pre-activation a = act(norm(x)), with dropout behind it where the plans ask for dropout."""
        layers: list[nn.Module] = [self.norm(channels)]
        if self.nonlin is not None:
            kwargs = dict(self.nonlin_kwargs)
            if self.norm_op is None:
                kwargs.pop("inplace", None)  # it would overwrite x, which the residual sum needs
            layers.append(self.nonlin(**kwargs))
        if self.dropout_op is not None:
            layers.append(self.dropout_op(**self.dropout_op_kwargs))
        return PreActivation(*layers)

    def upsample(self, channels_in: int, channels_out: int, stride: Size) -> nn.Module:
        """A transposed convolution whose kernel equals its stride."""
        transposed = get_matching_convtransp(self.conv_op)
        return transposed(channels_in, channels_out, stride, stride, bias=self.conv_bias)


class PreActivation(nn.Sequential):
    """Normalisation, activation and (where the plans ask for it) dropout.

    On a CPU, instance normalisation runs as the group normalisation that it is (one group per channel). PyTorch's own
    instance norm returns a view there, and the in-place activation behind it makes autograd copy whole maps, which
    takes longer than the normalisation itself. On other devices autocast would turn group norm to float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape (B, C, *spatial), kept."""
        norm, *rest = self
        if x.device.type == "cpu" and isinstance(norm, _InstanceNorm) and not norm.track_running_stats:
            x = _instance_norm(x, norm)
        else:
            x = norm(x)
        for layer in rest:
            x = layer(x)
        return x


def _instance_norm(x: Tensor, norm: _InstanceNorm) -> Tensor:
    if layout_of(x) is torch.contiguous_format or not learns_eagerly():
        return F.group_norm(x, norm.num_features, norm.weight, norm.bias, norm.eps)
    # Channels last, group norm's backward pass takes three times as long as the batch norm of single samples.
    samples = [F.batch_norm(s, None, None, norm.weight, norm.bias, training=True, eps=norm.eps) for s in x.split(1)]
    return samples[0] if len(samples) == 1 else torch.cat(samples)


class PlainBlock(nn.Module):
    """conv(a(... conv(a(x)))), with ``n_convs`` convolutions, each behind its pre-activation."""

    def __init__(self, layers: LayerFactory, channels: int, kernel: Size, n_convs: int = 2) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                layer
                for _ in range(n_convs)
                for layer in (layers.preact(channels), layers.conv(channels, channels, kernel))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial), kept."""
        return self.convs(x)


class ResidualBlock(PlainBlock):
    """x + conv(a(... conv(a(x)))), pre-activated (He et al., ECCV 2016), with ``n_convs`` convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial), kept."""
        return x + self.convs(x)


def blocks_of(layers: LayerFactory, channels: int, kernel: Size, n_convs: int, residual: bool) -> list[PlainBlock]:
    """Blocks that hold ``n_convs`` convolutions together, two per block; an odd one gets a block of its own."""
    n_convs = max(0, n_convs)
    sizes = [2] * (n_convs // 2) + [1] * (n_convs % 2)
    block = ResidualBlock if residual else PlainBlock
    return [block(layers, channels, kernel, n) for n in sizes]


def run_stage(stage: nn.Module, *inputs: Tensor, checkpointing: bool) -> Any:
    """``stage(*inputs)``; with ``checkpointing`` its inner maps are not kept but recomputed in the backward pass."""
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(stage, *inputs, use_reentrant=False)
    return stage(*inputs)
