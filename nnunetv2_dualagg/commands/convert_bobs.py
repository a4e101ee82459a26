"""``convert_bobs``: Baby Open Brains into a raw dataset of nnU-Net."""

import argparse

from nnunetv2_dualagg.utils.options import PROCESSES

HELP = "convert Baby Open Brains into a raw dataset of nnU-Net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-i", nargs="+", required=True, metavar="DIR", help="folders of Baby Open Brains")
    parser.add_argument("-d", type=int, metavar="ID", help="number of the new dataset, 1 to 999")
    parser.add_argument("-n", metavar="NAME", help="name of the new dataset; default: BOBs")
    parser.add_argument("-ages", type=int, nargs="+", metavar="MONTHS", help="such as 5 6 7; default: all")
    parser.add_argument("-modalities", nargs="+", choices=("T1", "T2"), default=["T1", "T2"], help="default: both")
    parser.add_argument(
        "--keep-head",
        action="store_true",
        help="keep skull, cerebellum and brain stem in the images; default: the cerebrum alone, as in iSeg",
    )
    parser.add_argument(
        "-labels",
        nargs="+",
        default=[],
        metavar="VALUE=WORD",
        help="what to take labels for that are not known: CSF, GM, WM, infratentorial or unknown, such as 72=CSF",
    )
    parser.add_argument(
        "-np", type=PROCESSES, metavar="N", help="number of processes; default: the processors, at most 8"
    )
    parser.add_argument("--check", action="store_true", help="report on the folders, problems first; write nothing")
    parser.add_argument("--add", action="store_true", help="add the sessions to the existing dataset")
    parser.add_argument("--overwrite", action="store_true", help="replace the existing dataset")


def run(args: argparse.Namespace) -> int | None:
    """Convert and say where to, or report; 1 if the report tells of problems."""
    from nnunetv2_dualagg.dataset_conversion.bobs.check import parse_labels
    from nnunetv2_dualagg.dataset_conversion.bobs.convert import convert_bobs
    from nnunetv2_dualagg.dataset_conversion.bobs.report import check_bobs
    from nnunetv2_dualagg.utils.errors import UserError
    from nnunetv2_dualagg.utils.parallel import default_num_processes

    options = {
        "ages": args.ages,
        "modalities": args.modalities,
        "keep_head": args.keep_head,
        "more_labels": parse_labels(args.labels),
        "num_processes": args.np or default_num_processes(),
    }
    if args.check:
        problems, report = check_bobs(args.i, **options)
        print(report)
        return 1 if problems else 0
    if args.d is None:
        raise UserError("there is no dataset number; give one (-d)")
    folder = convert_bobs(args.i, args.d, name=args.n, add=args.add, overwrite=args.overwrite, **options)
    print(f"Wrote {folder}")
    print(
        f"Keep the sessions of an infant together: nnUNetv2_dualagg splits -d {args.d} --by-subject, once it is planned"
    )
    return None
