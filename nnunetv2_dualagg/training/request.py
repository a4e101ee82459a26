"""Check that what a training asks for exists, before nnU-Net makes folders or trains something else."""

from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import Plans, Splits
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.names import check_name
from nnunetv2_dualagg.utils.nnunet_folders import required_folder

NNUNET_FOLDS = 5


def check_request(dataset: str, configuration: str, fold: str, trainer: str, plans: str) -> None:
    """Check that a training is possible as requested.

    Args:
        dataset: the full name.
        configuration: a configuration of the plans.
        fold: a number, or "all".
        trainer: the name of a trainer that nnU-Net finds.
        plans: the name of plans.

    Raises:
        UserError: one of them does not exist, or the plans name something that is not a layer.
    """
    for what, name in (("the configuration", configuration), ("the trainer", trainer), ("the plans' name", plans)):
        check_name(name, what)
    folder = required_folder(nnUNet_preprocessed) / dataset
    file = folder / f"{plans}.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist; expected plans (-p), written by nnUNetv2_plan_experiment for example")
    configurations = read_json(file, Plans)["configurations"]
    if configuration not in configurations:
        raise UserError(f"{file} has no configuration {configuration}; expected one of {', '.join(configurations)}")
    _check_fold(folder, fold)
    try:
        recursive_find_trainer_class_by_name(trainer)
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"nnU-Net finds no trainer {trainer} (-tr); see nnUNetv2_dualagg path --check") from error


def _check_fold(folder: Path, fold: str) -> None:
    """nnU-Net would also train a fold that no split has, on a random part of the cases."""
    splits = folder / "splits_final.json"
    number = len(read_json(splits, Splits)) if splits.is_file() else NNUNET_FOLDS
    if fold != "all" and fold not in map(str, range(number)):
        raise UserError(f"the fold is {fold}; expected all or a number from 0 to {number - 1}")
