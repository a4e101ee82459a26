"""Cost of the augmentation for other sites beside nnU-Net's own.

Time of the transforms on one core, by patch size:

    python scripts/benchmark_augmentation.py

Whole training epochs with nnU-Net's workers, on a preprocessed dataset; nnUNet_preprocessed has to be set:

    python scripts/benchmark_augmentation.py -d 219 -c 3d_fullres -device cuda
"""

import argparse
import os
import tempfile
import time
from statistics import median

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tqdm import tqdm, trange

from nnunetv2_dualagg.trainers.site import nnUNetTrainerSite
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE

TRAINERS = (nnUNetTrainer, nnUNetTrainerSite)
PATCHES = ((40, 40, 40), (96, 128, 128))
CHANNELS = 2
BATCH = 2
WARM_UP = 20  # samples not counted; nnU-Net's blur first tries which kind of convolution is faster
ITERATIONS = 250  # training steps of nnU-Net's epoch
ROTATION = (-np.pi / 6, np.pi / 6)  # nnU-Net's for 3-D patches
DEEP_SUPERVISION = [[1.0] * 3, [0.5] * 3, [0.25] * 3, [0.125] * 3]


def main() -> None:
    """Read the options and print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-samples", type=int, default=200, help="samples of each patch size. Default: 200")
    parser.add_argument("-d", metavar="DATASET", help="measure epochs on this preprocessed dataset, instead")
    parser.add_argument("-c", metavar="CONFIGURATION", default="3d_fullres", help="Default: 3d_fullres")
    parser.add_argument("-tr", nargs=2, default=["nnUNetTrainer", "nnUNetTrainerSite"], help="trainers to compare")
    parser.add_argument("-epochs", type=int, default=3, help="epochs of each trainer, alternating. Default: 3")
    parser.add_argument("-device", default="cuda", help="cuda, cpu or mps, for epochs. Default: cuda")
    args = parser.parse_args()
    if args.d is None:
        torch.set_num_threads(1)  # as in nnU-Net's workers
        for patch in PATCHES:
            print_transform_times(patch, args.samples)
    else:
        print_epoch_times(args.d, args.c, args.tr, args.epochs, torch.device(args.device))


def print_transform_times(patch: tuple[int, int, int], samples: int) -> None:
    """Processor time of a sample for each trainer's list of transforms; the lists take turns on the same samples."""
    pipelines = {trainer.__name__: training_transforms(trainer, patch) for trainer in TRAINERS}
    times = {name: [] for name in pipelines}
    for seed in trange(WARM_UP + samples, desc=f"{'x'.join(map(str, patch))}", leave=False):
        for name, transforms in pipelines.items():
            times[name].append(seconds_of_a_sample(transforms, patch, seed))
    times = {name: measured[WARM_UP:] for name, measured in times.items()}
    default = np.array(times["nnUNetTrainer"])
    print(f"\n{'x'.join(map(str, patch))}, {CHANNELS} channels, {samples} samples\n")
    print("| transforms of | ms per sample | ratio | s per epoch, 1 worker | 4 workers | 12 workers |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, measured in times.items():
        ratio = np.mean(measured) / default.mean()
        # Standard error of a ratio of means of paired measurements.
        error = np.std(measured - ratio * default, ddof=1) / samples**0.5 / default.mean()
        epochs = [ITERATIONS * BATCH * np.mean(measured) / workers for workers in (1, 4, 12)]
        uncertain = f" ± {error:.2f}" if name != "nnUNetTrainer" else ""
        cells = [name, f"{1000 * np.mean(measured):.2f}", f"{ratio:.2f}{uncertain}", *(f"{s:.1f}" for s in epochs)]
        print(f"| {' | '.join(cells)} |")


def training_transforms(trainer: type[nnUNetTrainer], patch: tuple[int, int, int]) -> BasicTransform:
    """The list for a masked T1 and T2 (as of iSeg) with mirroring and deep supervision."""
    return trainer.get_training_transforms(
        patch, ROTATION, DEEP_SUPERVISION, (0, 1, 2), False, use_mask_for_norm=[True] * CHANNELS
    )


def seconds_of_a_sample(transforms: BasicTransform, patch: tuple[int, int, int], seed: int) -> float:
    """Transform one random sample; the same seed gives all lists the same sample and the same spatial transform."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    loaded = tuple(get_patch_size(patch, ROTATION, ROTATION, ROTATION, (0.85, 1.25)))  # what nnU-Net's loader cuts out
    sample = {
        "image": torch.randn(CHANNELS, *loaded),
        "segmentation": torch.randint(-1, 4, (1, *loaded), dtype=torch.int16),
    }
    start = time.process_time()
    transforms(**sample)
    return time.process_time() - start


def print_epoch_times(dataset: str, configuration: str, names: list[str], epochs: int, device: torch.device) -> None:
    """Wall time of training epochs (without validation) with nnU-Net's own data loading; the trainers take turns."""
    os.environ[VARIABLE] = str(EXT_TRAINER_FOLDER)
    times = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as results:
        os.environ["nnUNet_results"] = results  # noqa: SIM112 (nnU-Net's spelling)
        trainers = {name: get_trainer_from_args(dataset, configuration, 0, name, device=device) for name in names}
        for trainer in trainers.values():
            trainer.on_train_start()
            seconds_of_steps(trainer, 10)  # compiling, benchmarking of convolutions, full queues
        for _ in trange(epochs, desc="epochs"):
            for name, trainer in trainers.items():
                times[name].append(seconds_of_steps(trainer, trainer.num_iterations_per_epoch))
        for trainer in trainers.values():
            trainer.disable_checkpointing = True
            trainer.on_train_end()  # ends the workers
    baseline = median(times[names[0]])
    for name, measured in times.items():
        shown = ", ".join(f"{seconds:.1f}" for seconds in measured)
        tqdm.write(
            f"{name}: median {median(measured):.1f} s per epoch ({shown}), ratio {median(measured) / baseline:.3f}"
        )


def seconds_of_steps(trainer: nnUNetTrainer, steps: int) -> float:
    """Wall time of so many training steps; each one ends with the loss on the CPU."""
    trainer.network.train()
    start = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(next(trainer.dataloader_train))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
