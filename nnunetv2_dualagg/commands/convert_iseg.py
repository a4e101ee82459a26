"""``convert_iseg``: iSeg folders into a raw dataset of nnU-Net."""

import argparse

from nnunetv2_dualagg.utils.options import PROCESSES

HELP = "convert iSeg-2017 or iSeg-2019 folders into a raw dataset of nnU-Net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-i", nargs="+", required=True, metavar="DIR", help="iSeg folders: training, validation, testing"
    )
    parser.add_argument("-d", type=int, metavar="ID", help="number of the new dataset, 1 to 999")
    parser.add_argument("-n", metavar="NAME", help="name of the new dataset; default: iSeg2017 or iSeg2019")
    parser.add_argument("-year", type=int, choices=(2017, 2019), help="default: recognised")
    parser.add_argument("-split", choices=("training", "validation", "testing"), help="default: recognised")
    parser.add_argument("-modalities", nargs="+", choices=("T1", "T2"), default=["T1", "T2"], help="default: both")
    parser.add_argument("-sites", metavar="CSV", help="table subject,site; overrides the inferred sites")
    parser.add_argument(
        "-np", type=PROCESSES, metavar="N", help="number of processes; default: the processors, at most 8"
    )
    parser.add_argument("--check", action="store_true", help="report on the folders, problems first; write nothing")
    parser.add_argument("--add", action="store_true", help="add the subjects to the existing dataset")
    parser.add_argument("--overwrite", action="store_true", help="replace the existing dataset")


def run(args: argparse.Namespace) -> int | None:
    """Convert and say where to, or report; 1 if the report tells of problems."""
    from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
    from nnunetv2_dualagg.dataset_conversion.iseg.report import check_iseg
    from nnunetv2_dualagg.utils.errors import UserError
    from nnunetv2_dualagg.utils.parallel import default_num_processes

    options = {
        "year": args.year,
        "split": args.split,
        "modalities": args.modalities,
        "sites": args.sites,
        "num_processes": args.np or default_num_processes(),
    }
    if args.check:
        problems, report = check_iseg(args.i, **options)
        print(report)
        return 1 if problems else 0
    if args.d is None:
        raise UserError("there is no dataset number; give one (-d)")
    print(f"Wrote {convert_iseg(args.i, args.d, name=args.n, add=args.add, overwrite=args.overwrite, **options)}")
    return None
