"""A trained model as one file that cannot run code: weights as safetensors, everything else as JSON in its metadata.

Reading trusts nothing in the file. The header is bounded before it is parsed; names are looked up in fixed lists
(:mod:`bundle_schema`); the network is first built without memory, to compare its shapes with those in the file; only
then are weights read, and their checksum is compared.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nnunetv2_dualagg.inference.bundle_schema import check_content, one_line
from nnunetv2_dualagg.planning.networks import Builder, builder_of
from nnunetv2_dualagg.utils.errors import UserError

INSTALLED = Path(__file__).parent / "models" / "synthetic_t1t2_1mm.safetensors"
"""The model that comes with the package; docs/model_card.md says what it is."""

FORMAT = "nnunetv2_dualagg model 1"
MAX_HEADER = 2 * 2**20
"""Bytes; that of five folds of nnU-Net's largest preset takes less than a quarter of it."""

MAX_DESCRIPTION = 2**17
"""Characters; usual are 10,000. Lists of nothing take 20 times their length in memory."""

_FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_OTHERS = {"U8": torch.uint8, "BOOL": torch.bool, "I64": torch.int64}
_TYPES = {**_FLOATS, **_OTHERS}
_BYTES = {name: torch.empty(0, dtype=dtype).element_size() for name, dtype in _TYPES.items()}


@dataclass(frozen=True)
class Bundle:
    """A model that was read.

    Attributes:
        file: where it came from.
        content: what the file says; see :mod:`bundle_schema`.
        network: the network, with the weights of the first fold, in eval mode.
        weights: a complete state_dict for each fold.
    """

    file: Path
    content: dict[str, Any]
    network: nn.Module
    weights: list[dict[str, Tensor]]


def read_bundle(file: Path | str) -> Bundle:
    """Read a model file without executing anything that it says.

    Raises:
        UserError: it is no such file, it is damaged, or it asks for what this version does not know.
        OSError: it cannot be opened.
    """
    file = Path(file)
    _check_header(file)
    try:
        with safe_open(file, framework="pt") as opened:
            content = _content(file, opened.metadata() or {})
            aliases = _aliases(file, content)
            _check_entries(file, opened, content, aliases)
            _check_checksum(file, opened, content)
            weights = [_weights(file, opened, fold, aliases) for fold in content["folds"]]
    except SafetensorError as error:
        raise UserError(f"{file} is not a safetensors file: {one_line(error)}") from error
    return Bundle(file, content, _with_weights(file, content, weights), weights)


def build_network(content: Mapping[str, Any], build: Builder) -> nn.Module:
    """The network that a model's plans and trainer describe, with fresh weights."""
    plans = PlansManager(content["plans"])
    configuration = plans.get_configuration(content["configuration"])
    channels = determine_num_input_channels(plans, configuration, content["dataset"])
    classes = plans.get_label_manager(content["dataset"]).num_segmentation_heads
    return build(plans, configuration, channels, classes, False)


def canonical_names(network: nn.Module) -> dict[str, str]:
    """The name of each entry of the state_dict -> the first name of the same tensor (nnU-Net's decoders share)."""
    first: dict[int, str] = {}
    state = network.state_dict(keep_vars=True)
    return {name: first.setdefault(id(value), name) for name, value in state.items()}


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names and bytes of tensors in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(name.encode() + b"\0")
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_header(file: Path) -> None:
    """Bound the header before anything parses it."""
    size = os.path.getsize(file)
    with open(file, "rb") as stream:
        start = stream.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        raise UserError(
            f"{file} is not a safetensors file, or truncated: it has {size} bytes, and its header is not in it"
        )
    if length > MAX_HEADER:
        raise UserError(f"{file} has a header of {length} bytes; expected at most {MAX_HEADER}")


