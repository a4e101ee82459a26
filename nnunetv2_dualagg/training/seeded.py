"""``nnUNetv2_train`` with a seed, which nnU-Net does not have, and with a resume that survives a kill.

The results of seed S lie in ``$nnUNet_results/seed_S``, beside those of other seeds. That folder is an ordinary
nnUNet_results: with the variable set to it, every command of nnU-Net works on the trainings of that seed.
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.run import run_training
from nnunetv2.utilities.file_path_utilities import get_output_folder

from nnunetv2_dualagg.training.nnunet_patches import seed_everything, seeded_nnunet
from nnunetv2_dualagg.training.request import check_request
from nnunetv2_dualagg.training.resuming import check_checkpoints, only_training_of
from nnunetv2_dualagg.utils.checkpoints import load_checkpoint
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.nnunet_folders import dataset_name, required_folder


def seed_folder(results: Path, seed: int) -> Path:
    """The nnUNet_results folder of one seed, below the common one."""
    return results / f"seed_{seed}"


def train(seed: int, arguments: Sequence[str]) -> None:
    """Run ``nnUNetv2_train`` with a seed.

    Python, NumPy, PyTorch and the worker processes that load the data are seeded. On a CPU, the same seed then gives
    the same weights, bit by bit, if the number of threads is the same too; on a GPU it does not, since nnU-Net lets
    cuDNN choose its algorithms by speed. A resumed training draws new random numbers, not those of its first epochs
    again. As everywhere else, OMP_NUM_THREADS limits the threads on a CPU, where nnU-Net would use all processors.

    Args:
        seed: 0 or more.
        arguments: those of ``nnUNetv2_train``.

    Raises:
        UserError: the seed is negative, nnUNet_results is not set, there is no such dataset, trainer, plans,
            configuration or fold, a checkpoint that nnU-Net would load might run code, or another process is training
            the same.
    """
    if seed < 0:
        raise UserError(f"the seed is {seed}; expected 0 or more")
    options = _parse(arguments)
    name = dataset_name(options.dataset)
    folder = seed_folder(required_folder(nnUNet_results), seed)
    check_request(name, options.configuration, options.fold, options.tr, options.p)
    if options.pretrained_weights:
        load_checkpoint(Path(options.pretrained_weights))  # nnU-Net will unpickle it
    os.environ |= {nnUNet_results.env_var_name: str(folder)}
    print(f'Seed {seed}: results are in {folder}\nTo predict: export nnUNet_results="{folder}"', flush=True)
    model = (name, options.tr, options.p, options.configuration, options.fold)
    fold = Path(get_output_folder(*model))
    with only_training_of(fold):
        epoch = check_checkpoints(fold) if options.c else 0
        sequence = np.random.SeedSequence([seed, epoch])
        seed_everything(sequence)
        with seeded_nnunet(sequence):
            _run(options)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of ``nnUNetv2_train``, which keeps its parser to itself."""
    parser = argparse.ArgumentParser(prog="nnUNetv2_train", allow_abbrev=False)
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("fold")
    parser.add_argument("-tr", default="nnUNetTrainer")
    parser.add_argument("-p", default="nnUNetPlans")
    parser.add_argument("-pretrained_weights")
    parser.add_argument("-num_gpus", type=int, default=1)
    parser.add_argument("-device", default="cuda", choices=("cuda", "cpu", "mps"))
    for flag in ("npz", "c", "val", "val_best", "disable_checkpointing"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args(list(arguments))


def _run(options: argparse.Namespace) -> None:
    """What ``nnUNetv2_train`` does with its arguments, but for the number of threads on a CPU."""
    if options.device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    elif options.device == "cuda":
        torch.set_num_threads(1)
        with suppress(RuntimeError):  # it can be set only once in a process, and before any work
            torch.set_num_interop_threads(1)
    run_training.run_training(
        options.dataset,
        options.configuration,
        options.fold,
        options.tr,
        options.p,
        pretrained_weights=options.pretrained_weights,
        num_gpus=options.num_gpus,
        export_validation_probabilities=options.npz,
        continue_training=options.c,
        only_run_validation=options.val,
        disable_checkpointing=options.disable_checkpointing,
        val_with_best=options.val_best,
        device=torch.device(options.device),
    )
