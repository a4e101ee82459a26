"""From a model folder of nnU-Net to one file, and back."""

import io
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nnunetv2_dualagg.inference.bundle import (
    FORMAT,
    build_network,
    canonical_names,
    checksum,
    read_bundle,
)
from nnunetv2_dualagg.inference.bundle_schema import CONTENT, one_line
from nnunetv2_dualagg.inference.trained_folder import read_trained
from nnunetv2_dualagg.planning.networks import builder_of
from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.files import new_directory, new_file

DEFAULT_FOLDS = (0, 1, 2, 3, 4)
ISEG_ORIENTATION = "LAS"
"""Orientation of the images that ``convert_iseg`` writes."""


def pack_model(
    model_folder: Path | str,
    output: Path | str,
    folds: Sequence[int | str] = DEFAULT_FOLDS,
    checkpoint_name: str = "checkpoint_final.pth",
    *,
    half: bool = False,
    orientation: str | None = None,
    description: str = "",
    licence: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a trained model as one file that cannot run code.

    Args:
        model_folder: holds plans.json, dataset.json and fold_X/.
        output: the file to write; its name should end with ``.safetensors``.
        folds: the folds that an ensemble of the model consists of.
        checkpoint_name: the checkpoint in each fold's folder.
        half: store weights in half precision.
        orientation: axis codes of the images that the model was trained on, such as RAS; by default what
            dataset.json says under "orientation", or else LAS, in which ``convert_iseg`` writes images.
        description: what the model is, for people.
        licence: under which terms it may be used.
        overwrite: replace an existing ``output``.

    Returns:
        ``output``, which has been read back.

    Raises:
        UserError: the folder lacks something, or the model is one that such a file cannot hold.
    """
    folder = Path(model_folder)
    folds = [fold if fold == "all" else int(fold) for fold in folds]
    plans, dataset, checkpoints = read_trained(folder, [folder / f"fold_{fold}" / checkpoint_name for fold in folds])
    with explained(f"{folder} cannot be packed"):  # nnU-Net's and PyTorch's exceptions
        first = checkpoints[0]
        configuration = first["init_args"]["configuration"]
        axes = first.get("inference_allowed_mirroring_axes")
        content = {
            "trainer": first["trainer_name"],
            "configuration": configuration,
            "folds": folds,
            "mirroring_axes": None if axes is None else list(axes),
            "orientation": orientation or dataset.get("orientation", ISEG_ORIENTATION),
            "plans": _plans(folder, plans, configuration),
            "dataset": _of_schema(dataset, "dataset"),
            "versions": {name: version(name) for name in ("nnunetv2_dualagg", "nnunetv2", "torch")},
            "training": _training(dataset, first, checkpoint_name),
            "description": description,
            "licence": licence,
        }
        content = json.loads(json.dumps(content, default=_plain))
        tensors = _tensors(folder, content, checkpoints, half)
    content["sha256"] = checksum(sorted(tensors.items()))
    with new_file(output, overwrite) as part:
        part.touch()
        usual = part.stat().st_mode
        try:
            save_file(tensors, part, {"format": FORMAT, "model": json.dumps(content)})
        except SafetensorError as error:  # a full disk, for example
            raise UserError(f"{output} cannot be written: {one_line(error)}") from error
        part.chmod(usual)  # safetensors makes files that nobody else may read
        try:
            read_bundle(part)
        except UserError as error:
            raise UserError(f"{folder} cannot be packed: {str(error).replace(str(part), 'the file')}") from error
    return Path(output)


def unpack_model(file: Path | str, output: Path | str, overwrite: bool = False) -> Path:
    """Write a model file back as a folder for nnU-Net's commands (``nnUNetv2_predict_from_modelfolder -m``).

    For ``nnUNetv2_predict`` put the folder where :func:`results_folder` says.

    Args:
        file: what :func:`pack_model` wrote.
        output: the folder to make.
        overwrite: replace an existing ``output``.

    Returns:
        ``output``.

    Raises:
        UserError: the file is not sound; ``output`` exists.
    """
    bundle = read_bundle(file)
    content = bundle.content
    with new_directory(output, "unpack_model", overwrite, inputs=[file]) as folder:
        for fold, weights in zip(content["folds"], bundle.weights, strict=True):
            (folder / f"fold_{fold}").mkdir()
            axes = content["mirroring_axes"]
            checkpoint = {
                "trainer_name": content["trainer"],
                "init_args": {"configuration": content["configuration"], "fold": fold},
                "inference_allowed_mirroring_axes": None if axes is None else tuple(axes),
                "network_weights": weights,
            }
            buffer = io.BytesIO()  # of a full disk PyTorch's own writer tells nothing
            torch.save(checkpoint, buffer)
            (folder / f"fold_{fold}" / "checkpoint_final.pth").write_bytes(buffer.getbuffer())
        dataset = {"numTraining": 0, **content["dataset"], "orientation": content["orientation"]}
        (folder / "plans.json").write_text(json.dumps(content["plans"], indent=4))
        (folder / "dataset.json").write_text(json.dumps(dataset, indent=4))
        card = {key: content[key] for key in ("description", "licence", "versions", "training", "sha256")}
        (folder / "model.json").write_text(json.dumps(card, indent=4))
    return Path(output)


def results_folder(content: Mapping[str, Any]) -> Path:
    """Where below ``nnUNet_results`` nnU-Net looks for a model, such as DatasetXXX_Name/Trainer__Plans__3d_fullres."""
    plans = content["plans"]
    name = f"{content['trainer']}__{plans['plans_name']}__{content['configuration']}"
    return Path(plans["dataset_name"]) / name


def _plans(folder: Path, plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """The parts of the plans that inference needs, with the one configuration, inheritance resolved."""
    if configuration not in plans.get("configurations", {}):
        raise UserError(f"{folder / 'plans.json'} has no configuration {configuration}, of which the checkpoint is")
    resolved = PlansManager(plans).get_configuration(configuration).configuration
    if resolved.get("previous_stage") is not None:
        raise UserError(f"{folder} is the second stage of a cascade; a model file holds a single stage")
    known = CONTENT["properties"]["plans"]["properties"]["configurations"]["additionalProperties"]["properties"]
    resolved = {key: value for key, value in resolved.items() if key in known}
    return {**_of_schema(plans, "plans"), "configurations": {configuration: resolved}}


def _of_schema(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    known = CONTENT["properties"][part]["properties"]
    return {key: value for key, value in values.items() if key in known}


def _training(dataset: Mapping[str, Any], checkpoint: Mapping[str, Any], checkpoint_name: str) -> dict[str, str]:
    return {
        "dataset": str(dataset.get("name", "")),
        "cases": str(dataset.get("numTraining", "")),
        "epochs": str(checkpoint.get("current_epoch", "")),
        "checkpoint": checkpoint_name,
    }


def _tensors(
    folder: Path, content: Mapping[str, Any], checkpoints: Sequence[Mapping[str, Any]], half: bool
) -> dict[str, Tensor]:
    build = builder_of(content["trainer"])
    if build is None:
        raise UserError(f"{folder} was trained with {content['trainer']}; a model file needs one of the known trainers")
    network = build_network(content, build)
    tensors = {}
    for fold, checkpoint in zip(content["folds"], checkpoints, strict=True):
        if checkpoint["trainer_name"] != content["trainer"]:
            raise UserError(f"{folder}: fold {fold} is of {checkpoint['trainer_name']}, others of {content['trainer']}")
        try:
            network.load_state_dict(checkpoint["network_weights"])  # also brings weights of earlier versions up to date
        except Exception as error:  # the record of the network's options may be anything
            raise UserError(
                f"{folder}: the weights of fold {fold} do not fit the network: {one_line(error)}"
            ) from error
        state = network.state_dict()
        for name in set(canonical_names(network).values()):
            tensor = state[name].detach()
            tensor = tensor.half() if half and tensor.is_floating_point() else tensor
            tensors[f"fold_{fold}/{name}"] = tensor.contiguous().clone()
    return tensors


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise UserError(f"the plans contain a {type(value).__name__}, which JSON cannot represent")
