"""``nnUNetv2_train`` with a seed, which nnU-Net does not have, and with a resume that survives a kill.

The results of seed S lie in ``$nnUNet_results/seed_S``, beside those of other seeds. That folder is an ordinary
nnUNet_results: with the variable set to it, every command of nnU-Net works on the trainings of that seed.
"""

import argparse
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.paths import nnUNet_results
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.utilities.file_path_utilities import get_output_folder

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
        with (
            _replaced(trainer_module, "NonDetMultiThreadedAugmenter", _seeded_augmenter(sequence)),
            _replaced(run_training, "run_ddp", _SeededProcess(sequence)),
            _replaced(GaussianBlurTransform, "__init__", _blur_by_one_algorithm),
            _replaced(multiprocessing, "cpu_count", _number_of_threads),
            _replaced(sys, "argv", ["nnUNetv2_train", *arguments]),
        ):
            run_training.run_training_entry()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What we need to know of nnU-Net's arguments; nnU-Net itself checks them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("fold")
    parser.add_argument("-tr", default="nnUNetTrainer")
    parser.add_argument("-p", default="nnUNetPlans")
    parser.add_argument("--c", action="store_true")
    for option in ("-pretrained_weights", "-num_gpus", "-device"):  # or else their values are taken for others'
        parser.add_argument(option)
    return parser.parse_known_args(list(arguments))[0]


def seed_everything(sequence: np.random.SeedSequence) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, those of GPUs included."""
    of_python, of_numpy, of_torch = (int(s) for s in sequence.generate_state(3))
    random.seed(of_python)
    np.random.seed(of_numpy)
    torch.manual_seed(of_torch)


_init_blur = GaussianBlurTransform.__init__


def _blur_by_one_algorithm(transform: GaussianBlurTransform, *args: Any, **kwargs: Any) -> None:
    """nnU-Net's blur times two algorithms, whose last bits differ, and keeps the faster. A seed cannot fix that."""
    _init_blur(transform, *args, **kwargs)
    transform.benchmark = False


def _number_of_threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """nnU-Net has no argument for it: another value of a module's attribute, for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class _SeededProcess:
    """nnU-Net's ``run_ddp`` behind the seeding, which each process of a training on several GPUs does for itself."""

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self.sequence = sequence

    def __call__(self, rank: int, *args: Any) -> None:
        sequence = np.random.SeedSequence(self.sequence.entropy, spawn_key=(rank,))
        seed_everything(sequence)
        trainer_module.NonDetMultiThreadedAugmenter = _seeded_augmenter(sequence)
        GaussianBlurTransform.__init__ = _blur_by_one_algorithm
        run_training.run_ddp(rank, *args)  # of the new process, where nothing has been replaced


class _SeededLoader:
    """A data loader that seeds PyTorch too in the worker to which it is handed; the augmenter seeds NumPy only."""

    def __init__(self, loader: Any, seeds: Sequence[int]) -> None:
        self.loader = loader
        self.seeds = seeds
        self.parent = os.getpid()

    def set_thread_id(self, number: int) -> None:
        torch.set_num_threads(1)  # as in nnU-Net's own workers: forked processes must not use the parent's threads
        torch.manual_seed(self.seeds[number])
        random.seed(self.seeds[number])
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        self.loader.set_thread_id(number)

    def __next__(self) -> Any:
        return next(self.loader)

    def _end_with_parent(self) -> None:
        """Without it, workers whose training was killed (for lack of memory, say) would stay, with their memory."""
        while os.getppid() == self.parent:
            time.sleep(2)
        os._exit(1)


def _seeded_augmenter(sequence: np.random.SeedSequence) -> type[MultiThreadedAugmenter]:
    """In place of nnU-Net's NonDetMultiThreadedAugmenter, which takes batches in the order they happen to be ready."""

    class SeededAugmenter(MultiThreadedAugmenter):
        def __init__(
            self,
            data_loader: Any,
            transform: Any,
            num_processes: int,
            num_cached: int = 2,
            seeds: None = None,
            pin_memory: bool = False,
            wait_time: float = 0.02,
        ) -> None:
            (own,) = sequence.spawn(1)
            numbers = [int(s) for s in own.generate_state(num_processes)]
            super().__init__(
                _SeededLoader(data_loader, numbers),
                transform,
                num_processes,
                max(1, num_cached // num_processes),
                seeds=numbers,
                pin_memory=pin_memory,
                wait_time=wait_time,
            )

    return SeededAugmenter
