"""Time and peak memory of a function, on a CPU or a CUDA device."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

WARM_UP = 2  # the first call compiles and lets cuDNN choose its algorithms


def interleaved_times(
    functions: Mapping[Any, Callable[[], Any]], repeats: int, device: torch.device, title: str, warm_up: int = WARM_UP
) -> dict[Any, list[float]]:
    """Seconds of every function, measured in rounds: what disturbs the machine for a while disturbs all of them.

    Args:
        functions: by name.
        repeats: number of rounds.
        device: where they run; CUDA is waited for.
        title: of the progress bar.
        warm_up: calls of each before the first round.
    """
    times: dict[Any, list[float]] = {name: [] for name in functions}
    with tqdm(total=(warm_up + repeats) * len(functions), desc=title, leave=False) as bar:
        for function in functions.values():
            for _ in range(warm_up):
                function()
                bar.update()
        for _ in range(repeats):
            for name, function in functions.items():
                _wait(device)
                start = time.perf_counter()
                function()
                _wait(device)
                times[name].append(time.perf_counter() - start)
                bar.update()
    return times


def median(times: list[float]) -> float:
    """The median; an even number of times gives the mean of the middle two."""
    return statistics.median(times)


def ratio_range(times: list[float], reference: list[float]) -> tuple[float, float]:
    """Lowest and highest ratio of two times of one round; the ratio of the medians lies between them.

    Args:
        times: seconds, by round.
        reference: seconds of what it is compared with in the same rounds.
    """
    ratios = [time / other for time, other in zip(times, reference, strict=True)]
    return min(ratios), max(ratios)


def peak_bytes(function: Callable[[], Any], device: torch.device) -> int:
    """How far the memory of PyTorch's allocator rises during a call above its level before it, in bytes.

    On a CPU, buffers that oneDNN allocates for itself are not seen.
    """
    if device.type == "cuda":
        _wait(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library takes the lack of a GPU for an error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    # events() would sum allocations up by operator; the peak needs them one by one, frees being negative.
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    return peak


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
