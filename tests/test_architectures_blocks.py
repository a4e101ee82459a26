"""Every block against the naive float64 reference, and its gradients against finite differences."""

from dataclasses import replace

import architecture_reference as reference
import pytest
import torch
import torch.nn.functional as F
from architecture_networks import assert_equal_to, build, layers, randomise
from torch import nn

from nnunetv2_dualagg.architectures.attention import (
    ChannelAttention,
    DualAttention,
    PositionAttention,
    embed_channels,
    pool_to,
    pooling_factors,
)
from nnunetv2_dualagg.architectures.dcp import DilatedConvolution, DilatedPyramid, DownsamplingBlock, wants_subgrids
from nnunetv2_dualagg.architectures.layers import PlainBlock, ResidualBlock, blocks_of, in_fast_layout, layout_of

SIZES = [(7, 9), (5, 6, 7), (1, 9, 4)]
KERNELS = {2: [(3, 3), (1, 3), (5, 3)], 3: [(3, 3, 3), (1, 3, 3)]}
SIZES_AND_KERNELS = [(size, kernel) for size in SIZES for kernel in KERNELS[len(size)]]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_input(channels, size, batch=2):
    return torch.randn(batch, channels, *size) * 2 + 0.5


def check(module, expected, *inputs):
    randomise(module)
    with torch.no_grad():
        assert_equal_to(expected(*inputs, module), module(*inputs))


@pytest.mark.parametrize(("size", "kernel"), SIZES_AND_KERNELS)
@pytest.mark.parametrize("channels_out", [4, 7, 16])
@pytest.mark.parametrize("undilated_share", [None, 5 / 8])
def test_pyramid(size, kernel, channels_out, undilated_share):
    module = DilatedPyramid(layers(len(size)), 5, channels_out, kernel, undilated_share)
    check(module, reference.pyramid, random_input(5, size))


@pytest.mark.parametrize(
    ("size", "kernel"), [((66, 65), (3, 3)), ((65, 66), (1, 3)), ((16, 17, 18), (3, 3, 3)), ((5, 32, 33), (1, 3, 3))]
)
def test_large_maps_run_in_another_layout_and_on_subgrids(size, kernel):
    """Values and gradients. On a CPU, smaller maps and those of other tests take none of these ways."""
    module = DownsamplingBlock(layers(len(size)), 8, 10, kernel, 2, True, 5 / 8)
    randomise(module)
    x = random_input(8, size).requires_grad_()
    a = in_fast_layout(x)
    assert layout_of(a) is not torch.contiguous_format
    assert wants_subgrids(module.right[0].dilated[2], a)
    output, expected = module(a), reference.downsampling_block(x, module, (2,) * len(size))
    assert_equal_to(expected, output)
    towards, inputs = torch.randn_like(output), [x, *module.parameters()]
    gradients = torch.autograd.grad(output, inputs, towards)
    for exact, gradient in zip(torch.autograd.grad(expected, inputs, towards.double()), gradients, strict=True):
        assert (gradient - exact).abs().max() < 1e-4 * exact.abs().max().clamp(min=1)


@pytest.mark.parametrize("size", [(7, 9), (1, 4), (5, 6, 7), (1, 9, 4), (16, 8, 3)])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_gradients_from_subgrids_of_any_size_are_those_of_the_dilated_convolution(size, dilation, kernel):
    conv = layers(len(size)).conv(3, 2, (kernel, *(3,) * (len(size) - 1)), dilation=dilation).double()
    x = random_input(3, size).double().requires_grad_()
    expected = reference.convolution(x, conv.weight, conv.bias, dilation=dilation)
    output = DilatedConvolution.apply(x, conv.weight, conv.bias, conv.padding, conv.dilation)
    assert_equal_to(expected, output, 1e-9)
    towards, inputs = torch.randn_like(output), [x, conv.weight, conv.bias]
    gradients = torch.autograd.grad(output, inputs, towards)
    for exact, gradient in zip(torch.autograd.grad(expected, inputs, towards), gradients, strict=True):
        assert_equal_to(exact, gradient, 1e-9)


