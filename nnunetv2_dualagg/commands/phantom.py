"""``phantom``: an iSeg-2019-like data set from freely available adult anatomy."""

import argparse
import os
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.options import PROCESSES, VOXELS, number, whole

HELP = "write an iSeg-2019-like data set: a training site and three shifted testing sites"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Write an iSeg-2019-like data set. It is real adult anatomy, infant-sized, with synthetic isointense "
        "contrast: it shows that the pipeline works, never how well infants are segmented."
    )
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument(
        "-maps",
        type=Path,
        metavar="DIR",
        help="folder of NIfTI tissue maps (0 background, 1 CSF, 2 GM, 3 WM); sorted by name, the first ones are the "
        "training subjects, the next ones the testing subjects; default: random deformations of the ICBM152 average "
        "brain in nilearn",
    )
    parser.add_argument(
        "--num_training", type=whole(1, 10_000), default=10, metavar="N", help="training subjects (default: 10)"
    )
    parser.add_argument(
        "--num_testing",
        type=whole(0, 10_000),
        default=2,
        metavar="N",
        help="testing subjects of each of the 3 sites (default: 2)",
    )
    parser.add_argument(
        "--training_sites",
        nargs="+",
        default=["MAP"],
        metavar="SITE",
        help="where each training subject is scanned, of MAP, BCP, Stanford and Emory (default: MAP); at several, for "
        "networks that know the testing sites",
    )
    parser.add_argument(
        "--shift",
        type=number(0, 2),
        default=1.0,
        metavar="FACTOR",
        help="how far the scanners of the other sites are from MAP's, up to 2: twice as far as usual (default: 1)",
    )
    parser.add_argument(
        "--size", type=VOXELS, nargs=3, metavar=("X", "Y", "Z"), help="voxels (default: iSeg's 144 x 192 x 256 mm)"
    )
    parser.add_argument(
        "--spacing",
        type=number(0, 20),
        nargs="+",
        default=[1.0],
        metavar="MM",
        help="voxel size, 1 or 3 values (default: 1)",
    )
    seed: dict[str, Any] = {"type": whole(0, 2**64 - 1), "default": 0}
    parser.add_argument("-seed", metavar="N", help="the same seed gives the same files (default: 0)", **seed)
    parser.add_argument("--seed", help=argparse.SUPPRESS, **seed)  # its name in version 0.1.0
    parser.add_argument(
        "--file_ending", choices=(".img", ".nii.gz"), default=".img", help="Analyze pairs (default) or NIfTI"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing -o")
    parser.add_argument(
        "-np", type=PROCESSES, default=min(8, os.cpu_count() or 1), metavar="N", help="processes (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Write the data set."""
    from nnunetv2_dualagg.dataset_conversion.phantom import write_phantom
    from nnunetv2_dualagg.utils.errors import UserError

    if len(args.spacing) not in (1, 3):
        raise UserError(f"--spacing has {len(args.spacing)} values; expected 1 or 3")
    write_phantom(
        output=args.o,
        maps=args.maps,
        num_training=args.num_training,
        num_testing=args.num_testing,
        training_sites=args.training_sites,
        shift=args.shift,
        size=None if args.size is None else tuple(args.size),
        spacing=tuple(args.spacing * (3 // len(args.spacing))),
        seed=args.seed,
        file_ending=args.file_ending,
        processes=args.np,
        overwrite=args.overwrite,
    )
