"""Where the time of a training step goes, by kind of kernel, and which attention kernels were chosen.

    python scripts/gpu_report/kernels.py -o OUT/kernels.json --device cuda iseg

The steps run without torch.compile, which would merge kernels of different kinds into one.
"""

import re
from typing import Any

import torch
from common import parser, write
from steps import setting_of
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from nnunetv2_dualagg.benchmark.setting import BASELINE, FULL, RESENC, Setting
from nnunetv2_dualagg.benchmark.training import TrainingStep, make_loss

# The first that matches counts. On a CPU the names are those of operators.
KINDS = {
    "attention": r"flash|fmha|sdpa|attention",
    "change of layout": r"nchw|nhwc|transpose|permute|copy|contiguous|reorder",
    "normalisation": r"norm|bn_|batch_norm",
    "optimiser": r"multi_tensor|foreach|lerp|addcdiv|sgd|adam",
    "convolution": r"conv|wgrad|dgrad|xmma|cutlass|cudnn|gemm|implicit|cublas|bmm|mm$",
    "other": "",
}
ATTENTION = r"_scaled_dot_product_\w*attention\w*"
STEPS = 3


def main() -> None:
    """Profile a few steps of each network."""
    made = parser(__doc__)
    made.add_argument("setting")
    args = made.parse_args()
    setting, device = setting_of(args.setting), torch.device(args.device)
    torch.backends.cudnn.benchmark = True
    write(args.o, {name: profiled(name, setting, device) for name in (BASELINE, RESENC, FULL)})


def profiled(name: str, setting: Setting, device: torch.device) -> dict[str, Any]:
    """Milliseconds a step by kind, the ten longest kernels, and operators and kernels of attention."""
    step = TrainingStep(name, setting, device, make_loss(len(setting.strides) - 1, compiled=False), compiled=False)
    for _ in range(2):
        step()
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_cuda
    with profile(activities=activities) as profiler:
        for _ in range(STEPS):
            step()
    events = profiler.key_averages()
    if on_cuda:
        kernels = [
            e for e in events if e.device_type == DeviceType.CUDA and not getattr(e, "is_user_annotation", False)
        ]
        times = {kernel.key: kernel.self_device_time_total for kernel in kernels}
    else:
        times = {event.key: event.self_cpu_time_total for event in events}
    times = {key: time / STEPS / 1000 for key, time in times.items()}
    kinds = dict.fromkeys(KINDS, 0.0)
    for key, time in times.items():
        kinds[kind_of(key)] += time
    longest = sorted(times, key=lambda key: -times[key])
    return {
        "ms_a_step": sum(times.values()),
        "ms_by_kind": kinds,
        "longest": {key[:200]: times[key] for key in longest[:10]},
        "attention_operators": sorted({e.key for e in events if re.search(ATTENTION, e.key)}),
        "attention_kernels": sorted({key[:200] for key in times if kind_of(key) == "attention"}),
    }


def kind_of(kernel: str) -> str:
    """The kind of a kernel, by its name."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, kernel, re.IGNORECASE))


if __name__ == "__main__":
    main()
