"""``compare``: segmentations of several methods against a reference and against each other."""

import argparse
from pathlib import Path

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.names import is_text
from nnunetv2_dualagg.utils.options import PROCESSES

HELP = "compare the segmentations of several methods: metrics, statistics, tables, figures, HTML report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-ref", type=Path, required=True, metavar="DIR", help="folder of reference segmentations")
    parser.add_argument(
        "-pred",
        nargs="+",
        required=True,
        metavar="NAME=DIR",
        help="a method and the folder of its segmentations; name a method several times, once for each fold or seed, "
        "to average these in each case",
    )
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("-sites", type=Path, metavar="FILE", help="sites.json of convert_iseg; default: one site")
    parser.add_argument(
        "-images", type=Path, metavar="DIR", help="folder of images CASE_0000 to show, such as imagesTs"
    )
    parser.add_argument(
        "-djfile",
        type=Path,
        metavar="FILE",
        help="dataset.json; default: beside or above the references, or beside the predictions",
    )
    parser.add_argument(
        "-tissues",
        nargs="+",
        default=[],
        metavar="NAME",
        help="compare these only, such as GM WM, if references and models do not share all tissues; default: all",
    )
    parser.add_argument("-np", type=PROCESSES, default=2, metavar="N", help="cases to process at a time (default: 2)")
    parser.add_argument("--skip-missing", action="store_true", help="leave out cases that lack a file, and list them")
    parser.add_argument("--overwrite", action="store_true", help="replace the output folder if it exists")


def run(args: argparse.Namespace) -> None:
    """Compare, print the Dice table and say where the rest is."""
    predictions = parse_folders(args.pred, "-pred")
    from nnunetv2_dualagg.evaluation.compare import compare

    comparison = compare(
        args.ref,
        predictions,
        args.o,
        sites=args.sites,
        images=args.images,
        dataset_json=args.djfile,
        tissues=args.tissues,
        skip_missing=args.skip_missing,
        num_threads=args.np,
        overwrite=args.overwrite,
    )
    for sentence in comparison.skipped:
        print(f"Left out: {sentence}")
    print(comparison.text)
    print(f"Written to {comparison.output}")


def parse_folders(items: list[str], option: str) -> dict[str, list[Path]]:
    """``["a=x", "b=y", "a=z"]`` -> ``{"a": [x, z], "b": [y]}``.

    Raises:
        UserError: an item is not NAME=DIR.
    """
    folders: dict[str, list[Path]] = {}
    for item in items:
        name, separator, folder = item.partition("=")
        if not (name and separator and folder):
            raise UserError(f"{option} {item} is not understood, expected NAME=DIR")
        if not is_text(name):
            raise UserError(f"{option} {item!r}: the name is not UTF-8 text")
        folders.setdefault(name, []).append(Path(folder))
    return folders
