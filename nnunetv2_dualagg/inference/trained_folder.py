"""The folder of a trained model of nnU-Net, read so that nothing in it can run code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.checkpoints import load_checkpoint
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import Plans, TrainedDatasetJson
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.names import check_name

_AXES = (0, 1, 2)


def read_trained(
    folder: Path, checkpoints: Sequence[Path]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Read plans.json, dataset.json and some checkpoints; then nnU-Net, which trusts them, may load them too.

    Args:
        folder: the model's folder.
        checkpoints: files in it.

    Returns:
        Plans, dataset.json and the checkpoints.

    Raises:
        UserError: a file is missing or damaged, is of another form, or might run code.
    """
    for file in (folder / "plans.json", folder / "dataset.json", *checkpoints):
        if not file.is_file():
            raise UserError(f"{folder} is not a complete trained model: {file} is missing")
    plans = read_json(folder / "plans.json", Plans)
    dataset = read_json(folder / "dataset.json", TrainedDatasetJson)
    loaded = [load_checkpoint(file) for file in checkpoints]
    for file, checkpoint in zip(checkpoints, loaded, strict=True):
        check_name(checkpoint.get("trainer_name"), f"{file}: the trainer")
        init_args = checkpoint.get("init_args")
        configuration = init_args.get("configuration") if isinstance(init_args, dict) else None
        axes = checkpoint.get("inference_allowed_mirroring_axes")
        if axes is not None and not (isinstance(axes, tuple | list) and all(axis in _AXES for axis in axes)):
            raise UserError(f"{file} mirrors along {repr(axes)[:100]}; expected some of the axes 0, 1 and 2")
        if not isinstance(configuration, str) or configuration not in plans["configurations"]:
            raise UserError(f"{file} is of the configuration {configuration!r}, which plans.json does not have")
    return plans, dataset, loaded
