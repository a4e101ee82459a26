"""Ways to run the network: mixed precision, torch.compile, memory formats, several processes."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from architecture_networks import arch_kwargs, assert_equal_to, build
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch.utils._python_dispatch import TorchDispatchMode

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.attention import ChannelAttention

DEEP = {"deep_supervision": True}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("plans", [{}, {"dim": 2}])
def test_mixed_precision_stays_finite_with_large_activations(dtype, plans):
    network = build(**plans, options=DEEP)
    with torch.no_grad():
        network.encoder.stem.weight.mul_(1e3)  # all maps of the residual stream are about 1e3 then
    x = torch.randn(1, 2, *(16,) * plans.get("dim", 3))
    with torch.autocast("cpu", dtype=dtype):
        outputs = network(x)
        loss = sum(output.float().square().mean() for output in outputs)
    loss.backward()
    assert all(output.dtype == dtype and output.isfinite().all() for output in outputs)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    for output, exact in zip(outputs, network(x), strict=True):
        error = (output - exact).norm() / exact.norm()
        assert error < (0.01 if dtype == torch.float16 else 0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_channel_affinity_does_not_overflow(dtype):
    """1e3 squared times 16**3 voxels is 4e9; the largest float16 is 65504."""
    x = (torch.randn(1, 8, 16, 16, 16) * 1e3).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        output = ChannelAttention()(x)
    assert output.dtype == dtype
    assert_equal_to(ChannelAttention()(x.double()), output, 0.02)


def losses(network, x):
    return sum(output.square().mean() for output in network(x))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [(4, 8, 4), (16, 16, 18)])  # large maps have another layout on a CPU
def test_torch_compile_finds_one_graph(backend, size):
    network = build(features=(8, 16), options=DEEP)
    compiled = torch.compile(network, fullgraph=True, backend=backend)
    x = torch.randn(1, 2, *size)
    expected, result = losses(network, x), losses(compiled, x)
    assert_equal_to(expected.double(), result, 1e-5)
    gradients = [torch.autograd.grad(loss, list(network.parameters())) for loss in (expected, result)]
    for exact, gradient in zip(*gradients, strict=True):
        assert_equal_to(exact.double(), gradient, 1e-4)


def test_torch_compile_finds_one_graph_in_mixed_precision_and_with_checkpointing():
    network = build(features=(8, 16), options={**DEEP, "checkpointing": True})
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses(compiled, torch.randn(1, 2, 4, 8, 4)).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("dim", "memory_format"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_channels_last(dim, memory_format):
    network = build(dim=dim, options=DEEP)
    x = torch.randn(2, 2, *(16,) * dim)
    expected = network(x)
    network.to(memory_format=memory_format)
    for output, exact in zip(network(x.contiguous(memory_format=memory_format)), expected, strict=True):
        assert_equal_to(exact.double(), output)


def train_one_step(rank, folder):
    """In a process of its own; ends with an error, and so fails the test, if a parameter has no gradient."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.manual_seed(0)
    network = torch.nn.parallel.DistributedDataParallel(build(options=DEEP))
    for step in range(2):  # DDP notices in the second step that the first one left a parameter out
        network.zero_grad(set_to_none=True)
        losses(network, torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(rank + step))).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    total = torch.stack([gradient.double().sum() for gradient in gradients])
    both = [torch.empty_like(total) for _ in range(2)]
    dist.all_gather(both, total)
    assert torch.equal(*both)
    dist.destroy_process_group()


def test_distributed_data_parallel(tmp_path):
    mp.spawn(train_one_step, args=(str(tmp_path),), nprocs=2)


class OperatorRecorder(TorchDispatchMode):
    """Notes the names of all operators that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function.overloadpacket).removeprefix("aten."))
        return function(*args, **(kwargs or {}))


def operators(architecture, **kwargs):
    """Forward and backward on the meta device, which takes the same code path as CUDA and MPS."""
    with torch.device("meta"):
        network = architecture(2, num_classes=4, deep_supervision=True, **kwargs)
        with OperatorRecorder() as recorder:
            losses(network, torch.empty(1, 2, 16, 16, 16)).backward()
    return recorder.names


def test_operators_beyond_those_of_nnunets_networks_are_common_ones():
    """Each of these is implemented for CPU, CUDA and MPS; so is what ResidualEncoderUNet uses (average pooling)."""
    plans = arch_kwargs()
    blocks = {"n_blocks_per_stage": plans["n_conv_per_stage"]}
    ours = operators(DualAggUNet, max_key_tokens=100, **plans)
    theirs = operators(PlainConvUNet, **plans)
    del plans["n_conv_per_stage"]
    theirs |= operators(ResidualEncoderUNet, **plans, **blocks)
    softmax = {"_softmax", "_safe_softmax", "_softmax_backward_data"}
    products = {"bmm", "mul", "sum", "promote_types"}
    shapes = {"_unsafe_view", "constant_pad_nd", "split", "transpose", "unsqueeze"}
    assert ours - theirs <= softmax | products | shapes


@pytest.mark.parametrize(("dim", "size"), [(2, (18, 34)), (3, (8, 12, 10))])
@torch.no_grad()
def test_single_small_maps_are_predicted_by_onednn(dim, size):
    """PyTorch's own kernel, which it falls back to, takes a multiple of the time."""
    network = build(dim=dim, features=(8, 16)).eval()
    x = torch.randn(1, 2, *size)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        output = network(x)
    kernels = {event.key for event in profile.key_averages()}
    assert "aten::mkldnn_convolution" in kernels
    assert not kernels & {"aten::slow_conv3d", "aten::thnn_conv2d"}
    assert_equal_to(network.double()(x.double()), output, 1e-5)
