"""DualAggUNet: a residual U-Net with DCP down-sampling in its encoder and dual attention in its decoder."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from dynamic_network_architectures.architectures.abstract_arch import AbstractDynamicNetworkArchitectures
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nnunetv2_dualagg.architectures.attention import MAX_KEY_TOKENS, DualAttention
from nnunetv2_dualagg.architectures.dcp import DilatedPyramid
from nnunetv2_dualagg.architectures.decoder import Decoder, DecoderStage
from nnunetv2_dualagg.architectures.encoder import Encoder
from nnunetv2_dualagg.architectures.foreground import (
    KnownBackground,
    apply_rule,
    foreground_channel,
)
from nnunetv2_dualagg.architectures.layers import LayerFactory, Size, as_tuple
from nnunetv2_dualagg.architectures.options_record import OptionsRecord


class DualAggUNet(OptionsRecord, AbstractDynamicNetworkArchitectures):
    """Dual aggregation network in 2-D or 3-D, built from nnU-Net's plans.

    It accepts the ``arch_kwargs`` of PlainConvUNet (``n_conv_per_stage``) and of ResidualEncoderUNet
    (``n_blocks_per_stage``) unchanged; those shared with them mean what they mean there.
    ``docs/method.md`` says which of the defaults are the paper's and which are ours.

    Args:
        input_channels: number of image channels (modalities).
        n_stages: number of resolutions, at least 2.
        features_per_stage: channels of each stage, full resolution first.
        conv_op: ``torch.nn.Conv2d`` or ``torch.nn.Conv3d``.
        kernel_sizes: kernel of each stage.
        strides: stride into each stage; the first is usually 1.
        num_classes: number of segmentation heads.
        n_conv_per_stage_decoder: convolutions of each decoder stage, lowest resolution first.
        n_conv_per_stage: convolutions of each encoder stage; the stem is one, and so is a DCP block, whose pyramid
            comes on top. Give this or ``n_blocks_per_stage``.
        n_blocks_per_stage: residual blocks of each encoder stage; a DCP block is one, the stem none.
        conv_bias: whether convolutions have a bias.
        norm_op: normalisation class; None for none. The same for ``dropout_op`` and ``nonlin``.
        norm_op_kwargs: its arguments.
        dropout_op: dropout class.
        dropout_op_kwargs: its arguments.
        nonlin: activation class.
        nonlin_kwargs: its arguments.
        deep_supervision: return the logits of all decoder stages, full resolution first.
        dcp: down-sample through dilated convolution pyramids; False is the paper's ablation "Model-2".
        attention: dual attention in the decoder; False is the paper's ablation "Model-1".
        attention_stages: stages (0 is full resolution) whose decoder stage has attention. By default those at a
            quarter of the resolution and below, and the lowest one in any case.
        max_key_tokens: number of voxels up to which the position attention is exact.
        concat_skips: concatenate the activated skip connections; False adds them before their activation.
        residual: residual blocks; False leaves plain convolutions, each normalised and activated.
        undilated_share: share of a pyramid's channels that its undilated branch has, such as 5/8; None for a quarter.
        foreground_channel: one more channel for the stem, 1 where the image is not 0, and a rule on the logits that
            :class:`KnownBackground` describes. For images that are 0 outside the brain, also after normalisation.
        image_channels: number of channels, from the first, that are images; all by default. A cascade appends labels.
        checkpointing: recompute each stage in the backward pass: less memory, more time.

    Raises:
        ValueError: arguments that contradict each other.
    """

    key_to_encoder = "encoder"
    key_to_stem = "encoder.stem"
    keys_to_in_proj = ("encoder.stem",)

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[Size],
        strides: int | Sequence[Size],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        n_conv_per_stage: int | Sequence[int] | None = None,
        n_blocks_per_stage: int | Sequence[int] | None = None,
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
        dcp: bool = True,
        attention: bool = True,
        attention_stages: Sequence[int] | None = None,
        max_key_tokens: int = MAX_KEY_TOKENS,
        concat_skips: bool = True,
        residual: bool = True,
        undilated_share: float | None = None,
        foreground_channel: bool = False,
        image_channels: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if n_stages < 2:
            raise ValueError(f"a U-Net needs at least 2 stages, not {n_stages}")
        layers = LayerFactory(
            conv_op,
            conv_bias,
            norm_op,
            norm_op_kwargs or {},
            dropout_op,
            dropout_op_kwargs or {},
            nonlin,
            nonlin_kwargs or {},
        )
        features = _per_stage("features_per_stage", features_per_stage, n_stages)
        kernels = _per_stage("kernel_sizes", kernel_sizes, n_stages)
        strides = _per_stage("strides", strides, n_stages)
        n_convs_encoder = _encoder_convs(n_stages, n_conv_per_stage, n_blocks_per_stage)
        n_convs_decoder = _per_stage("n_conv_per_stage_decoder", n_conv_per_stage_decoder, n_stages - 1)
        attended = _attended_stages(n_stages, attention_stages) if attention else set()

        self.options = {
            "dcp": dcp,
            "attention_stages": sorted(attended),
            "max_key_tokens": max_key_tokens if attended else None,
            "concat_skips": concat_skips,
            "residual": residual,
            "foreground_channel": foreground_channel,
        }
        self.input_channels = input_channels
        self.dimension = layers.dimension
        self.known_background = KnownBackground(image_channels or input_channels) if foreground_channel else None
        stem_channels = input_channels + foreground_channel
        self.encoder = Encoder(
            layers,
            stem_channels,
            features,
            kernels,
            strides,
            n_convs_encoder,
            dcp,
            concat_skips,
            residual,
            undilated_share,
        )
        stages, seg_layers = [], []
        for s, n_convs in zip(reversed(range(n_stages - 1)), n_convs_decoder, strict=True):
            dual = DualAttention(layers, features[s], max_key_tokens) if s in attended else None
            below, stride = features[s + 1], strides[s + 1]
            merging = concat_skips, residual
            stages.append(DecoderStage(layers, below, features[s], kernels[s], stride, n_convs, *merging, dual))
            seg_layers.append(layers.conv(features[s], num_classes, 1, bias=True))
        self.decoder = Decoder(stages, seg_layers, deep_supervision)
        self.encoder.checkpointing = self.decoder.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, input_channels, *spatial) -> logits (B, num_classes, *spatial), or a list with deep supervision."""
        if self.known_background is None:
            return self.decoder(self.encoder(x))
        x = self.known_background.restore(x)
        channel = foreground_channel(x, self.known_background.image_channels)
        logits = self.decoder(self.encoder(torch.cat([x, channel], dim=1)))
        return apply_rule(self.known_background, logits, x)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Number of output values of all convolutions for one sample, nnU-Net's measure of memory.

        It is counted on a forward pass without data (PyTorch's meta device), so DCP and attention are included.

        Args:
            input_size: spatial size of the patch, without batch and channels.

        Raises:
            ValueError: ``input_size`` has another number of axes than the network.
        """
        if len(input_size) != self.dimension:
            raise ValueError(f"input_size {tuple(input_size)} has to have {self.dimension} axes: no batch, no channels")
        sizes: list[int] = []
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
            for module in _convolutions(self)
        ]
        try:
            weights = {name: value.to("meta") for name, value in chain(self.named_parameters(), self.named_buffers())}
            patch = torch.empty(1, self.input_channels, *input_size, device="meta")
            with torch.no_grad():
                torch.func.functional_call(self, weights, patch)
        finally:
            for hook in hooks:
                hook.remove()
        return sum(sizes)

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """nnU-Net's initialisation of a convolution's weights (He); attention scales stay at their initial 0."""
        InitWeights_He(1e-2)(module)


def _per_stage(name: str, value: Any, n: int) -> tuple[Any, ...]:
    values = as_tuple(value, n)
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} entries, but {n} are needed: {value}")
    return values


def _encoder_convs(n_stages: int, n_conv_per_stage: Any, n_blocks_per_stage: Any) -> tuple[int, ...]:
    """Convolutions per stage as the encoder counts them; a residual block has two, and the stem comes on top."""
    if (n_conv_per_stage is None) == (n_blocks_per_stage is None):
        raise ValueError("give either n_conv_per_stage or n_blocks_per_stage")
    if n_conv_per_stage is not None:
        return _per_stage("n_conv_per_stage", n_conv_per_stage, n_stages)
    n_blocks = _per_stage("n_blocks_per_stage", n_blocks_per_stage, n_stages)
    return (1 + 2 * n_blocks[0], *(2 * n - 1 for n in n_blocks[1:]))


def _attended_stages(n_stages: int, attention_stages: Sequence[int] | None) -> set[int]:
    lowest = n_stages - 2
    if attention_stages is None:
        return {lowest, *range(2, lowest)}
    unknown = [s for s in attention_stages if not 0 <= s <= lowest]
    if unknown:
        raise ValueError(f"attention_stages names {unknown}, but the decoder's stages are 0 to {lowest}")
    return set(attention_stages)


def _convolutions(module: nn.Module) -> Iterator[nn.Module]:
    """All convolutions below a module; a pyramid counts as one, because its maps are concatenated."""
    if isinstance(module, _ConvNd | DilatedPyramid):
        yield module
    else:
        for child in module.children():
            yield from _convolutions(child)
