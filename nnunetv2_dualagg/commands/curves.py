"""``curves``: loss and pseudo Dice of several trainings together."""

import argparse
from pathlib import Path

from nnunetv2_dualagg.commands.compare import parse_folders

HELP = "draw the training curves of several nnU-Net result folders together"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-i",
        nargs="+",
        required=True,
        metavar="NAME=DIR",
        help="a method and its result folder: a fold_X, or the folder TRAINER__PLANS__CONFIGURATION with all its folds",
    )
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the output folder if it holds earlier curves")


def run(args: argparse.Namespace) -> None:
    """Draw, and print a line per training."""
    folders = parse_folders(args.i, "-i")
    from nnunetv2_dualagg.training.curves import draw_curves

    print(draw_curves(folders, args.o, overwrite=args.overwrite))
    print(f"Written to {args.o}")
