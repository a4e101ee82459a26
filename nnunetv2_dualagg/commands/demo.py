"""``demo``: all steps on the phantom."""

import argparse
from pathlib import Path

HELP = "make a phantom, segment it, train nnU-Net's default and our network, predict, compare; minutes on a CPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o", type=Path, default=Path("demo"), metavar="DIR", help="folder to write, or to resume in (default: demo)"
    )
    parser.add_argument("-device", default="cpu", choices=["cpu", "cuda", "mps"], help="default: cpu")


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    from nnunetv2_dualagg.demo.run import run_demo

    run_demo(args.o, args.device)
