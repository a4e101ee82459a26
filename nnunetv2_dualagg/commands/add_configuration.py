"""``add_configuration``: a small configuration in the plans of a U-Net."""

import argparse
from typing import Any

from nnunetv2_dualagg.utils.options import name, whole

HELP = "add a configuration with a smaller network, patch and batch to nnU-Net plans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Add a configuration to the plans of a U-Net: 3d_fullres on the same preprocessed data, but with fewer stages "
        "and another patch and batch size. It is meant for machines without a GPU and for trials."
    )
    parser.add_argument("-d", required=True, metavar="ID", help="dataset, by number or full name")
    parser.add_argument(
        "-p", default="nnUNetPlans", type=name, metavar="PLANS", help="plans to add to (default: %(default)s)"
    )
    parser.add_argument(
        "-c", required=True, type=name, metavar="NAME", help="name of the new configuration, such as 3d_small"
    )
    size: dict[str, Any] = {"type": whole(1, 4096), "required": True}
    parser.add_argument("-patch_size", nargs=3, metavar=("Z", "Y", "X"), help="in voxels", **size)
    parser.add_argument("-batch_size", metavar="N", help="patches per batch", **size)
    parser.add_argument(
        "-features_per_stage", nargs="+", metavar="N", help="channels of each stage, such as 16 32 64", **size
    )


def run(args: argparse.Namespace) -> None:
    """Add it and say where."""
    from nnunetv2.paths import nnUNet_preprocessed

    from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
    from nnunetv2_dualagg.utils.errors import UserError
    from nnunetv2_dualagg.utils.nnunet_folders import dataset_name, required_folder

    file = required_folder(nnUNet_preprocessed) / dataset_name(args.d) / f"{args.p}.json"
    if not file.is_file():
        raise UserError(f"{file} does not exist; expected plans, written by nnUNetv2_plan_experiment for example")
    add_reduced_configuration(file, args.c, args.patch_size, args.batch_size, args.features_per_stage)
    print(f"{file} has the configuration {args.c}")