def _content(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{file} was not written by nnUNetv2_dualagg pack_model: its format is {one_line(metadata.get('format'))}"
        )
    text = metadata.get("model", "")
    if len(text) > MAX_DESCRIPTION:
        raise UserError(f"{file} describes its model in {len(text)} characters; expected at most {MAX_DESCRIPTION}")
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: the description of the model is not JSON ({one_line(error)})") from error
    try:
        check_content(content, str(file))
    except RecursionError as error:
        raise UserError(f"{file}: the description of the model is nested too deeply") from error
    _check_consistency(file, content)
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check_consistency(file: Path, content: Mapping[str, Any]) -> None:
    """What a schema cannot say."""
    if builder_of(content["trainer"]) is None:
        raise UserError(f"{file} is of the trainer {content['trainer']}, which this version does not know")
    plans, dataset = content["plans"], content["dataset"]
    if content["configuration"] not in plans["configurations"]:
        raise UserError(f"{file} has no plans for its configuration {content['configuration']}")
    configuration = plans["configurations"][content["configuration"]]
    architecture = configuration["architecture"]
    kwargs = architecture["arch_kwargs"]
    channels, labels = len(dataset["channel_names"]), dataset["labels"]
    rank = 3 if kwargs["conv_op"].endswith("3d") else 2
    stages = kwargs["n_stages"]
    per_stage = ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage")
    sound = {
        "folds": len(set(content["folds"])) == len(content["folds"]),
        "channel_names": sorted(map(int, dataset["channel_names"])) == list(range(channels)),
        "labels": len(set(labels.values())) == len(labels) and labels.get("ignore", 255) >= max(labels.values()),
        "normalization_schemes": len(configuration["normalization_schemes"]) == channels,
        "use_mask_for_norm": len(configuration["use_mask_for_norm"]) == channels,
        "patch_size": len(configuration["patch_size"]) == rank,
        "spacing": len(configuration["spacing"]) == rank,
        "mirroring_axes": all(axis < rank for axis in content["mirroring_axes"] or ()),
        "transpose_forward": sorted(plans["transpose_forward"]) == [0, 1, 2],
        "transpose_backward": [plans["transpose_forward"][axis] for axis in plans["transpose_backward"]] == [0, 1, 2],
        "_kw_requires_import": all(
            name in architecture["_kw_requires_import"] or kwargs.get(name) is None
            for name in ("conv_op", "norm_op", "dropout_op", "nonlin")
        )
        and all(name in kwargs for name in architecture["_kw_requires_import"]),
        **{name: len(kwargs[name]) == stages for name in per_stage if isinstance(kwargs.get(name), list)},
    }
    wrong = [name for name, good in sound.items() if not good]
    if wrong:
        raise UserError(f"{file} is inconsistent in {wrong[0]}")


def _build(file: Path, content: Mapping[str, Any]) -> nn.Module:
    """The network without memory for its weights."""
    build = builder_of(content["trainer"])
    assert build is not None
    try:
        with torch.device("meta"):
            return build_network(content, build)
    except Exception as error:  # whatever an architecture has against its arguments
        raise UserError(f"{file}: no network can be built from its plans: {one_line(error)}") from error


def _aliases(file: Path, content: Mapping[str, Any]) -> dict[str, tuple[str, Tensor]]:
    """Each name in the state_dict with the name under which the file has it, and a tensor like it, without memory."""
    network = _build(file, content)
    state = network.state_dict()
    return {name: (canonical, state[name]) for name, canonical in canonical_names(network).items()}


def _check_entries(file: Path, opened: Any, content: Mapping[str, Any], aliases: Mapping[str, Any]) -> None:
    expected: dict[str, Any] = {}
    for fold in content["folds"]:
        expected |= {f"fold_{fold}/{canonical}": value for canonical, value in aliases.values()}
    found = set(opened.keys())
    for names, what in (
        (expected.keys() - found, "lacks"),
        (found - expected.keys(), "has, besides those of its plans,"),
    ):
        if names:
            raise UserError(f"{file} {what} {len(names)} entries, such as {min(names)[:200]}")
    for name, value in expected.items():
        entry = opened.get_slice(name)
        shape, kind = list(entry.get_shape()), entry.get_dtype()
        fits = kind in _FLOATS if value.dtype.is_floating_point else _OTHERS.get(kind) == value.dtype
        if shape != list(value.shape) or not fits:
            raise UserError(f"{file} has {name} of shape {shape} and type {kind}; its plans give {list(value.shape)}")
    total = sum(prod(opened.get_slice(name).get_shape()) * _BYTES[opened.get_slice(name).get_dtype()] for name in found)
    if total > os.path.getsize(file):
        raise UserError(f"{file} names more weights than it holds")


def _check_checksum(file: Path, opened: Any, content: Mapping[str, Any]) -> None:
    found = checksum((name, opened.get_tensor(name)) for name in sorted(opened.keys()))
    if found != content["sha256"]:
        raise UserError(f"{file} is damaged: the checksum of its weights is {found[:12]}, not {content['sha256'][:12]}")


def _weights(file: Path, opened: Any, fold: int | str, aliases: Mapping[str, Any]) -> dict[str, Tensor]:
    """The whole state_dict of a fold, floats in the network's own precision; what is shared is one tensor again."""
    tensors: dict[str, Tensor] = {}
    for canonical, like in aliases.values():
        if canonical not in tensors:
            tensor = opened.get_tensor(f"fold_{fold}/{canonical}").to(like.dtype, copy=True)
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise UserError(f"{file} holds weights that are NaN or infinite in fold_{fold}/{canonical}")
            tensors[canonical] = tensor
    return {name: tensors[canonical] for name, (canonical, _) in aliases.items()}


def _with_weights(file: Path, content: Mapping[str, Any], weights: list[dict[str, Tensor]]) -> nn.Module:
    """The network with the weights of the first fold; every fold's weights are tried."""
    network = _build(file, content)
    # nnU-Net copies other folds' weights into the network, so it must not share memory with the first's.
    first = weights[-1] if len(weights) == 1 else {name: value.clone() for name, value in weights[-1].items()}
    try:
        network.load_state_dict(first, assign=True)
        for state in reversed(weights[:-1]):
            network.load_state_dict(state)
    except Exception as error:  # the record of the network's options may be anything
        raise UserError(f"{file}: its weights do not fit its network: {one_line(error)}") from error
    return network.eval()
