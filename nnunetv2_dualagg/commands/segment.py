"""``segment``: infants with T1 and T2, and a trained model."""

import argparse

from nnunetv2_dualagg.utils.options import fold

HELP = "segment one infant (T1 and T2) or a BIDS data set with a trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those of nnUNetv2_predict have its names."""
    parser.add_argument(
        "-i",
        nargs="+",
        required=True,
        metavar="PATH",
        help="T1 and T2 of one infant (NIfTI, any orientation), in this order; or the folder of a BIDS data set",
    )
    parser.add_argument("-o", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "-m",
        metavar="MODEL",
        help="file of pack_model, or folder of a trained model (default: the one that comes with the package, which is "
        "for trying the program, not for measuring infants)",
    )
    parser.add_argument(
        "-f", type=fold, nargs="+", metavar="FOLD", help="folds of a model folder (default: all that are there)"
    )
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", metavar="NAME", help="checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument("-mask", metavar="PATH", help="brain mask; for BIDS a derivative with masks")
    parser.add_argument("--skull-stripped", action="store_true", help="do not check whether there is a skull")
    parser.add_argument("--no-registration", action="store_true", help="do not align T2 with T1: trust the headers")
    parser.add_argument("--bias-correction", action="store_true", help="N4 bias field correction in the brain")
    parser.add_argument("--participant-label", nargs="+", metavar="LABEL", help="BIDS subjects (default: all)")
    parser.add_argument("--session-label", nargs="+", metavar="LABEL", help="BIDS sessions (default: all)")
    parser.add_argument(
        "-device", choices=("cpu", "cuda", "mps"), help="default: cuda if there is a GPU, otherwise cpu"
    )
    parser.add_argument("-step_size", type=float, default=0.5, help="step of the windows (default: 0.5 of their size)")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring: up to eight times faster")
    parser.add_argument("--disable_progress_bar", action="store_true", help="no progress bar, for logs")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")


def run(args: argparse.Namespace) -> None:
    """Segment and say what was found."""
    from nnunetv2_dualagg.inference import segment

    results = segment(
        args.i,
        args.o,
        args.m,
        mask=args.mask,
        skull_stripped=True if args.skull_stripped else None,
        registration=not args.no_registration,
        bias_correction=args.bias_correction,
        participants=args.participant_label,
        sessions=args.session_label,
        device=args.device,
        folds=args.f,
        checkpoint_name=args.chk,
        step_size=args.step_size,
        mirroring=not args.disable_tta,
        overwrite=args.overwrite,
        progress=not args.disable_progress_bar,
    )
    if not results:
        print(f"Nothing to do: all of it is in {args.o} already; --overwrite segments again.")
    for result in results if args.disable_progress_bar else ():
        for warning in result.warnings:
            print(f"{result.name}: Warning: {warning}")
        print(f"{result.name}: {result.file}")
