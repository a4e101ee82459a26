"""``download_bobs``: Baby Open Brains from its public bucket."""

import argparse
from pathlib import Path

HELP = "download Baby Open Brains (infants of 1 to 8 months, CC-BY-4.0) and verify every file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o", type=Path, required=True, metavar="DIR", help="folder for the files; an interrupted download is resumed"
    )
    parser.add_argument(
        "-ages", type=int, nargs="+", metavar="MONTHS", help="only sessions of these ages, such as 5 6 7; default: all"
    )
    parser.add_argument("-url", metavar="URL", help="a mirror to use instead of the data set's public bucket")


def run(args: argparse.Namespace) -> None:
    """Download, and print the next command."""
    from nnunetv2_dualagg.dataset_conversion.bobs.download import download_bobs
    from nnunetv2_dualagg.dataset_conversion.bobs.registry import BASE_URL

    folder = download_bobs(args.o, args.ages, args.url or BASE_URL)
    print(f"Complete and verified: {folder}\nLook at it with: nnUNetv2_dualagg convert_bobs --check -i {folder}")
