"""``convert_iseg``: iSeg folders into a raw dataset of nnU-Net."""

import argparse

from nnunetv2_dualagg.commands.conversion import add_conversion_arguments, run_conversion

HELP = "convert iSeg-2017 or iSeg-2019 folders into a raw dataset of nnU-Net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_conversion_arguments(parser, "iSeg folders: training, validation, testing", "iSeg2017 or iSeg2019", "subjects")
    parser.add_argument("-year", type=int, choices=(2017, 2019), help="year of the challenge; default: recognised")
    parser.add_argument(
        "-split",
        choices=("training", "validation", "testing"),
        help="one split for all subjects; default: recognised",
    )
    parser.add_argument("-sites", metavar="CSV", help="table subject,site; overrides the inferred sites")


def run(args: argparse.Namespace) -> int | None:
    """Convert and say where to, or report; 1 if the report has problems."""
    from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
    from nnunetv2_dualagg.dataset_conversion.iseg.report import check_iseg

    options = {"year": args.year, "split": args.split, "sites": args.sites}
    return run_conversion(args, check_iseg, convert_iseg, options)
