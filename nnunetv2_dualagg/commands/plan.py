"""``plan``: nnU-Net plans for the dual aggregation network."""

import argparse

HELP = "write nnUNetDualAggPlans.json, from which nnU-Net's own trainer trains our network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="datasets, by number or full name")
    parser.add_argument(
        "-gpu_memory_target",
        type=float,
        default=8,
        metavar="GB",
        help="GPU memory that training may take (default: 8); patch and batch size follow from it",
    )
    parser.add_argument("-preprocessor_name", default="DefaultPreprocessor", metavar="CLASS", help="a class of nnU-Net")
    parser.add_argument(
        "-overwrite_target_spacing",
        nargs=3,
        type=float,
        metavar=("Z", "Y", "X"),
        help="voxel size in mm; default: the median of the data",
    )
    parser.add_argument(
        "-overwrite_plans_name",
        default="nnUNetDualAggPlans",
        metavar="NAME",
        help="name of the plans (default: %(default)s); choose another one if you use the options above",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing plans that differ")
    parser.add_argument("--verbose", action="store_true", help="show what nnU-Net's planner tries")


def run(args: argparse.Namespace) -> None:
    """Plan and say what was planned."""
    from nnunetv2_dualagg.planning.plan import describe_plans, plan_dataset

    for dataset in args.d:
        file = plan_dataset(
            dataset,
            gpu_memory_target=args.gpu_memory_target,
            overwrite_target_spacing=args.overwrite_target_spacing,
            plans_name=args.overwrite_plans_name,
            preprocessor_name=args.preprocessor_name,
            overwrite=args.overwrite,
            verbose=args.verbose,
        )
        print(describe_plans(file))
