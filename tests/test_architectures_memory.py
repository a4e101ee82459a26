"""What the network allocates: the planner's estimate, flash attention, checkpointing."""

import numpy as np
import pytest
import torch
from architecture_networks import assert_equal_to, build, layers
from torch.profiler import ProfilerActivity, profile

from nnunetv2_dualagg.architectures.attention import PositionAttention


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def saved_bytes(network, x):
    """Bytes of the distinct maps that autograd keeps for the backward pass; weights do not count."""
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(x)
    del output
    return sum(kept.values())


PLANS = [
    ({}, (16, 16, 16)),
    ({"features": (8, 16), "n_conv": 4}, (16, 24, 16)),
    ({"features": (8, 16, 32, 32)}, (24, 24, 24)),
    ({"features": (16, 32, 64)}, (12, 16, 16)),
    ({"kernel": [(1, 3, 3), (3, 3, 3), (3, 3, 3)], "strides": [(1, 1, 1), (1, 2, 2), (2, 2, 2)]}, (8, 32, 32)),
    ({"dim": 2, "features": (8, 16, 32, 32, 32)}, (64, 64)),
    ({"options": {"dcp": False}}, (24, 24, 24)),
    ({"options": {"attention": False}}, (32, 24, 16)),
    ({"options": {"concat_skips": False}}, (16, 24, 24)),
]


def test_feature_map_size_follows_what_autograd_saves():
    networks = [(build(**plans), size) for plans, size in PLANS]
    estimates = np.array([network.compute_conv_feature_map_size(size) for network, size in networks])
    saved = np.array([saved_bytes(network, torch.randn(1, 2, *size)) for network, size in networks])
    assert np.corrcoef(estimates, saved)[0, 1] >= 0.98
    # A float32 map is kept before and after its norm: 8 bytes a value.
    assert saved / estimates == pytest.approx(8, rel=0.1)


def test_feature_map_size_leaves_the_network_as_it_was():
    network = build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.compute_conv_feature_map_size((16, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def memory_of(function):
    """Names of the operators that ran, and the largest block of memory that one of them asked for."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = profiler.events()
    return {event.name for event in events}, max(event.cpu_memory_usage for event in events)


def test_attention_runs_on_flash_kernels_without_an_n_by_n_matrix():
    attention = PositionAttention(layers(), 16, 8)
    x = torch.randn(1, 16, 16, 16, 16, requires_grad=True)
    names, largest = memory_of(lambda: attention(x).sum().backward())
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in names
    assert "aten::_scaled_dot_product_flash_attention_for_cpu_backward" in names
    assert largest < 0.1 * 4 * (16**3) ** 2


def test_checkpointing_gives_the_same_gradients_for_less_memory():
    plain = build(options={"deep_supervision": True})
    thrifty = build(options={"deep_supervision": True, "checkpointing": True})
    thrifty.load_state_dict(plain.state_dict())
    x = torch.randn(2, 2, 16, 16, 16)
    for network in (plain, thrifty):
        sum(output.square().mean() for output in network(x)).backward()
    for expected, parameter in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert_equal_to(expected.grad.double(), parameter.grad, 1e-6)
    assert saved_bytes(thrifty, x) < 0.5 * saved_bytes(plain, x)
