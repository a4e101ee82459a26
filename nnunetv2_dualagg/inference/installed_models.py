"""Can this installation use the models that it finds? Model folders made with trainers of this package."""

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import nnunetv2_dualagg
from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures.options_record import BYTES
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import regular_file


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
    """The version of this package in the first checkpoint that has it, found without unpickling any.

    The record is a tensor of bytes, which PyTorch stores as they are in a file of its own in the archive.
    """
    for file in sorted(folder.glob("fold_*/checkpoint_*.pth")):
        try:
            with zipfile.ZipFile(regular_file(file)) as archive:
                entries = [entry for entry in archive.infolist() if entry.file_size == BYTES]
                records = [archive.read(entry) for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, UserError):
            continue  # a broken checkpoint has no version
        for record in (record for record in records if record.startswith(b'{"version": ')):
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                return str(json.loads(record)["version"])[:40]
    return None
