"""FLOPs of the networks, and the share that the paper's two modules have in the full one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_dualagg.architectures.attention import DualAttention
from nnunetv2_dualagg.architectures.dcp import DownsamplingBlock
from nnunetv2_dualagg.benchmark.measure import interleaved_times, median, ratio_range
from nnunetv2_dualagg.benchmark.setting import DATASET_JSON, FULL, Setting, build
from nnunetv2_dualagg.benchmark.training import TrainingStep, autocast, make_loss

PARTS: dict[str, type[nn.Module]] = {"DCP blocks": DownsamplingBlock, "dual attention": DualAttention}


def count_flops(name: str, setting: Setting) -> tuple[int, dict[str, int]]:
    """FLOPs of one patch's forward pass by torch's counter (a multiply-add is two), in total and of each part.

    Nothing is computed: the network runs on PyTorch's meta device.
    """
    with torch.device("meta"):
        network = build(name, setting, deep_supervision=False)
        patch = torch.empty(1, len(DATASET_JSON["channel_names"]), *setting.patch_size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(patch)
    by_module = counter.get_flop_counts()
    root = type(network).__name__
    parts = {
        part: sum(sum(by_module[f"{root}.{path}"].values()) for path, m in network.named_modules() if type(m) is cls)
        for part, cls in PARTS.items()
    }
    return counter.get_total_flops(), parts


def part_shares(setting: Setting, device: torch.device, repeats: int) -> dict[str, dict[str, Any]]:
    """Share of each part of DualAggUNet in parameters, forward FLOPs and the time of an (eager) training step.

    A part's time is that of its modules' forward and backward passes, run alone on the maps that they get in the
    network; ``time_range`` has its lowest and highest share in one round. The rest (residual blocks, up-sampling,
    heads, loss, optimiser) is what remains of the step.
    """
    loss = make_loss(len(setting.strides) - 1, compiled=False)
    step = TrainingStep(FULL, setting, device, loss, compiled=False)
    inputs = _inputs_of_parts(step)
    functions: dict[str, Callable[[], Any]] = {"step": step}
    functions |= {part: partial(_run_alone, inputs[part], device) for part in PARTS}
    times = interleaved_times(functions, repeats, device, "parts")
    flops, flops_of_parts = count_flops(FULL, setting)
    parameters = _size(step.network)
    shares: dict[str, dict[str, Any]] = {
        part: {
            "parameters": sum(_size(module) for module, _ in inputs[part]) / parameters,
            "flops": flops_of_parts[part] / flops,
            "time": median(times[part]) / median(times["step"]),
            "time_range": ratio_range(times[part], times["step"]),
        }
        for part in PARTS
    }
    shares["rest"] = {key: 1 - sum(share[key] for share in shares.values()) for key in ("parameters", "flops", "time")}
    return shares


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _inputs_of_parts(step: TrainingStep) -> dict[str, list[tuple[nn.Module, Tensor]]]:
    inputs: dict[str, list[tuple[nn.Module, Tensor]]] = {part: [] for part in PARTS}
    hooks = [
        module.register_forward_pre_hook(lambda m, args, part=part: inputs[part].append((m, args[0].detach().clone())))
        for part, cls in PARTS.items()
        for module in step.network.modules()
        if type(module) is cls
    ]
    with torch.no_grad(), autocast(step.device):
        step.network(step.data)
    for hook in hooks:
        hook.remove()
    return inputs


def _run_alone(modules: list[tuple[nn.Module, Tensor]], device: torch.device) -> None:
    for module, x in modules:
        x.requires_grad_()
        with autocast(device):
            y = module(x)
        torch.autograd.grad(y, [x, *module.parameters()], torch.ones_like(y))
