"""Everything that is temporarily replaced inside nnU-Net for seeded training, because it has no entry point for that.

nnU-Net draws its batches in the order in which its workers happen to be ready, times two algorithms of its blur and
keeps the faster, and starts a process for each GPU, which nothing seeds. Before something is replaced, its arguments
are compared with those that were known when this was written.
"""

import inspect
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module

from nnunetv2_dualagg.utils.errors import UserError

_init_blur = GaussianBlurTransform.__init__


@contextmanager
def seeded_nnunet(sequence: np.random.SeedSequence) -> Iterator[None]:
    """Make nnU-Net's training depend on nothing but a seed, as far as a CPU goes.

    Args:
        sequence: the source of all seeds.

    Raises:
        UserError: this version of nnU-Net is not the one that can be seeded.
    """
    with ExitStack() as stack:
        for owner, name, value, known in (
            (trainer_module, "NonDetMultiThreadedAugmenter", _seeded_augmenter(sequence), _AUGMENTER),
            (run_training, "run_ddp", _SeededProcess(sequence), _RUN_DDP),
            (GaussianBlurTransform, "__init__", _blur_by_one_algorithm, _BLUR),
        ):
            stack.enter_context(_replaced(owner, name, value, known))
        yield


_AUGMENTER = ("data_loader", "transform", "num_processes", "num_cached", "seeds", "pin_memory", "wait_time")
_RUN_DDP = (
    *("rank", "dataset_name_or_id", "configuration", "fold", "tr", "p", "disable_checkpointing", "c", "val"),
    *("pretrained_weights", "npz", "val_with_best", "world_size"),
)
_BLUR = ("self", "blur_sigma", "synchronize_channels", "synchronize_axes", "p_per_channel", "benchmark")


@contextmanager
def _replaced(owner: Any, name: str, value: Any, known: Sequence[str]) -> Iterator[None]:
    """Another value of an attribute, for a while; ``known`` are the names of the arguments that it had."""
    before = getattr(owner, name, None)
    found = _arguments(before)
    if found != tuple(known):
        raise UserError(
            f"nnunetv2 {version('nnunetv2')} with batchgeneratorsv2 {version('batchgeneratorsv2')} cannot be seeded: "
            f"{owner.__name__}.{name} takes ({', '.join(found)}), expected ({', '.join(known)}); "
            'type: pip install "nnunetv2==2.8.1", or train without a seed with nnUNetv2_train'
        )
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _arguments(function: Callable | None) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters) if callable(function) else ()


def seed_everything(sequence: np.random.SeedSequence) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, those of GPUs included."""
    of_python, of_numpy, of_torch = (int(s) for s in sequence.generate_state(3))
    random.seed(of_python)
    np.random.seed(of_numpy)
    torch.manual_seed(of_torch)


def _blur_by_one_algorithm(transform: GaussianBlurTransform, *args: Any, **kwargs: Any) -> None:
    """nnU-Net's blur times two algorithms, whose last bits differ, and keeps the faster. A seed cannot fix that."""
    _init_blur(transform, *args, **kwargs)
    transform.benchmark = False


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
