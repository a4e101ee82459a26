"""What each choice of DualAggUNet costs: the factors in docs/method.md, counted without data on any machine.

Prints FLOPs of a forward pass, convolution outputs (nnU-Net's measure of memory) and parameters of the network with
another choice, relative to the default, at nnU-Net's 3d_fullres plans for iSeg (one patch of 96x128x192 voxels).

    python scripts/cost_of_choices.py

Time of a training step on a CPU instead, of all networks by turns, at the benchmark's 48x48x48 patches; in brackets the
lowest and the highest ratio of a round:

    python scripts/cost_of_choices.py --time
"""

import argparse
from typing import Any

import torch

from nnunetv2_dualagg.benchmark.measure import interleaved_times, median, ratio_range
from nnunetv2_dualagg.benchmark.parts import count_flops
from nnunetv2_dualagg.benchmark.setting import FULL, NETWORKS, SETTINGS, build
from nnunetv2_dualagg.benchmark.training import TrainingStep, make_loss

SETTING = SETTINGS["iseg"]
CHOICES: dict[str, dict[str, Any]] = {
    "a whole residual block after the stem": {"n_conv_per_stage": [3, 2, 2, 2, 2, 2]},
    "nothing behind the DCP blocks": {"n_conv_per_stage": [2, 1, 1, 1, 1, 1]},
    "without DCP": {"dcp": False},
    "added skips": {"concat_skips": False},
    "without attention": {"attention": False},
    "attention also at half the resolution": {"attention_stages": [1, 2, 3, 4]},
    "attention at every decoder stage": {"attention_stages": [0, 1, 2, 3, 4]},
    "32^3 keys": {"max_key_tokens": 32**3},
    "keys never pooled": {"max_key_tokens": 10**9},
    "without the foreground channel": {"foreground_channel": False},
    "the network of version 0.1.0": {"foreground_channel": False, "residual": True, "undilated_share": None},
}
TIMED = ("without the foreground channel", "the network of version 0.1.0")
ROUNDS = 25


def cost(name: str) -> tuple[float, float, float]:
    """FLOPs, convolution outputs and parameters of one of the benchmark's networks."""
    with torch.device("meta"):
        network = build(name, SETTING, deep_supervision=False)
    outputs = network.compute_conv_feature_map_size(SETTING.patch_size)
    return count_flops(name, SETTING)[0], outputs, sum(p.numel() for p in network.parameters())


def print_costs() -> None:
    """The table of what is counted."""
    default = cost(FULL)
    print(f"| {'choice':37} | FLOPs | memory | parameters |\n|{'-' * 39}|------:|-------:|-----------:|")
    for name in CHOICES:
        flops, memory, parameters = (value / base for value, base in zip(cost(name), default, strict=True))
        print(f"| {name:37} | {flops:4.2f}x | {memory:5.2f}x | {parameters:9.2f}x |")


def print_times() -> None:
    """The table of training steps, relative to the default's."""
    setting, device = SETTINGS["small"], torch.device("cpu")
    loss = make_loss(len(setting.strides) - 1, compiled=False)
    steps = {name: TrainingStep(name, setting, device, loss, compiled=False) for name in (FULL, *TIMED)}
    times = interleaved_times(steps, ROUNDS, device, "training steps")
    print(f"| {'choice':37} | training step     |\n|{'-' * 39}|------------------:|")
    for name in TIMED:
        low, high = ratio_range(times[name], times[FULL])
        print(f"| {name:37} | {median(times[name]) / median(times[FULL]):4.2f}x ({low:.2f}-{high:.2f}) |")


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="measure training steps")
    timed = parser.parse_args().time
    network_class, _ = NETWORKS[FULL]
    NETWORKS.update({name: (network_class, options) for name, options in CHOICES.items()})
    if timed:
        print_times()
    else:
        print_costs()


if __name__ == "__main__":
    main()
