"""What ``convert_iseg`` and ``convert_bobs`` have in common."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.options import PROCESSES


def add_conversion_arguments(parser: argparse.ArgumentParser, folders: str, name: str, cases: str) -> None:
    """Declare the options that every converter has.

    Args:
        parser: where to.
        folders: what -i expects.
        name: the usual name of the dataset.
        cases: what is converted, in the plural.
    """
    parser.add_argument("-i", nargs="+", required=True, metavar="DIR", help=folders)
    parser.add_argument("-d", type=int, metavar="ID", help="number of the new dataset, 1 to 999")
    parser.add_argument("-n", metavar="NAME", help=f"name of the new dataset; default: {name}")
    parser.add_argument(
        "-modalities", nargs="+", choices=("T1", "T2"), default=["T1", "T2"], help="images to convert; default: both"
    )
    parser.add_argument(
        "-np", type=PROCESSES, metavar="N", help="number of processes; default: one per processor, at most 8"
    )
    parser.add_argument("--check", action="store_true", help="report on the folders, problems first; write nothing")
    parser.add_argument("--add", action="store_true", help=f"add the {cases} to the existing dataset")
    parser.add_argument("--overwrite", action="store_true", help="replace the existing dataset")


def run_conversion(
    args: argparse.Namespace,
    check: Callable[..., tuple[list[str], str]],
    convert: Callable[..., Path],
    options: Mapping[str, Any],
) -> int | None:
    """Convert and say where to, or report; 1 if the report has problems.

    Args:
        args: what :func:`add_conversion_arguments` declared.
        check: makes the report: the problems and the text.
        convert: converts; returns the dataset's folder.
        options: further arguments of both.

    Raises:
        UserError: there is no dataset number.
    """
    from nnunetv2_dualagg.utils.parallel import default_num_processes

    options = {"modalities": args.modalities, "num_processes": args.np or default_num_processes(), **options}
    if args.check:
        problems, report = check(args.i, **options)
        print(report)
        return 1 if problems else 0
    if args.d is None:
        raise UserError("there is no dataset number; give one (-d)")
    print(f"Wrote {convert(args.i, args.d, name=args.n, add=args.add, overwrite=args.overwrite, **options)}")
    return None
