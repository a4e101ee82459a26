"""Check of pretrained weights: one sentence instead of nnU-Net's assertion, which prints a whole tensor.

nnU-Net loads ``-pretrained_weights`` between ``initialize`` and the first epoch and does not tell the trainer which
file it is, so the name of the file is read from the command line.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from torch import nn

from nnunetv2_dualagg.utils.checkpoints import load_checkpoint
from nnunetv2_dualagg.utils.errors import UserError

STEM = "encoder.stem.weight"
RULE = "known_background.rule"
NOT_LOADED = ".seg_layers."  # nnU-Net leaves the segmentation layers as they are: other labels are fine


def pretrained_weights_option() -> Path | None:
    """The file behind ``-pretrained_weights`` in the command that is running; None without it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-pretrained_weights", type=Path)
    parser.add_argument("-p")  # or argparse takes it for the beginning of the other
    return parser.parse_known_args(sys.argv[1:])[0].pretrained_weights


def check_pretrained_weights(network: nn.Module, file: Path) -> None:
    """See that a checkpoint has all weights that nnU-Net wants to load into a network.

    Args:
        network: a DualAggUNet, possibly compiled or in DistributedDataParallel.
        file: a checkpoint of nnU-Net.

    Raises:
        UserError: it is of another network, or of one with other input channels or other plans; or it is damaged, or
            might run code when nnU-Net loads it.
        FileNotFoundError: there is no such file.
    """
    checkpoint = load_checkpoint(file)
    weights = _plain(checkpoint["network_weights"])
    own = {key: value for key, value in _plain(network.state_dict()).items() if NOT_LOADED not in key}
    trainer = checkpoint.get("trainer_name", "an unknown trainer")
    if STEM in weights:  # of our network
        _check_foreground_channel(file, RULE in weights, RULE in own)
    missing = [key for key in own if key not in weights]
    if missing:
        raise UserError(
            f"{file} holds weights of another network, trained by {trainer}: {len(missing)} of the {len(own)} entries "
            f"of this network are not in it, such as {missing[-1]}"
        )
    channels, expected = (w[STEM].shape[1] - (RULE in w) for w in (weights, own))
    if channels != expected:
        raise UserError(
            f"{file}, trained by {trainer}, is for images with {channels} input channel(s), but this dataset has "
            f"{expected}; pretrained weights need as many channels, in the same order"
        )
    for key, value in own.items():
        if weights[key].shape != value.shape:
            raise UserError(
                f"{file}, trained by {trainer}, has {key} of shape {tuple(weights[key].shape)}, but this network "
                f"{tuple(value.shape)}; pretrain and train with the same plans (nnUNetv2_move_plans_between_datasets)"
            )


def _check_foreground_channel(file: Path, has: bool, needs: bool) -> None:
    if has != needs:
        words = ("with", "without") if has else ("without", "with")
        raise UserError(
            f"{file} was trained {words[0]} the foreground channel (0.1.0 had none), but this network is built "
            f"{words[1]} it; nnUNetTrainerDualAggNoForeground never has it, nnUNetTrainerDualAgg where the plans "
            "normalise inside the mask"
        )


def _plain(weights: dict[str, Any]) -> dict[str, Any]:
    """Without the prefixes of DistributedDataParallel and torch.compile."""
    return {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}
