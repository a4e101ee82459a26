"""``pack_model``: a trained model as one file."""

import argparse

from nnunetv2_dualagg.utils.options import fold

HELP = "write a trained model as one file that cannot run code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; -m, -f and -chk are those of nnUNetv2_predict_from_modelfolder."""
    parser.add_argument("-m", required=True, metavar="DIR", help="folder of the trained model")
    parser.add_argument("-o", required=True, metavar="FILE.safetensors", help="file to write")
    parser.add_argument(
        "-f", type=fold, nargs="+", default=(0, 1, 2, 3, 4), metavar="FOLD", help="folds (default: 0 1 2 3 4)"
    )
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", metavar="NAME", help="checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument("--half", action="store_true", help="store weights in half precision: half the size")
    parser.add_argument(
        "--orientation",
        metavar="CODES",
        help="axis codes of the training images, such as RAS (default: those in dataset.json, or else LAS)",
    )
    parser.add_argument("--description", default="", metavar="TEXT", help="a description for people")
    parser.add_argument("--licence", default="", metavar="TEXT", help="the terms under which it may be used")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing -o")


def run(args: argparse.Namespace) -> None:
    """Pack and say what came of it."""
    from nnunetv2_dualagg.inference.packing import pack_model

    file = pack_model(
        args.m,
        args.o,
        args.f,
        args.chk,
        half=args.half,
        orientation=args.orientation,
        description=args.description,
        licence=args.licence,
        overwrite=args.overwrite,
    )
    print(f"Wrote {file}: {len(args.f)} fold(s), {file.stat().st_size / 1e6:.1f} MB")
