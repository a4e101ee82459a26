"""What each choice of DualAggUNet costs: the factors in docs/method.md, counted without data on any machine.

Prints FLOPs of a forward pass, convolution outputs (nnU-Net's measure of memory) and parameters of the network with
another choice, relative to the default, at nnU-Net's 3d_fullres plans for iSeg (one patch of 96x128x192 voxels).

    python scripts/cost_of_choices.py
"""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.benchmark.setting import DATASET_JSON, SETTINGS, plans_of

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


def cost(options: dict[str, Any]) -> tuple[float, float, float]:
    """FLOPs, convolution outputs and parameters of the default network, changed by ``options``."""
    _, configuration = plans_of(SETTING)
    kwargs = dict(configuration.network_arch_init_kwargs)
    for name in configuration.network_arch_init_kwargs_req_import:
        kwargs[name] = kwargs[name] and getattr(torch.nn, kwargs[name].rsplit(".", 1)[1])
    channels, classes = len(DATASET_JSON["channel_names"]), len(DATASET_JSON["labels"])
    with torch.device("meta"):
        network = DualAggUNet(input_channels=channels, num_classes=classes, **kwargs | options)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.empty(1, channels, *SETTING.patch_size))
    outputs = network.compute_conv_feature_map_size(SETTING.patch_size)
    return counter.get_total_flops(), outputs, sum(p.numel() for p in network.parameters())


def main() -> None:
    """Print the table."""
    default = cost({})
    print(f"| {'choice':37} | FLOPs | memory | parameters |\n|{'-' * 39}|------:|-------:|-----------:|")
    for name, options in CHOICES.items():
        flops, memory, parameters = (value / base for value, base in zip(cost(options), default, strict=True))
        print(f"| {name:37} | {flops:4.2f}x | {memory:5.2f}x | {parameters:9.2f}x |")


if __name__ == "__main__":
    main()
