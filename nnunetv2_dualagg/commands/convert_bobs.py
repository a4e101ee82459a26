"""``convert_bobs``: Baby Open Brains into a raw dataset of nnU-Net."""

import argparse

from nnunetv2_dualagg.commands.conversion import add_conversion_arguments, run_conversion

HELP = "convert Baby Open Brains into a raw dataset of nnU-Net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_conversion_arguments(parser, "folders of Baby Open Brains", "BOBs", "sessions")
    parser.add_argument(
        "-ages", type=int, nargs="+", metavar="MONTHS", help="ages to convert, such as 5 6 7; default: all"
    )
    parser.add_argument(
        "--keep-head",
        action="store_true",
        help="keep skull, cerebellum and brain stem in the images; default: only the cerebrum, as in iSeg",
    )
    parser.add_argument(
        "-labels",
        nargs="+",
        default=[],
        metavar="VALUE=WORD",
        help="the tissue of labels that are not in the table, such as 72=CSF: CSF, GM, WM, infratentorial or unknown",
    )


def run(args: argparse.Namespace) -> int | None:
    """Convert and say where to, or report; 1 if the report has problems."""
    from nnunetv2_dualagg.dataset_conversion.bobs.check import parse_labels
    from nnunetv2_dualagg.dataset_conversion.bobs.convert import convert_bobs
    from nnunetv2_dualagg.dataset_conversion.bobs.report import check_bobs

    options = {"ages": args.ages, "keep_head": args.keep_head, "more_labels": parse_labels(args.labels)}
    code = run_conversion(args, check_bobs, convert_bobs, options)
    if not args.check:
        print(
            f"Keep the sessions of an infant together: once planned, nnUNetv2_dualagg splits -d {args.d} --by-subject"
        )
    return code
