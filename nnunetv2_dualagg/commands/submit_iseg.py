"""``submit_iseg``: nnU-Net's predictions into the zip file that the challenge takes."""

import argparse

HELP = "turn nnU-Net's predictions into the zip file that the iSeg challenge accepts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-i", required=True, metavar="DIR", help="nnU-Net's predictions, iSeg_NNN.nii.gz")
    parser.add_argument("-r", required=True, metavar="DIR", help="the iSeg folder with the subjects' own T1 files")
    parser.add_argument("-o", required=True, metavar="ZIP", help="the zip file to write")
    parser.add_argument("-year", type=int, choices=(2017, 2019), help="year of the challenge; default: recognised")
    parser.add_argument(
        "-split", choices=("training", "validation", "testing"), help="submit only these subjects; default: all in -r"
    )
    parser.add_argument(
        "-values",
        type=int,
        nargs=4,
        metavar=("BACKGROUND", "CSF", "GM", "WM"),
        help="label values; default: 0 10 150 250 for iSeg-2017, 0 1 2 3 for iSeg-2019",
    )
    parser.add_argument("--partial", action="store_true", help="allow subjects of -r that have no prediction")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing -o")


def run(args: argparse.Namespace) -> None:
    """Write the zip file and say what is in it."""
    from nnunetv2_dualagg.dataset_conversion.iseg.submit import submit_iseg

    numbers = submit_iseg(
        args.i,
        args.r,
        args.o,
        year=args.year,
        split=args.split,
        values=args.values,
        partial=args.partial,
        overwrite=args.overwrite,
    )
    print(f"Wrote {args.o}: {len(numbers)} subjects ({', '.join(map(str, numbers))})")
