"""``benchmark``: speed and memory of the networks side by side on this machine."""

import argparse
from typing import Any

from nnunetv2_dualagg.utils.options import whole

HELP = "compare speed and memory of DualAggUNet, its ablations and nnU-Net's networks on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", required=True, metavar="FILE.json", help="file to write")
    parser.add_argument("-device", choices=("cuda", "cpu"), default="cuda", help="default: cuda, as in nnU-Net")
    parser.add_argument(
        "-setting",
        choices=("iseg", "resenc", "paper", "small", "tiny"),
        help="plans to use: nnU-Net's 3d_fullres plans for iSeg (default on CUDA), those of its ResEnc M planner, our "
        "3d_paper, 48^3 patches (default on a CPU), or a trial of a few seconds",
    )
    size: dict[str, Any] = {"type": whole(1, 1024), "nargs": 3, "metavar": ("Z", "Y", "X")}
    parser.add_argument("-patch", **size, help="patch size instead of the setting's")
    parser.add_argument(
        "-batch", type=whole(1, 1024), metavar="N", help="batch size of training steps instead of the setting's"
    )
    parser.add_argument("-volume", **size, help="image size for whole-volume inference instead of the setting's")
    parser.add_argument(
        "-repeats",
        type=whole(1, 1000),
        default=5,
        metavar="N",
        help="rounds; medians are reported, with the lowest and the highest ratio of a round (default: 5)",
    )
    parser.add_argument(
        "-volume_repeats", type=whole(1, 1000), default=3, metavar="N", help="rounds for volumes (default: 3)"
    )
    parser.add_argument(
        "--ratios_only", action="store_true", help="nnU-Net's networks and ours alone, in a few minutes on two cores"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing -o")


def run(args: argparse.Namespace) -> None:
    """Measure; tables are printed as soon as they are complete."""
    from nnunetv2_dualagg.benchmark.run import benchmark

    benchmark(
        args.o,
        args.device,
        args.setting,
        repeats=args.repeats,
        volume_repeats=args.volume_repeats,
        patch_size=args.patch,
        batch_size=args.batch,
        volume=args.volume,
        ratios_only=args.ratios_only,
        overwrite=args.overwrite,
    )
    print(f"Written to {args.o}")
