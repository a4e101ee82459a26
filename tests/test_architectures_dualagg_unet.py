"""The network as a whole: plans it accepts, weights it shares, sizes, ablations and errors."""

import pytest
import torch
from architecture_networks import arch_kwargs, build
from dynamic_network_architectures.architectures.abstract_arch import test_submodules_loadable as check_submodules
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.attention import DualAttention
from nnunetv2_dualagg.architectures.dcp import DilatedPyramid
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

ANISOTROPIC = {
    "kernel": [(1, 3, 3), (1, 3, 3), (3, 3, 3)],
    "strides": [(1, 1, 1), (1, 2, 2), (2, 2, 2)],
}

# What nnU-Net's planners write into nnUNetPlans.json and nnUNetResEncUNetLPlans.json, with fewer features.
JSON_KWARGS = {
    "n_stages": 3,
    "features_per_stage": [8, 16, 32],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
PLAIN = {**JSON_KWARGS, "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]}
RESENC = {**JSON_KWARGS, "n_blocks_per_stage": [1, 3, 4], "n_conv_per_stage_decoder": [1, 1]}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("modalities", [1, 5])
@pytest.mark.parametrize(
    ("plans", "size"),
    [
        ({"features": (8, 16)}, (6, 8, 10)),
        ({"features": (8, 8, 16, 16, 16, 16, 16)}, (128, 128, 128)),
        ({"dim": 2, "features": (8, 8, 16, 16, 16, 16, 16)}, (64, 128)),
        ({"dim": 2}, (12, 20)),
        (ANISOTROPIC, (6, 16, 12)),
    ],
)
def test_outputs_are_those_of_plainconvunet(plans, size, modalities):
    options = {"deep_supervision": True}
    kwargs = arch_kwargs(**plans)
    with torch.device("meta"):
        plain = PlainConvUNet(modalities, num_classes=3, **kwargs, **options)
        ours = DualAggUNet(modalities, num_classes=3, **kwargs, **options)
        x = torch.empty(2, modalities, *size)
        shapes = [output.shape for output in ours(x)]
        assert shapes == [output.shape for output in plain(x)]
        ours.decoder.deep_supervision = False
        assert ours(x).shape == shapes[0]


@pytest.mark.parametrize("kwargs", [PLAIN, RESENC])
def test_arch_kwargs_of_nnunets_planners_are_accepted_unchanged(kwargs):
    network = get_network_from_plans(
        DUALAGG_UNET,
        kwargs,
        ["conv_op", "norm_op", "dropout_op", "nonlin"],
        2,
        4,
        deep_supervision=False,
    )
    assert type(network) is DualAggUNet
    assert network(torch.randn(1, 2, 8, 8, 8)).shape == (1, 4, 8, 8, 8)
    check_submodules(network)  # what nnU-Net's fine-tuning from pretrained weights asks for
    assert all(m.scale == 0 for m in network.modules() if isinstance(m, DualAttention))


def blocks_of(network):
    return [
        sum(isinstance(m, nn.Conv3d) and max(m.kernel_size) > 1 for m in stage.modules()) - 3 * (s > 0)
        for s, stage in enumerate(network.encoder.stages)
    ]


def test_convolutions_per_stage_mean_what_they_mean_in_plans():
    """The three convolutions with kernel 3 of a pyramid come on top; the stem is not in a stage."""
    with torch.device("meta"):
        assert blocks_of(build(n_conv=2)) == [1, 2, 2]
        assert blocks_of(build(n_conv=4)) == [3, 4, 4]
        kwargs = arch_kwargs()
        del kwargs["n_conv_per_stage"]
        assert blocks_of(DualAggUNet(1, num_classes=2, n_blocks_per_stage=(1, 3, 4), **kwargs)) == [2, 5, 7]


def test_weights_are_the_same_with_and_without_deep_supervision():
    deep = build(options={"deep_supervision": True})
    flat = build(options={"deep_supervision": False})
    flat.load_state_dict(deep.state_dict(), strict=True)
    deep.load_state_dict(flat.state_dict(), strict=True)
    x = torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(deep(x)[0], flat(x))


@pytest.mark.parametrize("plans", [{}, {"dim": 2}, ANISOTROPIC])
@pytest.mark.parametrize("dcp", [True, False])
def test_without_its_scales_the_network_is_its_twin_without_attention(plans, dcp):
    network = build(**plans, options={"dcp": dcp})
    for module in network.modules():
        if isinstance(module, DualAttention):
            nn.init.zeros_(module.scale)
    twin = build(**plans, options={"dcp": dcp, "attention": False})
    shared = {name: value for name, value in network.named_parameters() if ".attention." not in name}
    twin.load_state_dict(shared | {"_extra_state": twin.get_extra_state()}, strict=True)
    x = torch.randn(1, 2, *(16,) * plans.get("dim", 3))
    assert torch.equal(network(x), twin(x))


@pytest.mark.parametrize("dcp", [True, False])
@pytest.mark.parametrize("attention", [True, False])
def test_ablations_lack_what_they_are_named_after(dcp, attention):
    network = build(options={"dcp": dcp, "attention": attention})
    assert any(isinstance(m, DilatedPyramid) for m in network.modules()) == dcp
    assert any(isinstance(m, DualAttention) for m in network.modules()) == attention


@pytest.mark.parametrize(
    ("n_stages", "options", "attended"),
    [
        (2, {}, {0}),
        (3, {}, {1}),
        (4, {}, {2}),
        (6, {}, {2, 3, 4}),
        (4, {"attention_stages": (0, 1)}, {0, 1}),
        (4, {"attention_stages": ()}, set()),
    ],
)
def test_decoder_stages_with_attention(n_stages, options, attended):
    with torch.device("meta"):
        stages = build(features=(8,) * n_stages, options=options, randomised=False).decoder.stages
    assert {n_stages - 2 - i for i, stage in enumerate(stages) if stage.attention is not None} == attended


def conv(channels_in, channels_out, taps=27):
    return channels_in * channels_out * taps + channels_out


def norm(channels):
    return 2 * channels


def dual_attention(c, embed=16):
    return norm(c) + conv(c, embed, 1) + conv(c, 2 * embed, 1) + conv(embed, c, 1) + conv(2 * c, c, 1) + 1


@pytest.mark.parametrize("concat_skips", [True, False])
def test_number_of_parameters_is_the_sum_over_the_layers(concat_skips):
    pyramid = {c: 3 * conv(c, c // 4) + conv(c, c // 4, 1) for c in (8, 16)}
    encoder = [
        conv(2, 8) + norm(8) + conv(8, 8),
        norm(8) + conv(8, 16, 1) + pyramid[8] + norm(8) + conv(8, 16) + norm(16) + conv(16, 16),
        norm(16) + conv(16, 32, 1) + pyramid[16] + norm(16) + conv(16, 32) + norm(32) + conv(32, 32),
    ]
    decoder = [
        norm(32) + conv(32, 16, 8) + norm(16) + conv(16, 16) + norm(16) + dual_attention(16) + conv(16, 4, 1),
        conv(16, 8, 8) + norm(8) + conv(8, 8) + norm(8) + conv(8, 4, 1),
    ]
    merge = {True: conv(32, 16) + conv(16, 8), False: norm(16) + conv(16, 16) + norm(8) + conv(8, 8)}
    network = build(options={"concat_skips": concat_skips})
    assert sum(p.numel() for p in network.parameters()) == sum(encoder) + sum(decoder) + merge[concat_skips]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 35_459_111),
        ({"attention": False}, 34_902_804),
        ({"dcp": False}, 36_690_471),
        ({"dcp": False, "attention": False}, 36_134_164),
        ({"concat_skips": False}, 30_345_831),
    ],
)
def test_number_of_parameters_at_the_size_of_nnunets_plans(options, parameters):
    """Six stages of 32 to 320 features, two modalities and four classes: the 3d_fullres plans of iSeg."""
    strides = [(1, 1, 1)] + [(2, 2, 2)] * 4 + [(1, 2, 2)]
    with torch.device("meta"):
        network = build(features=(32, 64, 128, 256, 320, 320), strides=strides, randomised=False, options=options)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_stages": 1}, "at least 2 stages, not 1"),
        ({"features_per_stage": [8, 16]}, "features_per_stage has 2 entries, but 3 are needed"),
        ({"kernel_sizes": [[3, 3, 3]] * 4}, "kernel_sizes has 4 entries, but 3"),
        ({"strides": [[1, 1, 1]]}, "strides has 1 entries, but 3"),
        ({"n_conv_per_stage": [2]}, "n_conv_per_stage has 1 entries, but 3"),
        ({"n_conv_per_stage_decoder": [2, 2, 2]}, "n_conv_per_stage_decoder has 3 entries, but 2"),
        ({"n_blocks_per_stage": [1, 1, 1]}, "either n_conv_per_stage or n_blocks_per_stage"),
        ({"n_conv_per_stage": None}, "either n_conv_per_stage or n_blocks_per_stage"),
        ({"attention_stages": [1, 2]}, r"attention_stages names \[2\], but the decoder's stages are 0 to 1"),
        ({"features_per_stage": [2, 4, 8]}, "at least 4 channels, not 2"),
    ],
)
def test_contradicting_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DualAggUNet(1, num_classes=2, **{**arch_kwargs(), **change})


def test_patch_with_batch_and_channel_axes_is_refused():
    with pytest.raises(ValueError, match="has to have 3 axes"):
        build().compute_conv_feature_map_size((1, 2, 16, 16, 16))