@pytest.mark.parametrize(("size", "kernel"), SIZES_AND_KERNELS)
@pytest.mark.parametrize("dcp", [True, False])
def test_downsampling_block(size, kernel, dcp):
    stride = (1,) + (2,) * (len(size) - 1)
    module = DownsamplingBlock(layers(len(size)), 6, 10, kernel, stride, dcp)
    check(module, lambda x, block: reference.downsampling_block(x, block, stride, dcp), random_input(6, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_convs", [1, 2, 3])
def test_residual_block(size, n_convs):
    module = ResidualBlock(layers(len(size)), 6, (3,) * len(size), n_convs)
    check(module, reference.residual_block, random_input(6, size))


def test_plain_block():
    module = PlainBlock(layers(), 6, (3, 3, 3), 2)
    check(module, lambda x, block: reference.residual_block(x, block) - x.double(), random_input(6, (4, 5, 6)))


def test_without_a_norm_the_activation_does_not_overwrite_the_residual():
    module = ResidualBlock(replace(layers(), norm_op=None), 6, (3, 3, 3), 1)
    x = random_input(6, (4, 5, 6))
    before, (_, convolution) = x.clone(), module.convs
    out = module(x)
    assert torch.equal(x, before)
    assert_equal_to(x.double() + reference.conv(F.leaky_relu(x), convolution), out)


@pytest.mark.parametrize("size", SIZES)
def test_position_attention(size):
    module = PositionAttention(layers(len(size)), 12, 8)
    check(module, reference.position_attention, random_input(12, size))


@pytest.mark.parametrize(
    ("size", "max_key_tokens", "factors"),
    [((6, 9), 14, (2, 3)), ((5, 6, 7), 60, (1, 2, 2)), ((4, 4, 9), 1, (4, 4, 9))],
)
def test_position_attention_with_pooled_keys(size, max_key_tokens, factors):
    module = PositionAttention(layers(len(size)), 12, 8, max_key_tokens)
    check(module, lambda x, m: reference.position_attention(x, m, factors), random_input(12, size))


@pytest.mark.parametrize("size", SIZES)
def test_channel_attention(size):
    x = random_input(6, size)
    assert_equal_to(reference.channel_attention(x), ChannelAttention()(x))


@pytest.mark.parametrize("size", SIZES)
def test_dual_attention(size):
    module = DualAttention(layers(len(size)), 16)
    assert module.scale.item() == 0
    check(module, reference.dual_attention, random_input(16, size))


@pytest.mark.parametrize(
    ("dim", "size", "strides", "kernel"),
    [
        (2, (20, 12), [(1, 1), (2, 2), (2, 2)], 3),
        (3, (8, 12, 16), [(1, 1, 1), (2, 2, 2), (2, 2, 2)], 3),
        (3, (5, 16, 8), [(1, 1, 1), (1, 2, 2), (1, 2, 2)], [(1, 3, 3), (3, 3, 3), (3, 3, 3)]),
    ],
)
@pytest.mark.parametrize("options", [{}, {"dcp": False}, {"concat_skips": False}])
def test_network(dim, size, strides, kernel, options):
    options = {"deep_supervision": True, **options}
    net = build(dim=dim, strides=strides, kernel=kernel, n_conv=3, options=options).double()
    x = random_input(2, size).double()
    with torch.no_grad():
        outputs = net(x)
    expected = reference.network(x, net, strides, options.get("dcp", True), options.get("concat_skips", True))
    assert len(outputs) == len(expected) == 2
    for output, logits in zip(outputs, expected, strict=True):
        assert_equal_to(logits, output, 1e-9)


@pytest.mark.parametrize(("dim", "size"), [(2, (64, 68)), (3, (16, 16, 20))])
def test_network_whose_first_maps_are_large(dim, size):
    """Values and gradients, in double precision, where only a different sum of different terms can differ."""
    strides = [(1,) * dim, (2,) * dim, (2,) * dim]
    net = build(dim=dim, features=(4, 8, 8), strides=strides).double()
    x = random_input(2, size).double()
    output, (expected, *_) = net(x), reference.network(x, net, strides)
    assert_equal_to(expected, output, 1e-9)
    towards = torch.randn_like(output)
    inputs = [p for name, p in net.named_parameters() if not name.startswith("decoder.seg_layers.0.")]
    gradients = torch.autograd.grad(output, inputs, towards)
    for exact, gradient in zip(torch.autograd.grad(expected, inputs, towards), gradients, strict=True):
        assert_equal_to(exact, gradient, 1e-7)


@pytest.mark.parametrize(
    "module",
    [
        DilatedPyramid(layers(), 2, 4, (3, 3, 3)),
        DownsamplingBlock(layers(), 4, 5, (3, 3, 3), (2, 2, 2)),
        ResidualBlock(layers(), 2, (1, 3, 3)),
        PositionAttention(layers(), 2, 8),
        PositionAttention(layers(), 2, 8, max_key_tokens=6),
        ChannelAttention(),
        DualAttention(layers(), 4),
    ],
    ids=lambda module: type(module).__name__,
)
def test_gradients(module):
    module = module.double()
    randomise(module)
    channels = 4 if isinstance(module, (DownsamplingBlock, DualAttention)) else 2
    x = torch.randn(1, channels, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    names = list(dict(module.named_parameters()))
    parameters = list(module.parameters())

    def run(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    # gradcheck against random directions: one finite difference an input, not one an entry
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize(
    ("size", "max_tokens", "factors"),
    [
        ((32, 32, 32), 32768, (1, 1, 1)),
        ((33, 32, 32), 32768, (2, 1, 1)),  # 33792 voxels
        ((32, 40, 28), 32768, (1, 2, 1)),
        ((64, 64, 64), 32768, (2, 2, 2)),
        ((64, 64), 1024, (2, 2)),
        ((7, 100), 70, (1, 10)),
        ((3, 5), 1, (3, 5)),
    ],
)
def test_pooling_factors(size, max_tokens, factors):
    assert pooling_factors(size, max_tokens) == factors


@pytest.mark.parametrize(("size", "max_tokens"), [((5, 7), 8), ((5, 6, 7), 60), ((3, 2, 9), 1)])
def test_pooling_averages_incomplete_cells_too(size, max_tokens):
    x = random_input(3, size)
    factors = pooling_factors(size, max_tokens)
    assert_equal_to(reference.average_pool(x, factors), pool_to(x, max_tokens), 1e-6)


@pytest.mark.parametrize(
    ("channels", "embed"), [(8, 16), (32, 16), (64, 16), (96, 16), (128, 32), (256, 64), (320, 80)]
)
def test_flash_kernels_get_multiples_of_16(channels, embed):
    assert embed_channels(channels) == embed


@pytest.mark.parametrize(
    ("channels", "share", "widths"),
    [
        (10, None, [3, 3, 2, 2]),
        (16, 5 / 8, [10, 2, 2, 2]),
        (320, 5 / 8, [200, 40, 40, 40]),
        (4, 5 / 8, [1, 1, 1, 1]),
        (10, 5 / 8, [7, 1, 1, 1]),
    ],
)
def test_pyramid_branches_share_the_channels(channels, share, widths):
    pyramid = DilatedPyramid(layers(), 3, channels, (3, 3, 3), share)
    assert [branch.out_channels for branch in (*pyramid.dilated, pyramid.pointwise)] == widths


def test_a_pyramid_needs_a_channel_for_each_branch():
    with pytest.raises(ValueError, match="at least 4 channels, not 3"):
        DilatedPyramid(layers(), 3, 3, (3, 3, 3))


def test_dilation_acts_only_along_axes_with_a_kernel():
    pyramid = DilatedPyramid(layers(), 3, 4, (1, 3, 3))
    assert [branch.dilation for branch in pyramid.dilated] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@pytest.mark.parametrize(("n_convs", "convs_of_each"), [(0, []), (-1, []), (1, [1]), (2, [2]), (5, [2, 2, 1])])
def test_blocks_hold_the_convolutions_that_plans_ask_for(n_convs, convs_of_each):
    blocks = blocks_of(layers(), 4, (3, 3, 3), n_convs, residual=True)
    assert [sum(isinstance(m, nn.Conv3d) for m in block.convs) for block in blocks] == convs_of_each
