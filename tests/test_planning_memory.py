"""nnU-Net's reference values may only be used for DualAggUNet if its estimate means the same amount of memory."""

import pytest
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from torch import nn

from nnunetv2_dualagg.architectures import DualAggUNet


class FlashLike(torch.autograd.Function):
    """What a flash kernel keeps for the backward pass: its three inputs, its output, and one number a query."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out


def bytes_saved_by_autograd(network, patch):
    """In half precision and without data (meta device), for a batch of one."""
    network = network.half()
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage  # keeping the storage keeps its address from being used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.empty(1, 2, *patch, device="meta", dtype=torch.half))
    return sum(storage.nbytes() for storage in saved.values())


def bytes_per_value_counted(network_class, patch, spacing):
    dimension = len(patch)
    _, strides, kernels, patch, _ = get_pool_and_conv_props(spacing, patch, 4, 999999)
    n = len(strides)
    with torch.device("meta"):
        network = network_class(
            input_channels=2,
            n_stages=n,
            features_per_stage=[min(32 * 2**i, 320 if dimension == 3 else 512) for i in range(n)],
            conv_op={2: nn.Conv2d, 3: nn.Conv3d}[dimension],
            kernel_sizes=kernels,
            strides=strides,
            n_conv_per_stage=[2] * n,
            n_conv_per_stage_decoder=[2] * (n - 1),
            num_classes=4,
            conv_bias=True,
            norm_op={2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimension],
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=True,
        )
    counted = network.compute_conv_feature_map_size(patch)
    return bytes_saved_by_autograd(network, patch) / counted


@pytest.mark.parametrize(
    ("patch", "spacing"),
    [
        ((128, 128, 128), (1, 1, 1)),
        ((96, 128, 160), (1, 1, 1)),
        ((48, 192, 192), (3, 1, 1)),
        ((20, 256, 256), (8, 1, 1)),
        ((512, 512), (1, 1)),
        ((192, 160), (1, 1)),
    ],
)
def test_a_value_counted_is_as_many_bytes_as_in_nnunets_default_network(monkeypatch, patch, spacing):
    monkeypatch.setattr(F, "scaled_dot_product_attention", FlashLike.apply)
    ours = bytes_per_value_counted(DualAggUNet, patch, spacing)
    default = bytes_per_value_counted(PlainConvUNet, patch, spacing)
    assert ours == pytest.approx(default, rel=0.1)
