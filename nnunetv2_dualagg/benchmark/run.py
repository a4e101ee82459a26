"""The benchmark as a whole, and its JSON file."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nnunetv2_dualagg.benchmark.inference import Inference
from nnunetv2_dualagg.benchmark.measure import interleaved_times, median, peak_bytes, ratio_range
from nnunetv2_dualagg.benchmark.parts import count_flops, part_shares
from nnunetv2_dualagg.benchmark.position_attention import measure_position_attention
from nnunetv2_dualagg.benchmark.setting import BASELINE, FULL, NETWORKS, RESENC, SETTINGS, Setting
from nnunetv2_dualagg.benchmark.table import COLUMNS, attention_table, networks_table, parts_table, ratios_table
from nnunetv2_dualagg.benchmark.training import TrainingStep, make_loss
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file

COMPILE_VARIABLE = "nnUNet_compile"
PACKAGES = ("nnunetv2_dualagg", "nnunetv2", "dynamic_network_architectures", "torch")


def benchmark(
    output: Path | str,
    device: str,
    setting_name: str | None = None,
    repeats: int = 5,
    volume_repeats: int = 3,
    patch_size: Sequence[int] | None = None,
    batch_size: int | None = None,
    volume: Sequence[int] | None = None,
    ratios_only: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compare the networks on this machine and write everything that was measured to a JSON file.

    Args:
        output: the file to write.
        device: "cuda" or "cpu".
        setting_name: one of :data:`SETTINGS`; default: "iseg" on CUDA, "small" on a CPU.
        repeats: rounds of measurement; the median counts.
        volume_repeats: the same for whole volumes.
        patch_size: instead of the setting's.
        batch_size: instead of the setting's.
        volume: instead of the setting's.
        ratios_only: measure nnU-Net's networks and ours, neither the ablations nor the parts.
        overwrite: replace an existing file.

    Returns:
        What was written, see docs/method.md.

    Raises:
        UserError: no such device or sizes, the memory does not suffice, or the file exists.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch finds no CUDA device; give -device cpu")
    where = torch.device(device)
    name = setting_name or ("iseg" if device == "cuda" else "small")
    sizes = {"patch_size": patch_size, "volume": volume}
    sizes = {key: None if size is None else tuple(size) for key, size in sizes.items()}
    setting = SETTINGS[name].with_sizes(batch_size=batch_size, **sizes)
    with new_file(output, overwrite) as part:
        result: dict[str, Any] = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": describe_machine(where),
            "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
            "options": {
                "setting": name,
                "device": device,
                "torch_compile": uses_compile(where),
                "repeats": repeats,
                "volume_repeats": volume_repeats,
            },
            "setting": asdict(setting),
        }
        try:
            if ratios_only:
                result |= compare(setting, where, repeats, volume_repeats, (BASELINE, RESENC, FULL))
            else:
                result |= measure(setting, where, repeats, volume_repeats)
                result["position_attention"] = measure_position_attention(setting, where, repeats)
                _print(attention_table(result["position_attention"]))
        except torch.OutOfMemoryError as error:
            raise UserError(f"{device} has not enough memory for {setting}; give a smaller -patch") from error
        part.write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(
    setting: Setting, device: torch.device, repeats: int, volume_repeats: int, networks: Sequence[str] = tuple(NETWORKS)
) -> dict[str, Any]:
    """What :func:`compare` measures, and ``parts``: where the time of DualAggUNet goes."""
    found = compare(setting, device, repeats, volume_repeats, networks)
    found["parts"] = part_shares(setting, device, repeats)
    _print(parts_table(found["parts"]))
    return found


def compare(
    setting: Setting, device: torch.device, repeats: int, volume_repeats: int, networks: Sequence[str]
) -> dict[str, Any]:
    """Compare networks; tables are printed as soon as they are complete.

    Args:
        setting: their plans.
        device: where to run.
        repeats: rounds of measurement.
        volume_repeats: the same for whole volumes.
        networks: names in :data:`NETWORKS`, PlainConvUNet among them.

    Returns:
        ``networks``, ``ratios`` and ``ratio_ranges``.
    """
    measured = measure_networks(setting, device, repeats, volume_repeats, networks)
    found: dict[str, Any] = {"networks": measured, "ratios": ratios(measured), "ratio_ranges": ratio_ranges(measured)}
    _print(ratios_table(found["ratios"], found["ratio_ranges"]), networks_table(measured))
    return found


def measure_networks(
    setting: Setting, device: torch.device, repeats: int, volume_repeats: int, networks: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Parameters, FLOPs, training step, peak memory, inference of a patch and of a volume, by network."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as nnUNetv2_train and nnUNetv2_predict do
    compiled = uses_compile(device)
    results: dict[str, dict[str, Any]] = {name: {"flops": count_flops(name, setting)[0]} for name in networks}
    loss = make_loss(len(setting.strides) - 1, compiled)  # one for all, so that it is compiled once
    steps = {name: TrainingStep(name, setting, device, loss, compiled) for name in networks}
    _note(results, "step", interleaved_times(steps, repeats, device, "training steps"))
    for name, step in steps.items():
        results[name]["parameters"] = sum(p.numel() for p in step.network.parameters())
        step.optimizer.zero_grad(set_to_none=True)
        results[name]["peak_bytes"] = step.resting_bytes() + peak_bytes(step, device)
        step.optimizer.zero_grad(set_to_none=True)
    del steps, step
    inferences = {name: Inference(name, setting, device) for name in networks}
    patches = {name: inference.predict_patch for name, inference in inferences.items()}
    _note(results, "patch", interleaved_times(patches, repeats, device, "inference of a patch"))
    volumes = {name: inference.predict_volume for name, inference in inferences.items()}
    _note(results, "volume", interleaved_times(volumes, volume_repeats, device, "inference of a volume", warm_up=0))
    return results


def uses_compile(device: torch.device) -> bool:
    """nnU-Net's rule for training: on CUDA, unless its environment variable says no."""
    setting = os.environ.get(COMPILE_VARIABLE, "true")
    return device.type == "cuda" and setting.lower() in ("true", "1", "t")


def _print(*tables: str) -> None:
    for table in tables:
        print(table, end="\n\n", flush=True)  # at once, for those who wait


def _note(results: dict[str, dict[str, Any]], what: str, times: dict[str, list[float]]) -> None:
    for name, seconds in times.items():
        results[name][f"{what}_seconds"] = median(seconds)
        results[name][f"all_{what}_seconds"] = seconds


def ratios(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Everything as a multiple of PlainConvUNet's, by network."""
    return {name: {key: values[key] / networks[BASELINE][key] for key in COLUMNS} for name, values in networks.items()}


def ratio_ranges(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Between which multiples of PlainConvUNet's the times were in single rounds, by other network."""
    times = [key for key in COLUMNS if f"all_{key}" in networks[BASELINE]]
    return {
        name: {key: ratio_range(values[f"all_{key}"], networks[BASELINE][f"all_{key}"]) for key in times}
        for name, values in networks.items()
        if name != BASELINE
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Operating system, processor, threads and, on CUDA, the device."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").is_file():  # Linux leaves platform.processor() empty
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    machine = {
        "system": platform.platform(),
        "processor": processor,
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["cuda_device"] = properties.name
        machine["cuda_memory_bytes"] = properties.total_memory
        machine["cuda"] = torch.version.cuda
        machine["cudnn"] = torch.backends.cudnn.version()
    return machine
