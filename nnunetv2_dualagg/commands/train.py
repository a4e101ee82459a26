"""``train``: nnUNetv2_train with a seed."""

import argparse

from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE

HELP = "nnUNetv2_train with a seed; each seed has a results folder of its own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "nnUNetv2_dualagg train -seed N <arguments of nnUNetv2_train ...>"
    parser.description = """\
nnU-Net does not set a seed. This command is nnUNetv2_train, for any trainer, with Python, NumPy, PyTorch and the
data-loading processes seeded. The results are in $nnUNet_results/seed_N; to use nnU-Net's commands on them, set
nnUNet_results to that folder.

On a CPU the same seed gives the same weights, bit by bit, with the same OMP_NUM_THREADS and nnUNet_n_proc_DA. On a GPU
it gives the same initial weights and the same batches, but not the same bits: nnU-Net lets cuDNN choose its algorithms
by speed. A training that was interrupted and resumed with --c differs from one that was not.

With --c, a checkpoint that was truncated when its training was killed is set aside, so that a retry does not fail.

    nnUNetv2_dualagg train -seed 1 219 3d_fullres 0 -tr nnUNetTrainerDualAgg --c"""
    parser.add_argument("-seed", type=int, required=True, metavar="N", help="0 or more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the arguments of nnUNetv2_train, after -seed")


def run(args: argparse.Namespace) -> None:
    """Train. Without nnUNet_extTrainer, the trainers of this package are found nevertheless."""
    import os

    from nnunetv2_dualagg.utils.errors import UserError

    os.environ.setdefault(VARIABLE, str(EXT_TRAINER_FOLDER))
    if len(args.arguments) < 3:
        raise UserError("train needs nnU-Net's dataset, configuration and fold after the seed; see --help")
    from nnunetv2_dualagg.training.seeded import train

    train(args.seed, args.arguments)
