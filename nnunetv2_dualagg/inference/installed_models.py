"""Can this installation use the models that it finds? Model folders made with trainers of this package."""

import pickle
from pathlib import Path

import torch

import nnunetv2_dualagg
from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures.options_record import decode_record


def unusable_models(results: Path) -> list[str]:
    """What is missing to use the models below nnU-Net's results folder that were trained with our trainers.

    Args:
        results: ``nnUNet_results``, with a folder per dataset.

    Returns:
        A sentence for each model folder whose trainer this version does not have.
    """
    sentences = []
    for folder in sorted(results.glob("Dataset*/nnUNetTrainerDualAgg*__*__*")):
        trainer = folder.name.split("__")[0]
        if not hasattr(trainers, trainer):
            version = _recorded_version(folder)
            sentences.append(
                f"{folder} was trained with {trainer}{f' of nnunetv2_dualagg {version}' if version else ''}; "
                f"version {nnunetv2_dualagg.__version__} has no such trainer. "
                f"Type: pip install {f'nnunetv2-dualagg=={version}' if version else '-U nnunetv2-dualagg'}"
            )
    return sentences


def _recorded_version(folder: Path) -> str | None:
    """The version of this package in the first checkpoint that can be read and has it."""
    for file in sorted(folder.glob("fold_*/checkpoint_*.pth")):
        try:
            weights = torch.load(file, map_location="cpu", weights_only=False, mmap=True)["network_weights"]
            return decode_record(weights["_extra_state"])["version"]
        except (KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            continue  # a broken checkpoint, or weights of another network: they tell no version
    return None
