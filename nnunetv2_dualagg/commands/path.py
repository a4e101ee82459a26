"""``path``: the folder for nnU-Net's environment variable nnUNet_extTrainer."""

import argparse
from pathlib import Path

HELP = "print the folder for nnUNet_extTrainer, or check what nnU-Net finds there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="say what nnU-Net finds with the current setting, which models in nnUNet_results this version cannot use, "
        "and what to type",
    )


def run(args: argparse.Namespace) -> int:
    """Print the folder, or the outcome of the check; 1 if nnU-Net would not find our trainers."""
    from nnunetv2_dualagg.training.trainer_search import check_ext_trainer
    from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

    if not args.check:
        print(EXT_TRAINER_FOLDER)
        return 0
    found, message = check_ext_trainer()
    print(message)
    unusable = _unusable_models()
    print(*unusable, sep="\n", end="\n" if unusable else "")
    return 0 if found and not unusable else 1


def _unusable_models() -> list[str]:
    from nnunetv2.paths import nnUNet_results

    from nnunetv2_dualagg.inference.installed_models import unusable_models

    return unusable_models(Path(str(nnUNet_results))) if nnUNet_results.is_set() else []
