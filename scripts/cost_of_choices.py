"""What each choice of DualAggUNet costs: the factors in docs/method.md, counted without data on any machine.

Prints FLOPs of a forward pass, convolution outputs (nnU-Net's measure of memory) and parameters of the network with
another choice, relative to the default, at nnU-Net's 3d_fullres plans for iSeg (one patch of 96x128x192 voxels).

    python scripts/cost_of_choices.py
"""

from typing import Any

import torch

from nnunetv2_dualagg.benchmark.parts import count_flops
from nnunetv2_dualagg.benchmark.setting import FULL, NETWORKS, SETTINGS, build

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
}


def cost(name: str) -> tuple[float, float, float]:
    """FLOPs, convolution outputs and parameters of one of the benchmark's networks."""
    with torch.device("meta"):
        network = build(name, SETTING, deep_supervision=False)
    outputs = network.compute_conv_feature_map_size(SETTING.patch_size)
    return count_flops(name, SETTING)[0], outputs, sum(p.numel() for p in network.parameters())


def main() -> None:
    """Print the table."""
    network_class, _ = NETWORKS[FULL]
    NETWORKS.update({name: (network_class, options) for name, options in CHOICES.items()})
    default = cost(FULL)
    print(f"| {'choice':37} | FLOPs | memory | parameters |\n|{'-' * 39}|------:|-------:|-----------:|")
    for name in CHOICES:
        flops, memory, parameters = (value / base for value, base in zip(cost(name), default, strict=True))
        print(f"| {name:37} | {flops:4.2f}x | {memory:5.2f}x | {parameters:9.2f}x |")


if __name__ == "__main__":
    main()
