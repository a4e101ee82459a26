"""A small configuration in the plans of any U-Net: for machines without a GPU, for trials, for tests."""

import json
from collections.abc import Sequence
from copy import deepcopy
from math import prod
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.forms import Plans, UNetKwargs
from nnunetv2_dualagg.utils.json import check_form, read_json
from nnunetv2_dualagg.utils.names import check_name

PARENT = "3d_fullres"
MOST_FEATURES = 4096
_LISTS_OF_STAGES = ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")


def add_reduced_configuration(
    plans_file: Path,
    name: str,
    patch_size: Sequence[int],
    batch_size: int,
    features_per_stage: Sequence[int],
) -> None:
    """Add a configuration that inherits from ``3d_fullres`` and keeps only the upper stages of its U-Net.

    It uses the data preprocessed for ``3d_fullres``. On a CPU, choose patches of 40^3 voxels or more: with smaller
    ones PyTorch predicts many times more slowly, since it leaves its fast convolutions when an image has few voxels.

    Args:
        plans_file: plans of PlainConvUNet, ResidualEncoderUNet or DualAggUNet, in nnUNet_preprocessed.
        name: of the new configuration, such as ``3d_small``.
        patch_size: voxels z, y, x.
        batch_size: patches per batch.
        features_per_stage: channels of each stage; its length is the number of stages, at least the 3 that nnU-Net's
            deep supervision needs.

    Raises:
        UserError: the plans are not valid or name something that is not a layer, they have no ``3d_fullres`` or fewer
            stages, the patch does not fit the strides, a number or the name is none, or the plans have another
            configuration of that name. A configuration equal to this one is left alone.
    """
    check_name(name, "the configuration")
    plans = read_json(plans_file, Plans)
    if PARENT not in plans.get("configurations", {}):
        raise UserError(f"{plans_file} has no configuration {PARENT}, of which {name} would be a smaller one")
    if "architecture" not in plans["configurations"][PARENT]:
        raise UserError(f"{plans_file}: {PARENT} has no architecture; expected plans of nnU-Net 2.6 or later")
    architecture = deepcopy(plans["configurations"][PARENT]["architecture"])
    check_form(architecture["arch_kwargs"], UNetKwargs, f"{plans_file}, the network of {PARENT}")
    if not all(1 <= features <= MOST_FEATURES for features in features_per_stage):
        found = " ".join(map(str, features_per_stage))
        raise UserError(f"{plans_file}, configuration {name}: the features are {found}; expected 1 to {MOST_FEATURES}")
    _cut(architecture["arch_kwargs"], features_per_stage, f"{plans_file}, configuration {name}")
    _check_patch(patch_size, architecture["arch_kwargs"]["strides"], f"{plans_file}, configuration {name}")
    if batch_size < 1:
        raise UserError(f"{plans_file}, configuration {name}: the batch size is {batch_size}; expected at least 1")
    configuration = {
        "inherits_from": PARENT,
        "patch_size": list(patch_size),
        "batch_size": batch_size,
        "architecture": architecture,
    }
    present = plans["configurations"].get(name)
    if present == configuration:
        return
    if present is not None:
        raise UserError(f"{plans_file} has another configuration {name}; choose another name")
    plans["configurations"][name] = configuration
    with new_file(plans_file, overwrite=True) as part:
        part.write_text(json.dumps(plans, indent=4))


def _cut(arch_kwargs: dict[str, Any], features: Sequence[int], where: str) -> None:
    """Keep the first stages of the encoder and as many of the decoder as belong to them."""
    n_stages, available = len(features), arch_kwargs["n_stages"]
    if not 3 <= n_stages <= available:
        raise UserError(f"{where}: features for {n_stages} stages; expected 3 to {available}, as {PARENT} has")
    for key in _LISTS_OF_STAGES:
        if key in arch_kwargs:
            arch_kwargs[key] = arch_kwargs[key][:n_stages]
    # The decoder counts from the lowest stage up: its last entries belong to the stages that are kept.
    arch_kwargs["n_conv_per_stage_decoder"] = arch_kwargs["n_conv_per_stage_decoder"][1 - n_stages :]
    arch_kwargs["n_stages"] = n_stages
    arch_kwargs["features_per_stage"] = list(features)


def _check_patch(patch_size: Sequence[int], strides: Sequence[Sequence[int]], where: str) -> None:
    total = [prod(axis) for axis in zip(*strides, strict=True)]
    fits = len(patch_size) == len(total) and all(
        size > 0 and size % step == 0 for size, step in zip(patch_size, total, strict=True)
    )
    if not fits:
        raise UserError(
            f"{where}: the patch size is {' '.join(map(str, patch_size))}; expected {len(total)} multiples of "
            f"{' '.join(map(str, total))}, by which the stages divide it"
        )
